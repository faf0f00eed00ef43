"""A baseline in which some signals are as they are now: these are counted anew, and all others keep their hashes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.accept import accept
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.events.event import Event

HOUR = 3_600_000
FACTS = {"incident": "1ncident", "by": "dana", "at": "2026-01-01T00:00:00+00:00"}


def events(
    n: int, seed: int, shift: float = 0.0, amount: bool = True, hours: float = 0.01, daily: float = 0.0
) -> list[Event]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        ts = int(i * hours * HOUR)
        wave = np.sin(2 * np.pi * ts / HOUR / 24)
        row: dict[str, float | str | None] = {
            "features.amount": float(rng.normal() + shift + daily * wave) if amount else None,
            "features.plan": str(rng.choice(["a", "b", "c"])),
            "features.usual": float(rng.normal() + wave),
            "score": float(rng.random()),
        }
        found.append(Event(f"{seed}-{i}", ts, "m", None, row))
    return found


def accepted(parent: Baseline, found: list[Event], signals: Collection[str], zone: str | None = None) -> Baseline:
    return accept(parent, signals, found, FACTS, {}, zone)


def built(n: int = 2000, seed: int = 1, zone: str | None = None, hours: float = 0.01) -> Baseline:
    return build_baseline(events(n, seed, hours=hours), {"model": "m", "seed": 7}, BuildSettings(timezone=zone))


def test_only_the_accepted_signals_have_other_hashes_and_they_are_as_if_built_alone() -> None:
    parent, now = built(), events(2500, 2, shift=3.0)
    new = accepted(parent, now, {"features.amount", "features.plan"})
    changed = {name for name, each in new.signal_hashes.items() if parent.signal_hashes[name] != each}
    assert (changed, new.names) == ({"features.amount", "features.plan"}, parent.names)
    alone = build_baseline(now[-2000:], {"model": "m"}, BuildSettings())
    assert {each: new.signal_hashes[each] for each in changed} == {each: alone.signal_hashes[each] for each in changed}
    assert new.total.n == parent.total.n
    assert np.array_equal(new.blocks.sum(0), new.total.counts)
    again = decode_baseline(encode_baseline(new))
    assert (again.content_hash, again.signal_hashes) == (new.content_hash, new.signal_hashes)


def test_figures_for_people_follow_their_signals() -> None:
    parent = built()
    new = accepted(parent, events(2000, 2, shift=30.0), {"features.amount"})
    means = {}
    for s, signal in enumerate(new.layout.signals):
        figures = new.layout.summary(new.total, s)
        means[signal.name] = figures.mean if figures else None
    assert means["features.amount"] == pytest.approx(30, abs=0.2)
    assert means["features.usual"] == pytest.approx(0, abs=0.3)
    assert means["score"] == pytest.approx(0.5, abs=0.05)


def test_the_manifest_says_who_accepted_what_of_which_parent_and_keeps_its_facts() -> None:
    parent = built()
    new = accepted(parent, events(3000, 2), {"features.amount"})
    assert {**new.about, "accepted": None} == {**parent.about, "accepted": None}
    assert new.about["accepted"] == {
        **FACTS,
        "parent": parent.content_hash,
        "signals": ["features.amount"],
        "time_from": events(3000, 2)[1000].ts,
        "time_to": events(3000, 2)[-1].ts,
    }


def test_phases_of_signals_that_stay_go_on() -> None:
    parent = built(6000, zone="UTC", hours=0.03)
    assert parent.cycles
    assert [*parent.cycles.by_name] == ["features.usual"]
    new = accepted(parent, events(6000, 2, shift=3.0, hours=0.03), {"features.amount"}, "UTC")
    assert new.cycles == parent.cycles
    moved = accepted(parent, events(6000, 2, hours=0.03), {"features.usual"}, "UTC")
    assert moved.cycles
    assert moved.cycles != parent.cycles


def test_usual_sizes_that_were_measured_by_phases_go_with_them() -> None:
    first, now = (events(6000, seed, hours=0.03, daily=2.0) for seed in (1, 2))
    parent = build_baseline(first, {"model": "m"}, BuildSettings(timezone="UTC"))
    assert parent.cycles
    assert {*parent.cycles.by_name} == {"features.amount", "features.usual"}
    same, other = (accepted(parent, now, {"features.amount"}, zone) for zone in ("UTC", "Asia/Tokyo"))
    assert same.cycles
    assert {*same.cycles.by_name} == {*parent.cycles.by_name}
    assert same.usual
    assert other.cycles
    assert {*other.cycles.by_name} == {"features.usual"}, "the days of Tokyo are others"
    assert other.usual is None


REFUSED = [
    (events(1999, 2), {"features.amount"}, "1,999 events since then, and 2,000 are needed"),
    (events(2000, 2), {"features.gone"}, "has no signal features.gone"),
    (events(2000, 2, amount=False), {"features.amount", "score"}, "features.amount has no value"),
]


@pytest.mark.parametrize(("found", "signals", "words"), REFUSED)
def test_what_cannot_be_a_reference_is_refused_and_the_remedy_is_named(
    found: list[Event], signals: set[str], words: str
) -> None:
    with pytest.raises(BaselineError, match=words):
        accepted(built(), found, signals)


def test_a_kind_that_is_configured_is_kept() -> None:
    new = accept(built(), {"features.plan"}, events(2000, 2), FACTS, {"features.plan": Kind.CATEGORICAL}, None)
    (plan,) = (each for each in new.layout.signals if each.name == "features.plan")
    assert plan.kind is Kind.CATEGORICAL


def test_the_slopes_of_both_are_kept_so_that_all_signals_are_judged_as_if_built_together() -> None:
    parent, now = built(), events(2500, 2, shift=3.0)
    new = accepted(parent, now, {"features.amount"})
    alone = build_baseline(now[-2000:], {"model": "m"}, BuildSettings())
    assert new.slopes is not None
    assert parent.slopes is not None
    assert alone.slopes is not None
    assert set(new.slopes.runs) == set(parent.slopes.runs)
    for name, source in (("features.amount", alone.slopes), ("score", parent.slopes)):
        for own, known in zip(new.slopes.runs[name], source.runs[name], strict=True):
            assert np.array_equal(own.variance, known.variance)
