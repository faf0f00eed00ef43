"""What a baseline expects of its signals by phase of a day or a week, and how much they vary. Pure.

It is derived from events in order that cover five cycles or more, and kept beside the counts. A baseline without it, as
earlier versions wrote, or of which no signal has phases, expects the same at all times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.phases import (
    CYCLES,
    FEWEST,
    HALF_HOURS,
    choose_phases,
    few_codes,
    half_hours,
    in_phases,
)
from driftline.detectors.decision.reference import History, Reference
from driftline.detectors.decision.widths import Widths
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.encoding import COUNTS, array_file, canonical_json, counts_file
from driftline.stream.baselines.figures import Row, codes_of_columns, read_row, run_figures, runs_from
from driftline.stream.events.times import MAX_EPOCH_MS, time_zone
from driftline.stream.text.phrases import listed

#: Raised whenever the same events give other figures; then what an earlier Driftline derived is not used.
CYCLES_VERSION: Final = 1
#: Files, of the signals one after another: counts by phase and code; what is measured, as `_figures` has it.
CYCLES_FILES: Final = ("cycle_counts.npy", "cycle_figures.npy")
#: Phases in words.
PHASE_WORDS: Final[Mapping[int, str]] = {24: "hour of the day", 48: "half hour of the day", 168: "hour of the week"}

# Events of a block, whose sums show how events depend on each other, and blocks at least and at most. A block of fewer
# events tells less of rare codes; more blocks take longer and show nothing that these do not.
_BLOCK, _FEWEST_BLOCKS, _MOST_BLOCKS = 100, 64, 2048
# Windows that a baseline must hold of a length that is judged by phase. A signal so slow that it holds fewer follows
# more than days: new levels of prices and scores were found one to three months later by phase.
_WINDOWS = 10
# Seconds.
_DAY, _QUARTER = 86_400, 900
# Quarter of an hour since the epoch, after which offsets stay: a day later, local time may be in the year 10000, which
# `datetime` does not have.
_LAST_QUARTER = (MAX_EPOCH_MS // 1000 - _DAY) // _QUARTER
_NO_SUMS: FloatArray = np.zeros((2, 0))


@dataclass(frozen=True, eq=False)
class CyclicSignal:
    """A signal with phases.

    name: of the signal. phases: how many, H. blocks: from how many its widths are known. likeness: what its windows are
    compared with. sums: of its values by phase (2, H), as in a sketch; none of a signal that is not numeric.
    """

    name: str
    phases: int
    blocks: int
    likeness: Likeness
    sums: FloatArray


@dataclass(frozen=True, eq=False)
class Cycles:
    """What a baseline expects by phase. timezone: of its days and weeks. signals: those with phases, one at least."""

    timezone: str
    signals: tuple[CyclicSignal, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cycles) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    @property
    def by_name(self) -> Mapping[str, CyclicSignal]:
        """The signals by name."""
        return {each.name: each for each in self.signals}

    def select(self, names: Collection[str]) -> Cycles | None:
        """What belongs to signals with these names; None if none of them has phases."""
        kept = tuple(each for each in self.signals if each.name in names)
        return Cycles(self.timezone, kept) if kept else None

    def half_hour(self, second: int) -> int:
        """The half hour of the local week, 0 to 335, of a time in seconds since the epoch."""
        return (second + _offset(second // _QUARTER, self.timezone)) // 1800 % HALF_HOURS

    def files(self) -> dict[str, bytes]:
        """The .npy files, by name."""
        counts = np.concatenate([each.likeness.reference.counts.ravel() for each in self.signals])[None]
        figures = np.concatenate([_figures(each) for each in self.signals])[None]
        arrays = counts_file(counts.astype(np.int64)), array_file(figures, "<f8")
        return dict(zip(CYCLES_FILES, arrays, strict=True))

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        signals = {each.name: {"phases": each.phases, "blocks": each.blocks} for each in self.signals}
        says = {"version": CYCLES_VERSION, "timezone": self.timezone, "signals": signals}
        return {**says, "hash": _hash(says, self.files())}


def cycle_remarks(cycles: Cycles | None, about: Mapping[str, Any]) -> Iterator[str]:
    """What a baseline knows of days and weeks, a line for each set of phases. about: facts of its manifest."""
    for phases, words in PHASE_WORDS.items():
        names = [each.name for each in cycles.signals if each.phases == phases] if cycles else []
        if cycles and names:
            yield f"compared with the same {words} ({cycles.timezone}): {listed(names)}"
    settings, facts = about.get("settings"), [about.get(name) for name in ("time_from", "time_to", "rows")]
    first, last, rows = (each if isinstance(each, int) else 0 for each in facts)
    if isinstance(settings, Mapping) and settings.get("ordered") and rows:
        days = _days(first, last, rows)
        then = "signals that follow the time of day are compared with the same hours"
        if days < FEWEST:
            yield f"learning the day, {int(days)} of {FEWEST}: from {FEWEST} days of events on, {then}"
        elif cycles is None and "timezone" not in settings:
            yield f"state calendar.timezone, such as Europe/Berlin, and {then}"


def _days(first: int, last: int, events: int) -> float:
    """Days that events cover. first, last: their times, epoch ms."""
    # The last event stands for the time until the next one.
    return (last - first) * events / max(events - 1, 1) / 1000 / _DAY


def cycles_of(layout: Layout, codes: IntArray, values: FloatArray, times: IntArray, timezone: str) -> Cycles | None:
    """The cycles of events in order, None if no signal has any.

    codes: columns (n, S). values: (n, numeric signals). times: epoch ms (n,), ascending.
    """
    time_zone(timezone)
    days = _days(int(times[0]), int(times[-1]), len(times))
    possible = [phases for phases, length in CYCLES.items() if days * _DAY >= FEWEST * length]
    if not possible:
        return None
    seconds, codes_of = local(times // 1000, timezone), codes_of_columns(layout)
    found: dict[int, tuple[int, int, Likeness]] = {}
    for s, signal in enumerate(layout.signals):
        own, n_codes = codes_of[codes[:, s]], len(layout.columns[s])
        phases = _choose(own, n_codes, signal.size, seconds, possible)
        if phases > 1:
            blocks = min(max(len(own) // _BLOCK, _FEWEST_BLOCKS), _MOST_BLOCKS, len(own))
            likeness = Likeness.of(History.of(own, n_codes, seconds, phases, blocks), signal.size, signal.ordered)
            if likeness.judges(len(own) / _WINDOWS):
                found[s] = (phases, blocks, likeness)
    if not found:
        return None
    sums = _sums(layout, codes, values, half_hours(seconds))
    of_signals = (
        CyclicSignal(layout.signals[s].name, *each, in_phases(sums[s], each[0]) if s in sums else _NO_SUMS)
        for s, each in found.items()
    )
    return Cycles(timezone, tuple(of_signals))


def _choose(codes: IntArray, n_codes: int, size: int, seconds: IntArray, possible: Sequence[int]) -> int:
    """The phases of a signal."""
    # Codes that never occur would make phases seem better than all of time, which is less sure that they do not.
    known, grouped = np.unique(few_codes(np.bincount(codes, minlength=n_codes), size)[codes], return_inverse=True)
    return choose_phases(
        {each: History.of(grouped.reshape(-1), len(known), seconds, each, 1).visits for each in possible}
    )


def _sums(layout: Layout, codes: IntArray, values: FloatArray, halves: IntArray) -> dict[int, FloatArray]:
    """Sums (2, 336) of each numeric signal's values by half hour of the week, as in a sketch."""
    order = np.argsort(halves, kind="stable")
    bounds = np.searchsorted(halves[order], np.arange(HALF_HOURS + 1))
    sums = np.stack([layout.sketch(codes[own], values[own]).sums for own in np.split(order, bounds[1:-1])])
    return {s: sums[:, :, index].T.astype(float) for index, s in enumerate(layout.numeric)}


