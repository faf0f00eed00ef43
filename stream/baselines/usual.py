"""How different stretches of a baseline are from the rest of it, for people who look at maps: what is usual. Pure.

The size of a difference is the Jensen-Shannon distance (`detectors.statistics.effect_sizes`) of a few groups of codes:
the tenths of the reference or its commonest values, and each special code. With all codes, some hundred events would
look different from any reference, by chance. No alarm depends on it.

Traffic swings by day, week and season, and so does a baseline. What 19 of 20 of its own stretches reach is usual, each
compared with the rest of it or, of a signal with phases, with what all of it expects at the stretch's own times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.phases import CYCLES, HALF_HOURS, half_hours, in_phases
from driftline.detectors.decision.reference import Reference, mixed
from driftline.detectors.statistics.effect_sizes import jensen_shannon
from driftline.detectors.summaries.coarse import Coarsening
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.cycles import Cycles, local
from driftline.stream.baselines.encoding import array_file, read_array
from driftline.stream.baselines.figures import figures_hash

#: Raised whenever the same events give other figures; then what an earlier Driftline derived is not used.
USUAL_VERSION: Final = 1
#: The file of the figures: events of a stretch, and the usual size of each signal, length by length.
USUAL_FILE: Final = "usual.npy"

# Groups of the regular codes of a signal.
_GROUPS = 10
# The share of the baseline's own stretches that are usual.
_SHARE = 0.95
# Stretches that a baseline holds of the longest ones that are measured, and blocks below which nothing is.
_STRETCHES, _FEWEST = 4, 8
_HALF_HOUR_MS = 1_800_000
# By phases, the events (w, H) of some stretches in each.
Phases = Mapping[int, FloatArray]


class Groups:
    """The groups of codes (G) of all signals (S) of a layout, by which sizes are measured."""

    def __init__(self, layout: Layout, total: IntArray) -> None:
        groups = [_groups(layout, total, s) for s in range(len(layout.signals))]
        self._layout, self._groups = layout, groups
        self._order = np.concatenate([columns for signal in groups for columns in signal])
        lengths = [len(columns) for signal in groups for columns in signal]
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        #: The first group of each signal (S,).
        self.signals = np.concatenate([[0], np.cumsum(list(map(len, groups)))[:-1]]).astype(np.int64)

    def counts(self, counts: IntArray) -> IntArray:
        """Counts (w, C) by group (w, G)."""
        return np.asarray(np.add.reduceat(counts[:, self._order], self._starts, axis=1))

    def of_codes(self, signal: int, codes: FloatArray) -> FloatArray:
        """Figures of the codes (w, K) of a signal, summed by its groups (w, g)."""
        at = np.empty(self._layout.width, np.int64)
        at[self._layout.columns[signal]] = np.arange(codes.shape[1])
        return np.stack([codes[:, at[own]].sum(1) for own in self._groups[signal]], axis=1)

    def span(self, signal: int) -> slice:
        """The groups of a signal."""
        return slice(int(self.signals[signal]), int(self.signals[signal]) + len(self._groups[signal]))

    def sizes(self, counts: Any, reference: Any) -> FloatArray:
        """The sizes (w, S) of differences of groups (w, G) from others, (G,) or (w, G)."""
        return np.asarray(jensen_shannon(counts, reference, self.signals))


def _groups(layout: Layout, total: IntArray, s: int) -> list[IntArray]:
    """The columns of each group of a signal's codes."""
    start, size = int(layout.starts[s]), int(layout.sizes[s])
    columns, counts = np.arange(start, start + size), total[start : start + size]
    if layout.signals[s].ordered and counts.any():
        filled = np.cumsum(counts) / counts.sum()
        ends = np.unique(np.searchsorted(filled, np.arange(1, _GROUPS) / _GROUPS - 1e-9)) + 1
        regular = [each for each in np.split(columns, ends[ends < size]) if len(each)]
    else:
        order = np.argsort(-counts, kind="stable")
        common, rest = order[: _GROUPS - 1], order[_GROUPS - 1 :]
        regular = [columns[[each]] for each in common] + ([columns[rest]] if len(rest) else [])
    return [*regular, *(np.array([layout.special_column(s, each)]) for each in Special)]


