"""Coverage: which fields of the live events no signal watches, found by reading every n-th offset exactly. Pure.

The fast reader looks only at the fields of baselines, which is what makes it fast. So the sketcher also gives every
n-th message to the exact reader, and this module remembers the fields that are not watched. Which messages those are
depends on their offsets alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.unwatched import RARE, Why
from driftline.stream.config.signals import Signals
from driftline.stream.events.event import Event

#: Offsets from one sample to the next, and that distance among the first `EARLY` offsets, as short logs and files have
#: no others. Reading 20 fields exactly and counting them takes as long as ten events in all: with 1999, samples cost
#: less than a hundredth, and of a million events five hundred are sampled. Primes: producers that take turns, in any
#: short cycle, are all sampled.
SAMPLE_EVERY, SAMPLE_EVERY_EARLY, EARLY = 1999, 47, 10_000
# Fields of one model, and fields and models in all; each takes some 500 bytes. A model without a baseline needs room
# for all of its fields until it has learned one; such models share one half, as their names may be anything.
_MAX_OWN, _MAX_TOTAL = 2_000, 20_000
_TYPES = {bool: "true or false", str: "text", list: "an array", int: "a number", float: "a number"}
_REMEDIES = {
    Why.NULL: "null in all {rows:,} events of the baseline",
    Why.ARRAY: "an array; only single values are watched (are its items rows? see mapping.rows)",
    Why.OBJECT: "an empty object",
    Why.IDENTIFIER: "looks like an identifier, nearly every value is another one, or rare; name its kind to watch it "
    "(kinds)",
    Why.NAME: "its name is not valid Unicode",
    Why.RARE: "{names:,} names have a value in fewer than {rare} of the {rows:,} events of the baseline, such as ids; "
    "name the kind of one to watch it (kinds)",
    Why.SURPLUS: "{names:,} names are less common than those that are watched, as many as limits.signals allows; leave "
    "some out (signals), or raise it",
    Why.NEW: "new since the baseline; build a baseline that knows it",
    Why.FILLED: "was null in all {rows:,} events of the baseline, and has values now; build a baseline that knows them",
}
#: The reasons that mean that the traffic has changed.
CHANGES = frozenset({Why.NEW, Why.FILLED})


@dataclass(slots=True)
class SampledField:
    """An unwatched field in the sampled events: in how many it has a value, the first offset, and that value's type."""

    events: int
    partition: int
    offset: int
    type: str


