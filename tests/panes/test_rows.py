"""Rows: however the rows of fetches are sliced and added up, the sketch of a run is that of its events."""

from __future__ import annotations

import json
import math
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.baselines.build import build_baseline
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import Event
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import parse_event
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.rows import SketchRows, Tally, count_together
from driftline.stream.panes.sketcher import Sketcher

# One more than a tally keeps uncounted.
TOGETHER = 64


def message(amount: Any, land: Any) -> bytes:
    return json.dumps(
        {"id": "a", "ts": 1_767_225_600_000, "model": "m", "features": {"amount": amount, "land": land}}
    ).encode()


SAMPLE = [Event(str(i), i, "m", None, {"features.amount": i % 90, "features.land": "DE"}) for i in range(300)]
BASELINE = build_baseline([*SAMPLE, *SAMPLE], {"model": "m"})
ODD = st.sampled_from([1, 2.5, -0.0, 1e300, None, math.nan, math.inf, "12", True, "DE", "XX", [1], {"a": 1}])
MESSAGES = st.lists(st.builds(message, ODD, ODD), min_size=1, max_size=200)


def rows_of(log: list[bytes], start: int = 0) -> SketchRows:
    columns = Decoder({"m": BASELINE.fields}).decode(log).known["m"]
    return SketchRows.of(BASELINE, columns, np.arange(start, start + len(log)))


def tallies(log: list[bytes], cuts: list[int]) -> list[Tally]:
    """The log in fetches that end at every other cut, each fetch in two slices at the cut between."""
    bounds = sorted({0, *(cut % len(log) for cut in cuts), len(log)})
    parts = []
    for first, last in pairwise([*bounds[:-1:2], bounds[-1]]):
        rows, inside = rows_of(log[first:last], first), [cut - first for cut in bounds if first <= cut <= last]
        parts += [rows.content(start, stop) for start, stop in pairwise(inside)]
    return parts


@given(MESSAGES, st.lists(st.integers(0, 199), max_size=40), st.integers(0, 40))
def test_a_tally_of_any_slices_gives_the_sketch_of_the_events(log: list[bytes], cuts: list[int], grouped: int) -> None:
    parts = tallies(log, cuts)
    first, rest = parts[: grouped % len(parts)], parts[grouped % len(parts) :]
    whole = [reduce(add, group) for group in (first, rest) if group]
    expected = BASELINE.sketch_events([parse_event(each) for each in log])
    assert reduce(add, whole).sketch() == reduce(add, parts).sketch() == expected


@given(MESSAGES, st.lists(st.integers(0, 199), max_size=150))
def test_panes_counted_together_have_the_sketches_of_each_alone(log: list[bytes], cuts: list[int]) -> None:
    parts = tallies(log, cuts)
    together = count_together([(), *parts, parts[0]])
    assert together[0] == ()
    assert [each.sketch() for each in together[1:]] == [each.sketch() for each in (*parts, parts[0])]
    assert not any(each.uncounted for each in together[1:])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30))
def test_a_tally_keeps_less_than_a_batch_uncounted(sizes: list[int]) -> None:
    rows, tally = rows_of([message(1, "DE")] * 100), None
    for size in sizes:
        part = rows.content(0, size)
        tally = part if tally is None else tally + part
        assert len(tally.uncounted) == 1 or sum(len(each.ts) for each in tally.uncounted) < TOGETHER
        assert len(tally.counted) <= 1
    assert tally is not None
    assert tally.sketch().n == sum(sizes)


@pytest.mark.parametrize("version", ["", "2.0"])
def test_values_that_do_not_fit_are_reported_also_of_events_that_wait_for_an_exchanged_baseline(version: str) -> None:
    """They join what the open run has counted, and those of the next run are counted anew."""
    sketcher = Sketcher("t", Cutter(PaneRule(), 0, 0), {"m": BASELINE}, EventMapping())
    after = build_baseline(SAMPLE, {"model": "m"})

    def defects(at: int, amount: Any) -> list[tuple[int, str]]:
        event = {**json.loads(message(amount, "DE")), "version": version}
        found = sketcher.consume(np.array([at]), [json.dumps(event).encode()])
        return [(position, defect.reason) for position, defect in found.defects]

    assert defects(0, 1) == []
    sketcher.exchange("m", {"": after, "2.0": after})
    assert defects(1, 2) == []
    reason = "features.amount: expected number, got 'N/A'"
    assert defects(2, "N/A") == [(0, reason)]
    assert sketcher.close(3).panes["m"].content.n == 3
    assert defects(3, "N/A") == [(0, reason)]
