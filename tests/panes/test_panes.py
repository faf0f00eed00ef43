"""Panes: the same log gives the same runs, however it arrives.

A log is drawn as one line of slots, one character an offset: `a`, `b`, ... for an event in that slot of time, `.` for a
message that is not an event. Where there are several models, a second line names them. `┤` is the last offset of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from driftline.stream.panes.cutter import Cutter, PaneRule, Sizes
from driftline.stream.panes.pane import Pane, Range, Run

SLOT_MS = 1000


class Logged(NamedTuple):
    """A message at an offset; slot None: it is not an event. size: its bytes."""

    offset: int
    model: str
    slot: int | None
    size: int = 0

    @property
    def ts(self) -> int:
        return (self.slot or 0) * SLOT_MS + self.offset % SLOT_MS


@dataclass(frozen=True)
class Offsets:
    """Rows whose content is their own offsets, so that a pane shows which events it holds."""

    offsets: np.ndarray
    times: np.ndarray

    def content(self, first: int, last: int) -> tuple[int, ...]:
        return tuple(self.offsets[first:last].tolist())


def sizes(chunk: Sequence[Logged]) -> Sizes:
    return Sizes.of(np.array([each.offset for each in chunk]), [b"x" * each.size for each in chunk])


def rows(chunk: Sequence[Logged]) -> dict[str, Offsets]:
    good = [each for each in chunk if each.slot is not None]
    return {
        model: Offsets(
            np.array([each.offset for each in good if each.model == model]),
            np.array([each.ts for each in good if each.model == model]),
        )
        for model in {each.model for each in good}
    }


def draw(slots: str, models: str | None = None) -> list[Logged]:
    return [
        Logged(offset, model, None if slot == "." else ord(slot) - ord("a"))
        for offset, (slot, model) in enumerate(zip(slots, models or "m" * len(slots), strict=True))
    ]


def cut(log: Sequence[Logged], events: int = 6, chunk: int = 1000, slot_ms: int | None = SLOT_MS) -> list[Run]:
    """All runs of a log pushed in chunks, the open one last."""
    cutter = Cutter(PaneRule(events, slot_ms), partition=0, start=0)
    parts = [log[first : first + chunk] for first in range(0, len(log), chunk)]
    runs = [run for part in parts for run in cutter.push(rows(part), part[-1].offset + 1)]
    return [*runs, cutter.close(log[-1].offset + 1)]


def bounds(runs: Iterable[Run]) -> list[tuple[int, int]]:
    return [(run.start, run.end) for run in runs]


def held(run: Run) -> dict[str, tuple[int, ...]]:
    """The offsets in the panes of a run, by model."""
    return {model: pane.content for model, pane in run.panes.items()}


CHUNKS = pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1000])


@CHUNKS
def test_a_run_ends_with_its_slot_or_when_a_model_has_enough_events(chunk: int) -> None:
    #       0         1
    #       0123456789012
    #       ────┤─────┤──     5 leaves slot a; 7 is late and stays; 10 is the sixth of its run
    runs = cut(draw("aaaaabbabbbbb"), chunk=chunk)
    assert bounds(runs) == [(0, 5), (5, 11), (11, 13)]
    assert [held(run)["m"] for run in runs] == [tuple(range(5)), tuple(range(5, 11)), (11, 12)]


@CHUNKS
def test_an_event_from_the_future_ends_one_run_early_and_its_own_when_full(chunk: int) -> None:
    #       0         1
    #       01234567890123
    #       ──┤─────┤─┤───    3 is from the future; what follows is late for its run, then all is as before
    assert bounds(cut(draw("aaazaaabbbbccc"), chunk=chunk)) == [(0, 3), (3, 9), (9, 11), (11, 14)]


@CHUNKS
def test_rejected_messages_belong_to_runs_but_neither_count_nor_end_them(chunk: int) -> None:
    #       0123456789012
    #       ────────┤────     6 events at 8; the slot is that of the first event, 9 sets the next
    runs = cut(draw("..aa.aaaa.b.b"), chunk=chunk)
    assert bounds(runs) == [(0, 9), (9, 13)]
    assert held(runs[0]) == {"m": (2, 3, 5, 6, 7, 8)}


@CHUNKS
def test_a_run_ends_for_all_models_at_once(chunk: int) -> None:
    #       01234567890
    #       xyxxyxxxyyx
    #       ───────┤───       7 is the sixth of x; y gets a pane of two
    runs = cut(draw("aaaaaaaaaaa", "xyxxyxxxyyx"), chunk=chunk)
    assert bounds(runs) == [(0, 8), (8, 11)]
    assert held(runs[0]) == {"x": (0, 2, 3, 5, 6, 7), "y": (1, 4)}
    assert held(runs[1]) == {"y": (8, 9), "x": (10,)}


@CHUNKS
def test_one_models_events_end_the_slot_of_another(chunk: int) -> None:
    #       012345
    #       xyxyyx
    #       ─┤─┤──            x at 2 is in slot b, and the run has slot a, whichever model opened it
    assert bounds(cut(draw("aabbcc", "xyxyyx"), chunk=chunk)) == [(0, 2), (2, 4), (4, 6)]


@CHUNKS
def test_without_slots_only_the_number_of_events_ends_runs(chunk: int) -> None:
    #       ─────┤─────┤─     six each, whatever the time
    assert bounds(cut(draw("aczbyaaaqqaaa"), chunk=chunk, slot_ms=None)) == [(0, 6), (6, 12), (12, 13)]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_run_has_at_most_a_hundred_times_the_events_of_a_full_pane_in_offsets(chunk: int) -> None:
    many = [Logged(offset, f"model {offset}", 0) for offset in range(450)]
    assert bounds(cut(many, events=2, chunk=chunk)) == [(0, 200), (200, 400), (400, 450)]
    bad = draw("." * 450)
    runs = cut(bad, events=2, chunk=chunk)
    assert bounds(runs) == [(0, 200), (200, 400), (400, 450)]
    assert not any(run.panes for run in runs)
    # At its last offset, not at the next message: that may be long in coming.
    assert bounds(Cutter(PaneRule(2, SLOT_MS), partition=0, start=0).push({}, 200)) == [(0, 200)]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_gaps_in_the_offsets_count_as_offsets(chunk: int) -> None:
    """A compacted topic without 3 to 420: the limit of 100 offsets cuts the gap, too, in the same places."""
    log = [Logged(offset, "m", 0) for offset in (0, 1, 2, 421, 422)]
    assert bounds(cut(log, events=1, chunk=chunk, slot_ms=None))[:3] == [(0, 1), (1, 2), (2, 3)]
    runs = cut(log, events=3, chunk=chunk)
    assert bounds(runs) == [(0, 3), (3, 303), (303, 423)]
    assert held(runs[-1]) == {"m": (421, 422)}


def by_definition(
    log: Sequence[Logged], events: int, slot_ms: int | None, most_bytes: int
) -> list[tuple[int, int, dict[str, list[int]]]]:
    """The four rules, applied message by message."""
    runs, start, slot, have, size = [], 0, None, {}, 0

    def end(at: int) -> None:
        nonlocal start, slot, have, size
        runs.append((start, at, have))
        start, slot, have, size = at, None, {}, 0

    for message in log:
        while message.offset >= start + 100 * events:
            end(start + 100 * events)
        own = message.slot if slot_ms else 0
        if message.slot is not None:
            if slot is not None and own > slot:
                end(message.offset)
            slot = own if slot is None else slot
            have.setdefault(message.model, []).append(message.offset)
        size += message.size
        if len(have.get(message.model, ())) == events or size >= most_bytes:
            end(message.offset + 1)
    last = log[-1].offset + 1
    while last >= start + 100 * events:
        end(start + 100 * events)
    end(last)
    return runs


@given(st.data())
def test_any_log_in_any_chunks_gives_the_runs_and_panes_of_the_rules(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, models, events = (data.draw(st.integers(1, most)) for most in (500, 6, 4))
    slot_ms = data.draw(st.sampled_from([SLOT_MS, SLOT_MS, None]))
    offsets = np.cumsum(rng.choice([1, 1, 1, 2, 150], n, p=[0.3, 0.3, 0.3, 0.08, 0.02])) - 1
    slots = np.maximum.accumulate(rng.integers(0, 1 + n // 5, n)) - rng.choice([0, 0, 0, 2], n)
    bad = rng.random(n) < data.draw(st.sampled_from([0.0, 0.2, 0.95]))
    log = [
        Logged(int(offset), f"m{rng.integers(models)}", None if nothing else max(int(slot), 0), int(rng.integers(50)))
        for offset, slot, nothing in zip(offsets, slots, bad, strict=True)
    ]
    most_bytes = data.draw(st.sampled_from([1, 30, 300, 10**6]))
    cutter, runs, at = Cutter(PaneRule(events, slot_ms, most_bytes), partition=3, start=0), [], 0
    while at < n:
        part = log[at : at + data.draw(st.integers(1, 60))]
        runs += cutter.push(rows(part), part[-1].offset + 1, sizes(part))
        at += len(part)
    runs.append(cutter.close(log[-1].offset + 1))
    expected = by_definition(log, events, slot_ms, most_bytes)
    assert [(run.start, run.end, held(run)) for run in runs] == [
        (start, end, {model: tuple(own) for model, own in have.items()}) for start, end, have in expected
    ]
    times = {each.offset: each.ts for each in log}
    for run in runs:
        for pane in run.panes.values():
            assert pane.ranges == (Range(3, run.start, run.end),)
            assert (pane.first_ts, pane.last_ts) == (times[pane.content[0]], times[pane.content[-1]])
            assert dict(pane.slots) == Counter(times[offset] // 10_000 for offset in pane.content)


def test_a_pane_of_any_times_counts_the_thousand_slots_with_the_most_events() -> None:
    log = [Logged(offset, "m", offset % 1200 * 10) for offset in range(2500)]
    slots = cut(log, events=10_000, slot_ms=None)[0].panes["m"].slots
    assert slots == tuple((slot, 3 if slot < 100 else 2) for slot in (*range(100), *range(300, 1200)))


def test_close_ends_the_run_of_an_idle_partition_and_the_next_begins_there() -> None:
    cutter, log = Cutter(PaneRule(6, SLOT_MS), partition=0, start=0), draw("aaaab")
    assert cutter.push(rows(log[:2]), 2) == []
    assert bounds([cutter.close(2)]) == [(0, 2)]
    assert bounds(cutter.push(rows(log[2:]), 5)) == [(2, 4)]
    assert held(cutter.close(5)) == {"m": (4,)}


def test_a_sealed_offset_ends_its_run_again_even_against_the_rule() -> None:
    """A pane that was sealed on idle traffic must be the same pane after a restart."""
    #       0         1
    #       012345678901
    #       ──┤─────┤───      sealed at 3
    for chunk in (1, 4, 12):
        cutter, log = Cutter(PaneRule(6, SLOT_MS), partition=0, start=0, sealed=(3,)), draw("aaaaaaaaaaaa")
        parts = [log[first : first + chunk] for first in range(0, 12, chunk)]
        assert bounds(run for part in parts for run in cutter.push(rows(part), part[-1].offset + 1)) == [(0, 3), (3, 9)]


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_sealed_runs_end_where_they_did_under_any_rule(chunk: int) -> None:
    """Some of their panes may be published already."""
    #       0         1
    #       012345678901
    #       ──┤─┤──────┤      sealed at 3, 5 and 12
    for rule in (PaneRule(2, SLOT_MS), PaneRule(6, None), PaneRule(100, SLOT_MS)):
        cutter, log = Cutter(rule, partition=0, start=0, sealed=(3, 5, 12)), draw("aaaabaaaabaa")
        parts = [log[first : first + chunk] for first in range(0, 12, chunk)]
        found = bounds(run for part in parts for run in cutter.push(rows(part), part[-1].offset + 1))
        assert found == [(0, 3), (3, 5), (5, 12)]


def test_the_open_run_can_be_converted() -> None:
    cutter, log = Cutter(PaneRule(6, SLOT_MS), partition=0, start=0), draw("aaaaaa", "xyxyyx")
    cutter.push(rows(log[:4]), 4)
    cutter.convert("x", lambda offsets: offsets * 10)
    cutter.convert("unknown", lambda offsets: offsets * 0)
    assert held(cutter.close(4)) == {"x": (0, 2) * 10, "y": (1, 3)}


def test_panes_of_several_partitions_add_up() -> None:
    old = Pane((1, 2), 10, 20, (Range(0, 0, 5), Range(2, 7, 9)))
    new = Pane((3,), 15, 18, (Range(1, 4, 6), Range(2, 9, 12)))
    both = old + new
    assert both == Pane((1, 2, 3), 10, 18, (Range(0, 0, 5), Range(1, 4, 6), Range(2, 7, 12)))
    assert (structs.replace(old, slots=((1, 2),)) + new).slots == ((1, 2),)
    assert (structs.replace(old, slots=((1, 2), (5, 1))) + structs.replace(new, slots=((1, 3), (4, 1)))).slots == (
        (1, 5),
        (4, 1),
        (5, 1),
    )
    assert old == Pane((1, 2), 10, 20, (Range(0, 0, 5), Range(2, 7, 9)))