def local(seconds: IntArray, timezone: str) -> IntArray:
    """Local times (n,) in seconds, of times in seconds since the epoch, in a zone of the IANA's, or ValueError."""
    # Offsets are multiples of a quarter of an hour, and change at one.
    quarters, index = np.unique(seconds // _QUARTER, return_inverse=True)
    offsets = np.array([_offset(int(each), timezone) for each in quarters], np.int64)
    return np.asarray(seconds + offsets[index.reshape(-1)])


@lru_cache(maxsize=1 << 16)
def _offset(quarter: int, timezone: str) -> int:
    """Seconds by which local time is ahead at a quarter of an hour since the epoch."""
    offset = datetime.fromtimestamp(min(quarter, _LAST_QUARTER) * _QUARTER, time_zone(timezone)).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _figures(each: CyclicSignal) -> FloatArray:
    """Events of a block and of a cycle, sums, excess by family, and the runs of each family: calm ones, whole ones."""
    widths, families = each.likeness.widths, each.likeness.functionals.families
    excess = widths.excess[:, [family.start for family in families]]
    runs = run_figures((*widths.calm, *widths.whole))
    return np.concatenate([[widths.block, widths.cycle], each.sums.ravel(), excess.ravel(), runs])


def cycles_from(facts: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout, total: IntArray) -> Cycles | None:
    """The cycles in files by name, of which the manifest states `facts`. total: counts (C,) of all of the baseline.

    None if another version derived them, or if one that does not know them has copied the facts without the files.

    Raises ValueError, KeyError or TypeError if they are damaged, or belong to another layout.
    """
    if facts["version"] != CYCLES_VERSION or not files.keys() >= {*CYCLES_FILES}:
        return None
    if facts["hash"] != _hash({key: facts[key] for key in facts if key != "hash"}, files):
        raise ValueError("the cycles do not match their hash")
    time_zone(str(facts["timezone"]))
    counts, figures = (read_row(name, files, *of) for name, of in zip(CYCLES_FILES, (COUNTS, ("<f8",)), strict=True))
    if not np.isfinite(figures.rest).all():
        raise ValueError("a figure of the cycles is not finite")
    known = {signal.name: s for s, signal in enumerate(layout.signals)}
    signals = tuple(
        _signal(layout, known[name], of["phases"], of["blocks"], total, counts, figures)
        for name, of in facts["signals"].items()
    )
    if not signals or counts.rest.size or figures.rest.size:
        raise ValueError("the cycles do not match the signals")
    return Cycles(str(facts["timezone"]), signals)


def _signal(
    layout: Layout, s: int, phases: object, blocks: object, total: IntArray, counts: Row, figures: Row
) -> CyclicSignal:
    # An exact type, as 24.0 and True equal whole numbers.
    if type(phases) is not int or type(blocks) is not int or phases not in CYCLES or not 2 <= blocks <= _MOST_BLOCKS:
        raise ValueError(f"{phases} phases, measured in {blocks} blocks, cannot be")
    signal = layout.signals[s]
    reference = Reference(counts.take(phases, len(layout.columns[s])).astype(float))
    if not reference.events.any() or (reference.counts.sum(0) != total[layout.columns[s]]).any():
        raise ValueError(f"the cycles hold other events of {signal.name} than the baseline")
    functionals = Functionals(reference.pooled, signal.size, signal.ordered)
    block, cycle = figures.take(2).tolist()
    sums = figures.take(2, phases) if signal.numeric else _NO_SUMS
    excess = figures.take(phases, len(functionals.families))
    calm, whole = (runs_from(figures, functionals, blocks) for _ in range(2))
    if min(block, cycle, excess.min()) <= 0:
        raise ValueError(f"the cycles of {signal.name} vary as nothing can")
    widths = Widths.known(reference, functionals, block, excess, calm, whole, cycle)
    return CyclicSignal(signal.name, phases, blocks, Likeness(reference, functionals, widths), sums)


def _hash(says: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join([canonical_json(says), *(files[name] for name in CYCLES_FILES)])).hexdigest()