@dataclass(frozen=True, eq=False)
class Phased:
    """What a baseline expects by phase. timezone: of its days. signals: those with phases, by their index."""

    timezone: str
    signals: Mapping[int, Reference]

    @classmethod
    def of(cls, cycles: Cycles | None, layout: Layout) -> Self | None:
        """What is expected of the signals of a layout; None if none has phases."""
        known = cycles.by_name if cycles else {}
        own = {s: known[each.name] for s, each in enumerate(layout.signals) if each.name in known}
        return cls(cycles.timezone, {s: each.likeness.reference for s, each in own.items()}) if cycles and own else None

    def coarse(self, codes: Coarsening) -> Self:
        """The same in coarse codes."""
        of = {s: Reference(codes.of_signal(s, each.counts)) for s, each in self.signals.items()}
        return replace(self, signals=of)

    def phases(self, stretches: Sequence[tuple[int, int, int]]) -> Phases:
        """The events of stretches by phase, as the baseline spreads them over the times of each.

        stretches: start, end, epoch ms, and events of each.
        """
        halves = np.stack([self._half_hours(start, end) for start, end, _ in stretches])
        events, found = np.array([[n] for _, _, n in stretches], float), {}
        for reference in self.signals.values():
            number = len(reference.counts)
            if number not in found:
                times = in_phases(halves, number)
                spread = times * np.where((times * reference.events).any(1, keepdims=True), reference.events, 1.0)
                found[number] = spread / spread.sum(1, keepdims=True) * events
        return found

    def _half_hours(self, start: int, end: int) -> FloatArray:
        """How often a stretch has each half hour of the local week (336,); one of a week or more has all alike."""
        first, last = start // _HALF_HOUR_MS, -(-end // _HALF_HOUR_MS)
        if last - first >= HALF_HOURS:
            return np.ones(HALF_HOURS)
        seconds = np.arange(first, max(last, first + 1)) * (_HALF_HOUR_MS // 1000)
        return np.bincount(half_hours(local(seconds, self.timezone)), minlength=HALF_HOURS).astype(float)

    def expected(self, groups: Groups, reference: IntArray, phases: Phases) -> FloatArray:
        """What is expected of stretches by group (w, G). reference: (G,) of all times, of signals without phases."""
        rows = len(next(iter(phases.values())))
        found = np.repeat(reference[None].astype(float), rows, axis=0)
        for s, own in self.signals.items():
            found[:, groups.span(s)] = mixed(phases[len(own.counts)], groups.of_codes(s, own.shares))
        return found


@dataclass(frozen=True, eq=False)
class Usual:
    """The usual sizes (L, S) of the signals in stretches of `events` (L,), rising."""

    events: FloatArray
    sizes: FloatArray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usual) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    def at(self, events: int) -> FloatArray:
        """The size (S,) that 19 of 20 stretches of about this many events stay below if nothing has changed."""
        nearest = np.abs(np.log(self.events / max(events, 1))).argmin()
        return np.asarray(self.sizes[nearest])

    def select(self, kept: Sequence[int]) -> Usual:
        """What belongs to these signals, by their index."""
        return replace(self, sizes=self.sizes[:, kept])

    def file(self) -> bytes:
        """The .npy file: a row for each length, with its events and the sizes."""
        return array_file(np.column_stack([self.events, self.sizes]), "<f8")

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        says = {"version": USUAL_VERSION}
        return {**says, "hash": figures_hash(says, self.file())}

    @classmethod
    def of_file(cls, file: bytes, signals: int) -> Self:
        """The inverse of `file`. Raises ValueError if it does not hold usual sizes of as many signals."""
        table = read_array(file, "<f8")
        if table.shape[1] != 1 + signals or not len(table) or not np.isfinite(table).all():
            raise ValueError("the usual sizes do not match the signals")
        events, sizes = table[:, 0], table[:, 1:]
        if events[0] <= 0 or (np.diff(events) <= 0).any() or sizes.min() < 0 or sizes.max() > 1:
            raise ValueError("the usual sizes are such as nothing can have")
        return cls(events, sizes)


