"""What waits for a join as bytes: the same values come back, and damaged bytes are refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.codec.frames import FormatError, envelope
from driftline.stream.codec.halves import (
    pack_labels,
    pack_part,
    pack_waiting,
    unpack_labels,
    unpack_waiting,
    waiting_parts,
)
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.waiting import Waiting
from driftline.stream.outcomes.halves import Half, LabelHalves, Stubs, texts_of
from driftline.stream.panes.pane import Range, Source

BOUNDS = Bounds(wait=10**6, slot=10_000, keep=10**6, most=1_000_000)
TEXT = st.one_of(st.sampled_from(["fraud", "fine", ""]), st.text(st.characters(exclude_categories=["Cs"]), max_size=9))


def labels_of(rows: list[tuple[int, int, str]]) -> LabelHalves:
    keys, ts = np.array([key for key, *_ in rows], np.uint64), np.array([ts for _, ts, _ in rows], np.int64)
    return LabelHalves(keys, ts, texts_of([text for *_, text in rows]))


def equal(one: Half, other: Half) -> bool:
    pairs = zip(one.columns, other.columns, strict=True)
    return all(a.dtype == b.dtype and a.tolist() == pytest.approx(b.tolist(), nan_ok=True) for a, b in pairs)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**45), TEXT)))
def test_labels_come_back(rows: list[tuple[int, int, str]]) -> None:
    back = unpack_labels(pack_labels(labels_of(rows)))
    assert [column.tolist() for column in back.columns] == [column.tolist() for column in labels_of(rows).columns]


@given(st.binary(max_size=40), st.integers(0, 300))
def test_damaged_labels_are_refused(noise: bytes, place: int) -> None:
    data = pack_labels(labels_of([(7, 10**12, "fraud"), (8, 10**12, "fine")]))
    damaged = data[: place % len(data)] + noise
    if damaged != data:
        with pytest.raises(FormatError):
            unpack_labels(damaged)


@pytest.mark.parametrize("seed", range(300))
def test_damage_under_a_valid_checksum_is_refused_or_does_no_harm(seed: int) -> None:
    rng, own = np.random.default_rng(seed), waiting("texts" if seed % 2 else "numbers")
    parts = state_delta(None, ModelState({Source(0): 600}, waiting=own)).write
    name = str(rng.choice([each for each in parts if each != "head"]))
    content = bytearray(parts[name][6:])
    for place in rng.integers(0, len(content), int(rng.integers(1, 4))).tolist():
        content[place] = int(rng.choice([0, 1, 0x7F, 0x91, 0xC0, 0xDD, 0xFF, rng.integers(256)]))
    try:
        state = restore_state({**parts, name: envelope(parts[name][:1], bytes(content), parts[name][1])}, None)
    except FormatError:
        return
    assert state.waiting is not None
    later = state.waiting.learn(labels_of([(1, 10**12, "fine")]), Range(1, 0, 1), BOUNDS)
    state_delta(None, ModelState({Source(0): 600}, waiting=later.close(2 * 10**12, BOUNDS, lambda _: None)[0]))


@cache
def waiting(prediction: str) -> Waiting:
    rng, n = np.random.default_rng(0), 600
    keys, ts = rng.integers(0, 2**63, n).astype(np.uint64), 10**12 + np.sort(rng.integers(0, 10**5, n))
    texts = texts_of([[None, "fraud", "fine"][i % 3] for i in range(n)])
    stubs = Stubs(keys, ts, texts if prediction == "texts" else rng.normal(size=n), rng.random(n))
    labels = LabelHalves(keys, ts + 5000, texts_of(["fraud"] * n))
    found = Waiting()
    for first in range(0, n, 50):
        rows, run = slice(first, first + 50), Range(0, first, first + 50)
        found = found.expect("v:1" if first % 100 else "", stubs.take(rows), run, BOUNDS)
        found = found.learn(labels.take(rows), run, BOUNDS)
    return found


@pytest.mark.parametrize("prediction", ["texts", "numbers"])
def test_what_waits_comes_back_as_parts_of_a_state(prediction: str) -> None:
    before = ModelState({Source(0): 600}, waiting=waiting(prediction))
    delta = state_delta(None, before)
    after = restore_state(delta.write, None)
    assert state_delta(None, after).write == delta.write
    assert before.waiting is not None
    assert after.waiting is not None
    assert after.waiting.counts == before.waiting.counts
    for track, own in before.waiting.stubs.items():
        again = after.waiting.stubs[track]
        assert [(a.number, a.runs) for a in own.parts] == [(b.number, b.runs) for b in again.parts]
        assert all(equal(a.half, b.half) for a, b in zip(own.parts, again.parts, strict=True))


def test_a_commit_writes_the_part_that_grew_and_those_that_are_new() -> None:
    before = ModelState({Source(0): 600}, waiting=waiting("texts"))
    assert before.waiting is not None
    more = before.waiting.learn(labels_of([(1, 10**12, "fine")]), Range(1, 0, 1), BOUNDS)
    delta = state_delta(before, ModelState({Source(0): 600}, waiting=more))
    assert delta.write.keys() - {"head", "waiting"} == {f"label:{more.labels.parts[-1].number}"}
    assert delta.delete == ()


def test_a_missing_part_is_noticed() -> None:
    own = waiting("texts")
    parts = {
        name: (pack_waiting if name == "waiting" else pack_part)(part) for name, part in waiting_parts(own).items()
    }
    assert unpack_waiting(parts) is not None
    del parts["label:0"]
    with pytest.raises(FormatError, match="parts wait for a join"):
        unpack_waiting(parts)


def test_a_prediction_takes_some_twenty_bytes() -> None:
    own = waiting("texts")
    stored = {name: len(pack_part(part)) for name, part in waiting_parts(own).items() if name.startswith("stub:")}
    assert 8 < sum(stored.values()) / 600 < 25
