"""Slopes: how much signals vary by themselves, measured at build, kept in the file, and named where they cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.remarks import unpromised
from driftline.stream.baselines.slopes import slopes_of_blocks
from driftline.stream.events.event import Event
from tests.harness.archives import changed

N = 20_000
ORDERED = BuildSettings()


def remembering(keep: float, n: int = N, seed: int = 0) -> np.ndarray:
    """AR(1) of variance 1, whose long-run variance is (1 + keep) / (1 - keep)."""
    noise = np.random.default_rng(seed).normal(scale=np.sqrt(1 - keep * keep), size=n)
    values = np.empty(n)
    last = 0.0
    for i, each in enumerate(noise):
        last = values[i] = keep * last + each
    return values


def build(columns: dict[str, np.ndarray], settings: BuildSettings = ORDERED, **about: object) -> Baseline:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    names = [f"features.{name}" for name in columns]
    events = [
        Event(str(i), 10**12 + 1000 * i, "m", None, dict(zip(names, row, strict=True))) for i, row in enumerate(rows)
    ]
    return build_baseline(events, {"model": "m", **about}, settings)


@cache
def mixed() -> Baseline:
    rng = np.random.default_rng(1)
    return build({
        "calm": rng.normal(size=N),
        "ar": remembering(0.8),
        "city": rng.choice(list("abc"), N),
        "slow": remembering(0.999),
    })  # fmt: skip


def slope(baseline: Baseline, name: str, events: float) -> float:
    """Events that say as much of a signal's level as one independent event, in windows of `events`."""
    assert baseline.slopes is not None
    names = [each.name for each in baseline.layout.signals]
    likeness = baseline.slopes.likeness(baseline.layout, names.index(name), baseline.total.counts)
    return float(likeness.widths.slope(np.array([[events]]))[0, 0])


def test_the_slope_of_independent_events_is_1_and_that_of_ar_1_what_theory_says() -> None:
    assert slope(mixed(), "features.calm", 5000) == pytest.approx(1.1, abs=0.15)
    # Of ranks it is hardly less than of values; a standard error is on top.
    assert 8 <= slope(mixed(), "features.ar", 5000) <= 13


def test_a_signal_too_slow_for_its_history_has_no_slope_and_is_named() -> None:
    assert mixed().slopes is not None
    assert set(mixed().slopes.runs) == {"features.calm", "features.ar", "features.city"}
    assert [*unpromised(mixed())] == [
        "false pages may come more often than stated for features.slow: "
        "the history is too short for how slowly they vary"
    ]


def test_the_file_keeps_the_slopes() -> None:
    again = decode_baseline(encode_baseline(mixed().without_blocks()))
    assert again.slopes == mixed().slopes
    assert again.content_hash == mixed().content_hash
    assert slope(again, "features.ar", 700) == slope(mixed(), "features.ar", 700)


def test_a_baseline_with_slopes_has_another_hash_as_it_is_judged_otherwise() -> None:
    plain = replace(mixed(), slopes=None, bins=None)
    assert plain.content_hash == plain.arrays_hash == mixed().arrays_hash != mixed().content_hash


def test_facts_that_an_earlier_version_copied_without_the_file_are_not_used() -> None:
    copied = decode_baseline(changed(encode_baseline(mixed()), lambda members: members.pop("slopes.npy")))
    assert copied.slopes is None


@pytest.mark.parametrize(("fact", "value"), [("block", 0.5), ("blocks", 64), ("signals", ["features.calm"])])
def test_damaged_slopes_are_refused(fact: str, value: object) -> None:
    def damage(members: dict[str, bytes]) -> None:
        facts = json.loads(members["manifest.json"])
        facts["slopes"][fact] = value
        members["manifest.json"] = json.dumps(facts).encode()

    with pytest.raises(BaselineError, match="slopes"):
        decode_baseline(changed(encode_baseline(mixed()), damage))


def test_selected_signals_keep_theirs() -> None:
    chosen = mixed().select_signals(lambda name: name == "features.ar")
    assert slope(chosen, "features.ar", 700) == slope(mixed(), "features.ar", 700)
    assert mixed().select_signals(lambda name: name == "features.slow").slopes is None


def test_blocks_tell_about_the_same_slopes_as_the_events() -> None:
    from_blocks = replace(mixed(), slopes=slopes_of_blocks(mixed().layout, mixed().blocks))
    for name in ("features.calm", "features.ar"):
        assert slope(from_blocks, name, 5000) == pytest.approx(slope(mixed(), name, 5000), rel=0.3)


@pytest.mark.parametrize(
    ("baseline", "why"),
    [
        (
            lambda: build({"x": remembering(0.8)}, BuildSettings(ordered=False)),
            "until 15,000 live events have shown how they",
        ),
        (lambda: build({"x": remembering(0.8)}, BuildSettings(format_version=2), learned=True), "build one of more"),
        (lambda: build({"x": remembering(0.8, 30)}), "the history is too short"),
        (lambda: replace(build({"x": remembering(0.8)}), slopes=None), "build it again"),
    ],
    ids=["order lost", "learned", "few events", "of an earlier version"],
)
def test_whoever_builds_a_baseline_without_slopes_is_told_why(baseline: object, why: str) -> None:
    built = baseline()  # type: ignore[operator]
    assert built.slopes is None
    (remark,) = unpromised(built)
    assert "features.x" in remark
    assert why in remark


def test_a_model_learns_the_slopes_that_a_file_would_have() -> None:
    """Its warm-up is live traffic in order. Below level 3 workers of earlier versions learn the same baseline."""
    values = {"x": remembering(0.8)}
    learned, given = build(values, learned=True), build(values)
    assert learned.slopes == given.slopes
    assert learned.bins == given.bins
    assert (learned.is_doubted, given.is_doubted) == (False, True)
    assert decode_baseline(encode_baseline(learned.without_blocks())).content_hash == learned.content_hash
    before = build(values, BuildSettings(format_version=2), learned=True)
    assert before.content_hash == before.arrays_hash


def test_a_file_of_format_1_has_no_slopes() -> None:
    built = build({"x": remembering(0.8)}, BuildSettings(format_version=1))
    assert decode_baseline(encode_baseline(built)).slopes is None
