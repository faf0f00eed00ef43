"""Baselines of five days or more know which signals follow the time of day, and what each phase expects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.decision.phases import CYCLES, half_hours, in_phases, phases_at
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.cycles import Cycles, cycle_remarks, local
from driftline.stream.baselines.encoding import COUNTS, array_file, canonical_json, counts_file, read_array
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.partitions.baselines import KnownBaselines
from tests.harness.archives import changed
from tests.harness.days import DAY, KNOWN, baseline_of_days, events

FOLLOWING = {"features.wave", "features.kind", "features.often"}


def cycles(baseline: Baseline) -> Cycles:
    assert baseline.cycles is not None
    return baseline.cycles


def test_signals_that_follow_the_time_of_day_have_phases_and_others_have_none() -> None:
    known = cycles(baseline_of_days())
    assert set(known.by_name) == FOLLOWING
    assert {each.phases for each in known.signals} <= {24, 48}


def test_below_five_days_there_are_no_phases_and_it_says_how_many_days_are_known() -> None:
    few = baseline_of_days(3)
    assert few.cycles is None
    assert [*cycle_remarks(few.cycles, few.about)] == [
        "learning the day, 3 of 5: from 5 days of events on, signals that follow the time of day are compared with the "
        "same hours"
    ]
    enough = baseline_of_days()
    for line in cycle_remarks(enough.cycles, enough.about):
        assert line.startswith("compared with the same ")
        assert "of the day (UTC): features." in line


def test_five_days_are_enough() -> None:
    assert baseline_of_days(5).cycles is not None
    assert not [each for each in cycle_remarks(None, baseline_of_days(5).about) if "learning" in each]


def test_a_constant_has_no_phases_nor_has_what_varies_too_slowly_for_days_to_tell() -> None:
    log = [*events(-30, 30, seed=0)]
    season = 2 * np.sin(2 * np.pi * np.arange(len(log)) / (12 * DAY))
    log = [
        replace(each, signals={
            "features.wave": each.signals["features.wave"],
            "features.season": each.signals["features.wave"] + slow,
            "features.same": 7.0,
            "features.nearly": 7.0 if i % 1000 else 8.0,
        })
        for i, (each, slow) in enumerate(zip(log, season.tolist(), strict=True))
    ]  # fmt: skip
    built = build_baseline(log, {"model": "given"}, BuildSettings(timezone="UTC"))
    assert set(cycles(built).by_name) == {"features.wave"}


@pytest.mark.parametrize(
    "settings",
    [BuildSettings(ordered=False, timezone="UTC"), BuildSettings(format_version=1, timezone="UTC"), BuildSettings()],
)
def test_events_without_order_files_of_format_1_and_days_of_no_stated_zone_have_no_phases(
    settings: BuildSettings,
) -> None:
    built = build_baseline([*events(-KNOWN, KNOWN, seed=0)], {"model": "given"}, settings)
    assert built.cycles is None


def test_a_file_gives_back_what_was_expected_and_how_much_it_varies() -> None:
    built = baseline_of_days(timezone="Europe/Berlin").without_blocks()
    read = decode_baseline(encode_baseline(built))
    assert read.cycles == built.cycles
    assert encode_baseline(read) == encode_baseline(built)
    rng = np.random.default_rng(1)
    for before, after in zip(cycles(built).signals, cycles(read).signals, strict=True):
        phases = rng.integers(0, 30, (5, before.phases)).astype(float)
        counts = rng.integers(0, 9, (5, len(before.likeness.functionals.shares))).astype(float)
        assert np.array_equal(before.likeness.evidence(counts, phases), after.likeness.evidence(counts, phases))
        assert np.array_equal(before.sums, after.sums)


def with_facts(**facts: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["cycles"] |= facts
        members["manifest.json"] = json.dumps(manifest).encode()

    return change


def test_what_another_version_derived_is_not_used() -> None:
    file = encode_baseline(baseline_of_days())
    assert decode_baseline(file).usual
    other = decode_baseline(changed(file, with_facts(version=99)))
    assert other.cycles is None
    assert other.usual is None, "it was measured by phase"


def without_files(members: dict[str, bytes]) -> None:
    del members["cycle_counts.npy"], members["cycle_figures.npy"]


def test_facts_that_an_earlier_version_copied_without_the_files_are_not_used() -> None:
    copied = decode_baseline(changed(encode_baseline(baseline_of_days()), without_files))
    assert copied.cycles is None
    assert copied.arrays_hash == baseline_of_days().arrays_hash


def test_baselines_of_equal_counts_have_another_hash_with_cycles_and_in_another_zone() -> None:
    """Workers, their Redis and a replay name a baseline by its hash, and must mean one that judges alike."""
    here, there = baseline_of_days(), baseline_of_days(timezone="Europe/Berlin")
    plain = replace(here, cycles=None, slopes=None, bins=None)
    assert here.arrays_hash == there.arrays_hash == plain.content_hash
    assert len({each.content_hash for each in (here, there, plain, replace(here, cycles=None))}) == 4
    assert decode_baseline(encode_baseline(here)).content_hash == here.content_hash
    assert here.signal_hashes == plain.signal_hashes, "so histories and incidents go on"


def test_whoever_builds_a_baseline_of_days_is_told_to_state_the_zone() -> None:
    built = build_baseline([*events(-KNOWN, KNOWN, seed=0)], {"model": "given"})
    assert [*cycle_remarks(built.cycles, built.about)] == [
        "state calendar.timezone, such as Europe/Berlin, and signals that follow the time of day are compared with the "
        "same hours"
    ]


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(BaselineError, match=r"calendar\.timezone: 'Mars' is no time zone that this machine knows"):
        build_baseline([*events(-KNOWN, KNOWN, seed=0)], {"model": "given"}, BuildSettings(timezone="Mars"))


def other_figures(members: dict[str, bytes]) -> None:
    figures = members["cycle_figures.npy"]
    members["cycle_figures.npy"] = figures[:-1] + bytes([figures[-1] ^ 1])


@pytest.mark.parametrize("change", [other_figures, with_facts(timezone="Europe/Paris"), with_facts(signals={})])
def test_a_file_whose_cycles_were_changed_is_damaged(change: Callable[[dict[str, bytes]], None]) -> None:
    file = changed(encode_baseline(baseline_of_days()), change)
    with pytest.raises(BaselineError, match="the cycles do not match their hash"):
        decode_baseline(file)


def hashed_again(members: dict[str, bytes]) -> None:
    """Let the hash of the cycles match what was changed."""
    manifest = json.loads(members["manifest.json"])
    says = {key: each for key, each in manifest["cycles"].items() if key != "hash"}
    of = [canonical_json(says), members["cycle_counts.npy"], members["cycle_figures.npy"]]
    manifest["cycles"]["hash"] = hashlib.sha256(b"".join(of)).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()


def with_signal(**facts: object) -> Callable[[dict[str, bytes]], None]:
    return with_facts(signals={"features.wave": {"phases": 24, "blocks": 64, **facts}})


def with_counts(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, bytes]], None]:
    def changes(members: dict[str, bytes]) -> None:
        counts = read_array(members["cycle_counts.npy"], *COUNTS).astype(np.int64)
        members["cycle_counts.npy"] = counts_file(change(counts))

    return changes


def with_figures(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, bytes]], None]:
    def changes(members: dict[str, bytes]) -> None:
        figures = read_array(members["cycle_figures.npy"], "<f8")
        members["cycle_figures.npy"] = array_file(change(figures), "<f8")

    return changes


def first_figure(figure: float) -> Callable[[dict[str, bytes]], None]:
    return with_figures(lambda figures: np.concatenate([[[figure]], figures[:, 1:]], axis=1))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (with_signal(phases=float("inf")), "inf phases, measured in 64 blocks, cannot be"),
        (with_signal(blocks=float("inf")), "24 phases, measured in inf blocks, cannot be"),
        (with_signal(phases=24.0), "24.0 phases"),
        (with_signal(blocks=-3), "-3 blocks"),
        (with_signal(blocks=None), "None blocks"),
        (with_facts(signals=[1]), "'list' object"),
        (with_counts(lambda _: np.zeros((0, 5), np.int64)), "cycle_counts.npy has 0 rows instead of one"),
        (with_counts(lambda counts: np.repeat(counts, 2, axis=0)), "cycle_counts.npy has 2 rows instead of one"),
        (with_counts(np.zeros_like), "the cycles hold other events of features"),
        (with_counts(lambda counts: counts + 1), "the cycles hold other events of features"),
        (with_figures(lambda _: np.zeros((0, 5))), "cycle_figures.npy has 0 rows instead of one"),
        (with_figures(np.zeros_like), "vary as nothing can"),
        (first_figure(float("inf")), "a figure of the cycles is not finite"),
        (first_figure(float("nan")), "a figure of the cycles is not finite"),
        (first_figure(-1.0), "vary as nothing can"),
    ],
)
def test_cycles_that_cannot_be_are_damaged_whatever_their_hash(
    change: Callable[[dict[str, bytes]], None], why: str
) -> None:
    file = changed(changed(encode_baseline(baseline_of_days()), change), hashed_again)
    with pytest.raises(BaselineError, match=f"damaged baseline: .*{why}"):
        decode_baseline(file)


def test_signals_that_are_not_selected_have_no_phases() -> None:
    chosen = baseline_of_days().select_signals(lambda name: name in {"features.kind", "features.calm"})
    assert set(cycles(chosen).by_name) == {"features.kind"}
    assert baseline_of_days().select_signals(lambda name: name == "features.calm").cycles is None


def test_a_file_built_again_with_cycles_takes_the_place_of_the_one_without_them() -> None:
    new = baseline_of_days()
    known = KnownBaselines({"given": replace(new, cycles=None)})
    known.replace({"given": new})
    assert known.given["given"] is new


@given(st.integers(0, 4_000_000_000))
def test_half_hours_of_the_week_add_up_to_all_phases(second: int) -> None:
    at = np.array([second])
    counted = np.zeros((1, 336))
    counted[0, half_hours(at)] = 1
    for phases in CYCLES:
        assert in_phases(counted, phases)[0].argmax() == phases_at(at, phases)[0][0]
        assert in_phases(counted, phases).sum() == 1


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "UTC"])
def test_local_time_follows_the_zone_through_the_change_of_the_clocks(zone: str) -> None:
    seconds = np.arange(0, 30 * 86_400, 1234) + int(datetime(2024, 3, 15, tzinfo=UTC).timestamp())
    for second, there in zip(seconds.tolist(), local(seconds, zone).tolist(), strict=True):
        wall = datetime.fromtimestamp(second, ZoneInfo(zone)).replace(tzinfo=UTC)
        assert there == int(wall.timestamp())
