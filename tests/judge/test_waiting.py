"""The join of predictions with late labels, against a direct one, however the logs of both come."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.waiting import Counts, Waiting
from driftline.stream.outcomes.coding import coding_from
from driftline.stream.outcomes.halves import LabelHalves, Stubs, texts_of
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.pane import Pane, Range

CODING = coding_from(
    {
        "task": "binary",
        "classes": ["fine", "fraud"],
        "scores": [0.25, 0.5, 0.75],
        "is_confidence": False,
        "by_score": False,
    }
)
EPOCH, SLOT = 1_767_225_600_000, 10_000
BOUNDS = Bounds(wait=12 * SLOT, slot=SLOT, keep=8 * SLOT, most=1_000_000)
END = 1 << 62
#: How often a prediction with a score has a label, None for none.
Cases = Counter[tuple[str, float, str | None]]


class Prediction(NamedTuple):
    id: str
    ts: int
    prediction: str
    score: float


class Label(NamedTuple):
    id: str
    ts: int
    label: str


def stubs_of(rows: Sequence[Prediction]) -> Stubs:
    ts, score = np.array([each.ts for each in rows]), np.array([each.score for each in rows])
    return Stubs(hash_ids([each.id for each in rows]), ts, texts_of([each.prediction for each in rows]), score)


def halves_of(rows: Sequence[Label]) -> LabelHalves:
    ts = np.array([each.ts for each in rows])
    return LabelHalves(hash_ids([each.id for each in rows]), ts, texts_of([each.label for each in rows]))


@dataclass
class World:
    """Predictions and labels of partitions, as they are appended: out of order by less than a slot."""

    predictions: list[list[Prediction]]
    labels: list[list[Label]]

    @classmethod
    def of(cls, seed: int, n: int = 400, labelled: float = 0.9, partitions: int = 3, apart: int = 3 * SLOT) -> World:
        """apart: by how much a prediction that is sent again may be later at most."""
        rng = np.random.default_rng(seed)
        span = 20 * SLOT
        rows, labels = list[Prediction](), list[Label]()
        for i, ts in enumerate(np.sort(rng.integers(EPOCH, EPOCH + span, n)).tolist()):
            row = Prediction(f"p{i}", ts, str(rng.choice(["fine", "fraud"])), round(float(rng.random()), 3))
            rows.append(row)
            if rng.random() < 0.05:  # sent again, perhaps with another score
                rows.append(row._replace(ts=ts + int(rng.integers(1, apart)), score=round(float(rng.random()), 3)))
            if rng.random() < 0.02:  # sent twice at once
                rows.append(row)
            if rng.random() < labelled:
                labels += labels_of(row, rng)
        labels += [Label(f"nobody{i}", int(rng.integers(EPOCH, EPOCH + span)), "fraud") for i in range(20)]
        return cls(dealt(rows, partitions, rng), dealt(labels, partitions - 1, rng))


def labels_of(row: Prediction, rng: np.random.Generator) -> Iterator[Label]:
    """Most soon, some before the prediction, some too late; corrected, doubled, and of no class."""
    lag = rng.choice([-2 * SLOT, SLOT, 3 * SLOT, 10 * SLOT, 15 * SLOT], p=[0.05, 0.6, 0.2, 0.1, 0.05])
    ts = row.ts + int(lag) + int(rng.integers(0, SLOT))
    label = str(rng.choice(["fine", "fraud", "?"], p=[0.6, 0.38, 0.02]))
    yield Label(row.id, ts, label)
    for chance, more in ((0.1, SLOT), (0.05, 0), (0.03, 4 * SLOT)):
        if rng.random() < chance:
            yield Label(row.id, ts + more, str(rng.choice([label, "fine", "fraud"])))


def dealt(rows: Sequence[Any], partitions: int, rng: np.random.Generator) -> list[list[Any]]:
    appended = sorted(rows, key=lambda row: row.ts + rng.integers(0, SLOT))
    logs: list[list[Any]] = [[] for _ in range(partitions)]
    for row in appended:
        logs[int(rng.integers(partitions))].append(row)
    return logs


@dataclass
class Joined:
    slots: list[Pane[OutcomeTable]] = field(default_factory=list)
    counts: Counts = Counts()

    @property
    def outcomes(self) -> list[tuple[OutcomeTable, int, int]]:
        return [(each.content, each.first_ts, each.last_ts) for each in self.slots]


def cut(log: Sequence[Any], sizes: Iterator[int]) -> list[tuple[Range, list[Any]]]:
    runs, start = [], 0
    while start < len(log):
        size = next(sizes)
        runs.append((Range(0, start, min(start + size, len(log))), list(log[start : start + size])))
        start += size
    return runs


def streamed(
    world: World, seed: int, sizes: Sequence[int] = (7,), bounds: Bounds = BOUNDS, again: Any = None
) -> Joined:
    """The outcomes if panes and ticks of all partitions come in an order that the seed decides.

    sizes: of runs, again and again. again: what becomes of what is remembered after each step.
    """
    rng, endless = np.random.default_rng(seed), iter(lambda: int(sizes[0]), None)
    if len(sizes) > 1:
        endless = iter(lambda: int(rng.choice(sizes)), None)
    logs = {
        (kind, partition): [(run._replace(partition=partition), rows) for run, rows in cut(log, endless)]
        for kind, topic in (("p", world.predictions), ("l", world.labels))
        for partition, log in enumerate(topic)
    }
    clocks, waiting, joined = dict.fromkeys(logs, 0), Waiting(), Joined()
    ahead = dict(zip(logs, rng.permutation(len(logs)).tolist(), strict=True))
    while logs:
        place = [*logs][int(rng.integers(len(logs)))] if rng.random() < 0.5 else min(logs, key=ahead.__getitem__)
        if not logs[place]:
            clocks[place] = END
            del logs[place]
        else:
            run, rows = logs[place].pop(0)
            if place[0] == "p":
                waiting = waiting.expect("", stubs_of(rows), run, bounds)
            else:
                waiting = waiting.learn(halves_of(rows), run, bounds)
            clocks[place] = max(clocks[place], *(row.ts for row in rows))
        waiting, slots = waiting.close(min(clocks.values()), bounds, lambda _: CODING)
        waiting = again(waiting) if again else waiting
        joined.slots += [pane for each in slots for pane in each[""]]
    assert (waiting.pending, waiting.oldest, waiting.stubs, waiting.labels.rows) == (0, None, {}, 0)
    return replace(joined, counts=waiting.counts)


def directly(world: World, bounds: Bounds = BOUNDS) -> tuple[dict[int, Cases], Counter[str]]:
    """By slot, how often a prediction with a score has a label; and what became of all. One by one, from the rows."""
    rows = sorted(
        {row for log in world.predictions for row in log}, key=lambda row: (row.ts, row.prediction, row.score)
    )
    counts = Counter[str](doubled=sum(map(len, world.predictions)) - len(rows))
    labels = defaultdict[str, list[Label]](list)
    for label in (label for log in world.labels for label in log):
        labels[label.id].append(label)
    first, slots = dict[str, Prediction](), defaultdict[int, list[Prediction]](list)
    for row in rows:
        if row.id in first:
            counts["doubled"] += 1
        else:
            first[row.id] = row
            slots[row.ts // bounds.slot].append(row)
    found = dict[int, Cases]()
    for slot, own in slots.items():
        found[slot] = outcomes_of_slot(slot, own, labels, counts, bounds)
    counts["unmatched"] = sum(len(own) for id_, own in labels.items() if id_ not in first)
    return found, counts


def outcomes_of_slot(
    slot: int, rows: list[Prediction], labels: dict[str, list[Label]], counts: Counter[str], bounds: Bounds
) -> Cases:
    end, found = (slot + 1) * bounds.slot, Cases()
    firsts = sorted(min((label.ts for label in labels.get(row.id, ())), default=END) for row in rows)
    cutoff = min(max(firsts[math.ceil(0.99 * len(rows)) - 1] + bounds.slot, end), end + bounds.wait)
    for row in rows:
        own = labels.get(row.id, [])
        known = [label for label in own if label.ts <= cutoff]
        different = {label.label for label in known}
        counts["late"] += len(own) - len(known)
        counts["repeated"] += len(known) - len(different)
        counts["corrected"] += len(different) > 1
        counts["joined" if known else "unlabelled"] += 1
        last = max(known, key=lambda label: (label.ts, label.label), default=None)
        found[row.prediction, row.score, last and last.label] += 1
    return found


def table_of(outcomes: Cases) -> OutcomeTable:
    rows = [row for row, times in outcomes.items() for _ in range(times)]
    score = np.array([score for _, score, _ in rows])
    predicted = CODING.predicted(texts_of([prediction for prediction, *_ in rows]), score)
    return CODING.outcomes(np.zeros(len(rows), np.int64), predicted, score, [label for *_, label in rows])


@pytest.mark.parametrize("labelled", [0.3, 0.95, 1.0])
def test_the_outcomes_of_each_slot_are_those_of_a_direct_join(labelled: float) -> None:
    world = World.of(1, labelled=labelled)
    joined, (slots, counts) = streamed(world, 1), directly(world)
    assert joined.slots
    assert [each.content for each in joined.slots] == [table_of(slots[slot]) for slot in sorted(slots)]
    assert (
        [each.first_ts // SLOT for each in joined.slots]
        == [each.last_ts // SLOT for each in joined.slots]
        == sorted(slots)
    )
    assert {name: n for name, n in joined.counts._asdict().items() if n} == {name: n for name, n in counts.items() if n}
    assert {"joined", "doubled", "corrected", "repeated", "late", "unmatched"} <= {*counts}


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.sampled_from([0.2, 0.9, 1.0]), st.integers(2, 4))
def test_in_any_order_and_any_pieces_the_outcomes_are_the_same(
    seed: int, order: int, labelled: float, partitions: int
) -> None:
    world = World.of(seed, n=120, labelled=labelled, partitions=partitions, apart=12 * SLOT)
    expected = streamed(world, 0)
    same_runs, other_runs = streamed(world, order), streamed(world, order, sizes=(1, 2, 30, 300))
    assert (same_runs.slots, same_runs.counts) == (expected.slots, expected.counts)
    assert (other_runs.outcomes, other_runs.counts) == (expected.outcomes, expected.counts)


def test_a_slot_whose_labels_have_come_is_judged_at_once_and_another_after_the_longest_wait() -> None:
    rows = [Prediction(f"p{i}", EPOCH + 10 * i, "fine", 0.1) for i in range(100)]
    soon = [Label(row.id, row.ts + 100, "fine") for row in rows]
    for labels, due in ((soon, EPOCH + 3 * SLOT), (soon[:90], EPOCH + 2 * SLOT + BOUNDS.wait)):
        waiting = Waiting().expect("", stubs_of(rows), Range(0, 0, 100), BOUNDS)
        waiting = waiting.learn(halves_of(labels), Range(0, 0, 100), BOUNDS)
        early, slots = waiting.close(due - SLOT, BOUNDS, lambda _: CODING)
        assert (slots, early.pending, early.oldest) == ([], 100, EPOCH)
        late, slots = early.close(due, BOUNDS, lambda _: CODING)
        assert [pane.content.n for each in slots for pane in each[""]] == [len(labels)]
        assert late.pending == 0


def test_a_busy_slot_is_several_tables_in_the_order_of_its_predictions() -> None:
    rows = [Prediction(f"p{i}", EPOCH + 9 * i, "fine", 0.1) for i in range(1000)]
    waiting = Waiting().expect("", stubs_of(rows[::-1]), Range(0, 0, 1000), BOUNDS)
    waiting = waiting.learn(halves_of([Label(row.id, row.ts, "fine") for row in rows]), Range(0, 0, 1000), BOUNDS)
    _, (slot,) = waiting.close(END, BOUNDS, lambda _: CODING)
    assert [(pane.content.n, pane.first_ts) for pane in slot[""]] == [(250, EPOCH + 2250 * i) for i in range(4)]


def test_too_many_predictions_are_sampled_and_their_labels_alike() -> None:
    bounds = replace(BOUNDS, most=300)
    world = World.of(3, n=4000, labelled=1.0)
    every, some = streamed(world, 0), streamed(world, 0, bounds=bounds)
    joined, predictions = some.counts.joined, some.counts.joined + some.counts.unlabelled
    assert 4000 / 64 < predictions < 4000 / 4
    assert joined / predictions == pytest.approx(every.counts.joined / 4000, abs=0.08)
    assert some.counts.unmatched <= every.counts.unmatched


def test_what_comes_after_its_slot_is_counted_and_never_applied() -> None:
    rows = [Prediction(f"p{i}", EPOCH + i, "fine", 0.1) for i in range(10)]
    waiting = Waiting().expect("", stubs_of(rows), Range(0, 0, 10), BOUNDS)
    waiting, _ = waiting.close(EPOCH + BOUNDS.wait + 2 * SLOT, BOUNDS, lambda _: CODING)
    assert waiting.counts == Counts(unlabelled=10)
    late = [Label("p1", EPOCH + BOUNDS.wait + 2 * SLOT, "fraud")]
    waiting = waiting.learn(halves_of(late), Range(0, 0, 1), BOUNDS)
    again, new = rows[0], Prediction("new", EPOCH + 5, "fine", 0.1)
    waiting = waiting.expect("", stubs_of([again, new]), Range(0, 10, 12), BOUNDS)
    waiting, slots = waiting.close(END, BOUNDS, lambda _: CODING)
    assert (slots, waiting.counts) == ([], Counts(unlabelled=10, late=1, doubled=1, overdue=1))


@pytest.mark.parametrize(("apart", "late"), [(BOUNDS.keep, 0), (BOUNDS.keep + 1, 1)])
def test_a_label_too_late_for_a_prediction_sent_again_is_late_before_and_after_its_slot_is_judged(
    apart: int, late: int
) -> None:
    row = Prediction("p", EPOCH, "fine", 0.1)
    again = row._replace(ts=EPOCH + apart)
    # Later than any label of the first prediction may be.
    label = Label("p", again.ts + BOUNDS.wait + BOUNDS.keep, "fraud")
    for closed_first in (False, True):
        waiting = Waiting().expect("", stubs_of([row, again]), Range(0, 0, 2), BOUNDS)
        if closed_first:
            waiting, _ = waiting.close(again.ts + BOUNDS.wait + 2 * SLOT, BOUNDS, lambda _: CODING)
        waiting = waiting.learn(halves_of([label]), Range(0, 0, 1), BOUNDS)
        waiting, _ = waiting.close(END, BOUNDS, lambda _: CODING)
        assert waiting.counts == Counts(unlabelled=1 + late, doubled=1 - late, late=late)


def test_a_wrong_clock_keeps_nothing_else() -> None:
    future = EPOCH + 10**11
    rows = [Label(f"p{i}", EPOCH + i, "fine") for i in range(99)] + [Label("x", future, "fine")]
    waiting = Waiting().learn(halves_of(rows), Range(0, 0, 100), BOUNDS)
    waiting, _ = waiting.close(EPOCH + 100 * BOUNDS.wait, BOUNDS, lambda _: CODING)
    assert (waiting.labels.rows, waiting.counts.unmatched) == (1, 99)
