"""Usual sizes: how different a baseline's own stretches are, by length, kept in its file and refused when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.decision.phases import CYCLES
from driftline.detectors.summaries.coarse import Coarsening
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.usual import Groups, Phased, Usual, usual_of
from driftline.stream.events.event import Event
from tests.baselines.test_cycles import changed

HOUR = 3_600_000
DAYS, EACH = 14, 20


@cache
def baseline() -> Baseline:
    """Two weeks of a signal that follows the day, one that does not, and one that wanders."""
    rng, events, level = np.random.default_rng(1), list[Event](), 0.0
    for hour in range(DAYS * 24):
        level = 0.9 * level + rng.normal()
        swing = 3 * np.sin(np.pi * hour / 12)
        for index in range(EACH):
            values = {"daily": swing + rng.normal(), "calm": rng.normal(), "wanders": level + rng.normal()}
            events.append(
                Event("e", hour * HOUR + index * HOUR // EACH, "m", None, {k: float(v) for k, v in values.items()})
            )
    return build_baseline(events, {"model": "m"}, BuildSettings(timezone="UTC"))


def sizes(of: Usual | None) -> dict[str, list[float]]:
    assert of is not None
    return {each.name: of.sizes[:, s].tolist() for s, each in enumerate(baseline().layout.signals)}


def test_what_follows_the_day_is_as_calm_as_what_does_not_once_compared_with_the_same_hours() -> None:
    assert baseline().cycles is not None
    known, pooled = sizes(baseline().usual), sizes(usual_of(baseline().layout, baseline().blocks))
    assert known["daily"][0] < 1.3 * known["calm"][0]
    assert pooled["daily"][0] > 2 * known["daily"][0]
    assert known["wanders"][0] > 1.5 * known["calm"][0]
    assert known["calm"][-1] < known["calm"][0] / 2, "long stretches are alike"
    assert {name: each for name, each in pooled.items() if name != "daily"} == {
        name: each for name, each in known.items() if name != "daily"
    }


def test_the_file_keeps_them_and_the_content_hash_does_not_know_them() -> None:
    again = decode_baseline(encode_baseline(baseline().without_blocks()))
    assert again.usual == baseline().usual
    assert again.content_hash == replace(baseline(), usual=None).content_hash
    some = baseline().select_signals(lambda name: name == "calm")
    assert some.usual is not None
    assert some.usual.sizes[:, 0].tolist() == sizes(baseline().usual)["calm"]


def test_a_file_without_them_and_unordered_or_small_baselines_have_none() -> None:
    copied = decode_baseline(changed(encode_baseline(baseline()), lambda members: members.pop("usual.npy")))
    assert copied.usual is None
    events = [Event("e", index, "m", None, {"x": float(index % 7)}) for index in range(400)]
    assert build_baseline(events, {"model": "m"}, BuildSettings(ordered=False)).usual is None
    assert build_baseline(events, {"model": "m", "learned": True}).usual is None
    assert build_baseline(events, {"model": "m"}, BuildSettings(blocks=7)).usual is None


@pytest.mark.parametrize(
    "table",
    [
        np.zeros((1, 4)),
        np.ones((0, 4)),
        np.ones((2, 4)),
        np.full((1, 4), 2.0),
        np.full((1, 4), np.nan),
        np.ones((1, 3)),
    ],
)
def test_damaged_ones_are_refused(table: np.ndarray) -> None:
    usual = Usual(table[:, 0], table[:, 1:])

    def damage(members: dict[str, bytes]) -> None:
        facts = json.loads(members["manifest.json"])
        facts["usual"] = usual.facts()
        members.update({"manifest.json": json.dumps(facts).encode(), "usual.npy": usual.file()})

    with pytest.raises(BaselineError, match=r"usual|two dimensions"):
        decode_baseline(changed(encode_baseline(baseline()), damage))
    other = changed(encode_baseline(baseline()), lambda members: members.update({"usual.npy": usual.file()}))
    with pytest.raises(BaselineError, match="does not match its hash"):
        decode_baseline(other)


@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(1, 1000))
@settings(max_examples=50, deadline=None)
def test_phases_of_a_stretch_hold_all_of_its_events_whatever_its_length(start: int, length: int, events: int) -> None:
    """start, length: half hours."""
    phased = Phased.of(baseline().cycles, baseline().layout)
    assert phased is not None
    phases = phased.phases([(start * HOUR // 2, (start + length) * HOUR // 2, events)])
    for number, each in phases.items():
        assert number in CYCLES
        assert each.sum() == pytest.approx(events)
        if length >= 48:
            assert (each > 0).all()
        if length == 1:
            assert (each > 0).sum() == 1


def test_coarse_phases_are_sums_of_fine_ones() -> None:
    codes = Coarsening(baseline().layout, baseline().total.counts)
    phased = Phased.of(baseline().cycles, baseline().layout)
    assert phased is not None
    for s, each in phased.coarse(codes).signals.items():
        total = codes.counts(baseline().total.counts)[codes.layout.columns[s]]
        assert each.counts.sum(0).tolist() == total.tolist()
        assert each.events.tolist() == phased.signals[s].events.tolist()


def test_groups_of_a_signal_are_those_of_all() -> None:
    groups, total = Groups(baseline().layout, baseline().total.counts), baseline().total.counts
    for s, columns in enumerate(baseline().layout.columns):
        own = groups.of_codes(s, total[columns][None].astype(float))[0]
        assert own.tolist() == groups.counts(total[None])[0, groups.span(s)].tolist()