@dataclass
class Coverage:
    """The unwatched fields in the sampled events.

    sampled: events by model. beyond: values of fields that are not kept.
    """

    sampled: dict[str, int] = field(default_factory=dict)
    fields: dict[str, dict[str, SampledField]] = field(default_factory=dict)
    beyond: int = 0
    _total: int = 0

    def add(self, event: Event, watched: Container[str] | None, partition: int, offset: int) -> None:
        """Count the fields of a sampled event that have a value and are not watched.

        watched: the signals of the model's baseline; None if it has none yet.
        """
        limit = _MAX_TOTAL // 2 if watched is None else _MAX_TOTAL
        if event.model not in self.fields:
            if self._total >= limit:
                self.beyond += 1
                return
            self._total += 1  # a model takes room, even if it has no field
        self.sampled[event.model] = self.sampled.get(event.model, 0) + 1
        own = self.fields.setdefault(event.model, {})
        for name, value in event.signals.items():
            if name in (watched or ()) or value is None or isinstance(value, dict):
                continue
            if known := own.get(name):
                known.events += 1
            elif len(own) < _MAX_OWN and self._total < limit:
                own[name] = SampledField(1, partition, offset, _TYPES.get(type(value), "a value"))
                self._total += 1
            else:
                self.beyond += 1

    def forget(self, model: str, watched: Container[str]) -> None:
        """Forget the fields of a model that has got a baseline which watches them."""
        own = self.fields.get(model, {})
        self.fields[model] = {name: each for name, each in own.items() if name not in watched}
        self._total -= len(own) - len(self.fields[model])


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A field of a model that no signal watches. detail: the reason in words; why: the same as one word."""

    model: str
    field: str
    why: Why
    detail: str

    @property
    def is_change(self) -> bool:
        """Whether the traffic has changed here since the baseline."""
        return self.why in CHANGES


def sampled_positions(offsets: IntArray) -> list[int]:
    """The positions of the rising offsets (n,) that are sampled.

    >>> sampled_positions(np.array([0, 46, 47, 1999, 10_011, 11_994]))
    [0, 2, 3, 5]
    """
    if not len(offsets):
        return []
    # Of the few offsets that may be sampled, those that are there: a remainder for each offset would cost as much as
    # the samples themselves.
    first, end = int(offsets[0]), int(offsets[-1]) + 1
    wanted = {*_multiples(SAMPLE_EVERY, first, end), *_multiples(SAMPLE_EVERY_EARLY, first, min(end, EARLY))}
    found = np.searchsorted(offsets, sorted(wanted)).tolist()
    return sorted({position for position in found if int(offsets[position]) in wanted})


def _multiples(of: int, first: int, end: int) -> range:
    """The multiples of a number in [first, end)."""
    return range(-(-first // of) * of, end, of)


def unwatched(baseline: Baseline, signals: Signals, coverage: Coverage) -> list[Unwatched]:
    """The fields of a model that are not watched, those that have changed since the baseline first.

    baseline: the model's, with its configured `signals` only. coverage: of the live events.
    """
    return sorted(_unwatched(baseline, signals, coverage), key=lambda each: (not each.is_change, each.field))


def without_baseline(model: str, detail: str, coverage: Coverage) -> Iterator[Unwatched]:
    """What is said of a model without a baseline: none of its fields (`*`) is watched, and its arrays never are."""
    yield Unwatched(model, "*", Why.FEW, detail)
    for name, each in sorted(coverage.fields.get(model, {}).items()):
        if each.type == _TYPES[list]:
            yield Unwatched(model, name, Why.ARRAY, _REMEDIES[Why.ARRAY])


def _unwatched(baseline: Baseline, signals: Signals, coverage: Coverage) -> Iterator[Unwatched]:
    model, facts = baseline.model, baseline.unwatched
    for why, names in baseline.left_out.items():
        yield Unwatched(model, "*", why, _REMEDIES[why].format(names=names, rare=RARE, rows=baseline.total.n))
    sampled, own = coverage.sampled.get(model, 0), coverage.fields.get(model, {})
    for name in {**facts, **own}:
        if name not in baseline.names and (name in facts or not _may_be_left_out(baseline, own[name])):
            why = _why(name, facts.get(name), own.get(name), signals)
            yield Unwatched(model, name, why, _detail(name, why, own.get(name), sampled, baseline.total.n, signals))


def _may_be_left_out(baseline: Baseline, sample: SampledField) -> bool:
    """Whether a field may be one of those that the baseline has counted and not named, and so not a new one."""
    return Why.SURPLUS in baseline.left_out or (Why.RARE in baseline.left_out and sample.events == 1)


def _why(name: str, fact: Why | None, sample: SampledField | None, signals: Signals) -> Why:
    if signals.left_out_by(name):
        return Why.EXCLUDED
    is_array = sample is not None and sample.type == _TYPES[list]
    if fact is Why.NULL and sample:
        return Why.ARRAY if is_array else Why.FILLED
    return fact or (Why.ARRAY if is_array else Why.NEW)


def _detail(name: str, why: Why, sample: SampledField | None, sampled: int, rows: int, signals: Signals) -> str:
    if why is Why.EXCLUDED:
        return f"excluded by {signals.left_out_by(name) or 'the configuration that the baseline was built with'}"
    reason = _REMEDIES[why].format(rows=rows)
    if sample is None or why not in CHANGES:
        return reason
    return (
        f"{reason}. In {sample.events:,} of {sampled:,} sampled events, first at offset {sample.offset:,} "
        f"(partition {sample.partition}), {sample.type}"
    )
