"""Sizes of differences: noise and cycles of the reference are usual, and what is larger has a word for how large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.usual import Phased
from driftline.stream.events.event import Event
from driftline.stream.results.sizes import FEWEST, LEVELS, Sizes, size_in_words

HOUR = 3_600_000


def events(values: FloatArray) -> list[Event]:
    return [Event(str(i), i * HOUR, "m", None, {"score": float(value)}) for i, value in enumerate(values)]


def baseline(values: FloatArray, *, ordered: bool = True) -> Baseline:
    return build_baseline(events(values), {"model": "m"}, BuildSettings(ordered=ordered))


def level(sizes: Sizes, reference: Baseline, values: FloatArray) -> int:
    sketch = reference.sketch_events(events(values))
    return int(sizes.levels(sketch.counts[None], np.array([sketch.n]), {})[0, 0])


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("n", [30, 100, 1000])
def test_stretches_of_what_has_not_changed_are_pale_nearly_always(ordered: bool, n: int) -> None:
    chance = np.random.default_rng(1)
    reference = baseline(chance.normal(size=5000), ordered=ordered)
    sizes = Sizes(reference)

    levels = [level(sizes, reference, chance.normal(size=n)) for _ in range(200)]

    assert sum(each > 0 for each in levels) <= 200 * 0.1


@pytest.mark.parametrize(("shift", "words"), [(0.0, 0), (0.35, 1), (0.75, 2), (1.4, 3), (4.0, 4)])
def test_a_shift_has_the_word_that_explain_has_for_it(shift: float, words: int) -> None:
    chance = np.random.default_rng(2)
    reference = baseline(chance.normal(size=5000))

    assert level(Sizes(reference), reference, chance.normal(size=5000) + shift) == words


def test_a_cycle_of_the_reference_is_usual_and_its_end_is_not() -> None:
    chance, hours = np.random.default_rng(3), np.arange(20 * 168)
    weekly = 2 * np.sin(2 * np.pi * hours / 168) + chance.normal(size=len(hours))
    reference = baseline(weekly)
    sizes = Sizes(reference)

    days = [level(sizes, reference, 1.9 + chance.normal(size=24)) for _ in range(40)]  # as on the highest day of a week
    assert sum(each > 0 for each in days) <= 40 * 0.3
    noise = Sizes(baseline(weekly, ordered=False))  # without its order, the cycle is not known
    assert sum(level(noise, reference, 1.9 + chance.normal(size=24)) > 0 for _ in range(40)) >= 40 * 0.9
    assert level(sizes, reference, 8 + chance.normal(size=24)) == len(LEVELS) - 1


@pytest.mark.parametrize("phased", [True, False])
def test_hours_are_compared_with_the_same_hours_where_the_baseline_has_phases(phased: bool) -> None:
    """A swing of the day is usual in both; a shift that is smaller than the swing shows only beside the same hours."""
    chance = np.random.default_rng(6)

    def hour(number: int, shift: float = 0.0) -> list[Event]:
        values = 3 * np.sin(np.pi * (number % 24) / 12) + shift + chance.normal(size=50)
        at = number * HOUR + np.arange(50) * HOUR // 50
        return [Event("e", int(ts), "m", None, {"x": float(value)}) for ts, value in zip(at, values, strict=True)]

    known = [event for number in range(14 * 24) for event in hour(number)]
    reference = build_baseline(known, {"model": "m"}, BuildSettings(timezone="UTC" if phased else None))
    sizes = Sizes(reference, Phased.of(reference.cycles, reference.layout))

    def levels(shift: float) -> IntArray:
        hours = range(14 * 24, 17 * 24)
        sketches = [reference.sketch_events(hour(number, shift)) for number in hours]
        phases = sizes.phases([(number * HOUR, (number + 1) * HOUR, 50) for number in hours])
        counts, events = np.stack([each.counts for each in sketches]), np.full(len(hours), 50)
        return np.asarray(sizes.levels(counts, events, phases)[:, 0])

    assert (levels(0.0) > 0).mean() <= 0.1
    shifted = levels(1.0)
    assert ((shifted >= 2).mean() >= 0.9) if phased else ((shifted > 0).mean() <= 0.5)


def test_few_events_say_nothing() -> None:
    reference = baseline(np.random.default_rng(4).normal(size=1000))

    assert level(Sizes(reference), reference, np.full(FEWEST - 1, 9.0)) == -1
    assert level(Sizes(reference), reference, np.full(FEWEST, 9.0)) == len(LEVELS) - 1


def test_the_references_own_stretches_hold_all_of_its_events() -> None:
    reference = baseline(np.random.default_rng(5).normal(size=1000))

    levels, events = Sizes(reference).own(7)

    assert events.sum() == 1000
    assert levels.shape == (7, 1)
    unordered = Sizes(baseline(np.random.default_rng(5).normal(size=1000), ordered=False))
    assert unordered.own(7)[1].tolist() == []


def test_where_nothing_says_how_stretches_differ_chance_alone_is_usual() -> None:
    values = np.random.default_rng(5).normal(size=1000)
    known, unordered = baseline(values), baseline(values, ordered=False)
    assert [Sizes(each).knows_usual for each in (known, known.without_blocks(), unordered)] == [True, True, False]
    earlier = replace(known, usual=None)
    assert [Sizes(each).knows_usual for each in (earlier, earlier.without_blocks())] == [True, False]


def test_sizes_in_words_rise_with_the_size() -> None:
    assert [size_in_words(each) for each in (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)] == [*LEVELS, LEVELS[-1]]