def usual_from(facts: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout) -> Usual | None:
    """The usual sizes in files by name, of which the manifest states `facts`.

    None if another version derived them, or if one that does not know them has copied the facts without the file.

    Raises ValueError, KeyError or TypeError if they are damaged, or belong to another layout.
    """
    if facts["version"] != USUAL_VERSION or USUAL_FILE not in files:
        return None
    if facts["hash"] != figures_hash(facts, files[USUAL_FILE]):
        raise ValueError(f"{USUAL_FILE} does not match its hash")
    return Usual.of_file(files[USUAL_FILE], len(layout.signals))


def usual_of(
    layout: Layout, blocks: IntArray, cycles: Cycles | None = None, times: IntArray | None = None
) -> Usual | None:
    """The usual sizes of stretches of blocks (P, C) in order; None if there are too few.

    times: of all events, epoch ms, ascending; needed where signals have phases.
    """
    if len(blocks) < _FEWEST:
        return None
    total = blocks.sum(0)
    groups = Groups(layout, total)
    own, reference = _summed(groups.counts(blocks)), groups.counts(total[None])[0]
    phased = Phased.of(cycles, layout) if times is not None else None
    expected = None
    if phased is not None and times is not None:
        expected = _summed(phased.expected(groups, reference, _block_phases(phased, times, layout.events(blocks))))
    rows, lengths = [], _lengths(len(blocks))
    for length in lengths:
        first = np.arange(0, len(blocks) - length + 1, max(length // 2, 1))
        stretches = own[first + length] - own[first]
        sizes = groups.sizes(stretches, reference - stretches)
        if phased is not None and expected is not None and times is not None:
            like = groups.sizes(stretches, expected[first + length] - expected[first])
            for s, each in phased.signals.items():
                sizes[:, s] = like[:, s] * _apart(times, len(each.counts))
        rows.append(np.quantile(sizes, _SHARE, axis=0))
    # Rounded, as another machine or another numpy may differ in the last bits.
    events = layout.events(total) / len(blocks) * np.array(lengths)
    return Usual(np.asarray(events), np.asarray(np.round(np.minimum(np.stack(rows), 1.0), 4), float))


def joined_usual(sources: Sequence[tuple[Usual | None, int]]) -> Usual | None:
    """The usual sizes of signals, each by its index in another baseline's; None if these measured other stretches."""
    known = [own for own, _ in sources if own]
    if len(known) < len(sources) or not all(np.array_equal(each.events, known[0].events) for each in known):
        return None
    return replace(known[0], sizes=np.stack([own.sizes[:, s] for own, (_, s) in zip(known, sources, strict=True)], 1))


def _lengths(blocks: int) -> list[int]:
    """The lengths of stretches, in blocks."""
    longest = blocks // _STRETCHES
    return [2**power for power in range(longest.bit_length())]


def _summed(rows: Any) -> Any:
    """Sums of the rows up to each (P + 1, G)."""
    return np.concatenate([np.zeros((1, rows.shape[1]), rows.dtype), np.cumsum(rows, 0)])


def _block_phases(phased: Phased, times: IntArray, events: IntArray) -> Phases:
    """The events (P, H) of blocks by phase."""
    halves = half_hours(local(times // 1000, phased.timezone))
    block = np.repeat(np.arange(len(events)), events)
    counted = np.bincount(block * HALF_HOURS + halves, minlength=len(events) * HALF_HOURS)
    counts = np.asarray(counted.reshape(len(events), HALF_HOURS), float)
    return {number: in_phases(counts, number) for number in {len(each.counts) for each in phased.signals.values()}}


def _apart(times: IntArray, phases: int) -> float:
    """How much farther a stretch is from all other cycles than from all with its own."""
    cycles = (int(times[-1]) - int(times[0])) / 1000 / CYCLES[phases]
    return cycles / max(cycles - 1, 1.0)
