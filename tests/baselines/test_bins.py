"""Dispersions of bins: measured at build, kept in the file, and nowhere in one that an earlier version built."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.bins import dispersions_of_blocks
from driftline.stream.baselines.build import BuildSettings
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from tests.baselines.test_slopes import N, build, remembering
from tests.harness.archives import changed
from tests.harness.days import baseline_of_days


@cache
def mixed() -> Baseline:
    rng = np.random.default_rng(1)
    return build({
        "calm": rng.normal(size=N),
        "ar": remembering(0.95),
        "city": rng.choice(list("abc"), N),
        "slow": remembering(0.999),
    })  # fmt: skip


def test_ordered_signals_with_slopes_have_them() -> None:
    assert mixed().bins is not None
    assert set(mixed().bins.of) == {"features.calm", "features.ar"}
    calm, ar = (mixed().bins.of[f"features.{name}"][:-2] for name in ("calm", "ar"))
    assert np.median(calm) == 1
    assert calm.max() < 2
    # The baseline has too few events of it that are independent by its level.
    assert ar.min() > 1e6


def test_ordered_signals_with_phases_have_them() -> None:
    baseline = baseline_of_days()
    assert baseline.cycles is not None
    assert baseline.bins is not None
    assert {*baseline.cycles.by_name} & {*baseline.bins.of} == {"features.wave", "features.often"}


def test_the_file_keeps_them_and_they_are_part_of_what_a_baseline_is() -> None:
    again = decode_baseline(encode_baseline(mixed().without_blocks()))
    assert again.bins == mixed().bins
    assert again.content_hash == mixed().content_hash != replace(mixed(), bins=None).content_hash


@pytest.mark.parametrize("lost", ["the file", "the version"])
def test_what_is_not_there_or_of_another_version_is_not_used(lost: str) -> None:
    def without(members: dict[str, bytes]) -> None:
        facts = json.loads(members["manifest.json"])
        facts["bins"]["version"] = 99 if lost == "the version" else 1
        members["manifest.json"] = json.dumps(facts).encode()
        if lost == "the file":
            del members["bins.npy"]

    earlier = decode_baseline(changed(encode_baseline(mixed()), without))
    assert earlier.bins is None
    assert earlier.slopes == mixed().slopes


@pytest.mark.parametrize(("fact", "value"), [("signals", ["features.calm"]), ("hash", "")])
def test_damaged_ones_are_refused(fact: str, value: object) -> None:
    def damage(members: dict[str, bytes]) -> None:
        facts = json.loads(members["manifest.json"])
        facts["bins"][fact] = value
        members["manifest.json"] = json.dumps(facts).encode()

    with pytest.raises(BaselineError, match="bins"):
        decode_baseline(changed(encode_baseline(mixed()), damage))


def test_selected_signals_keep_theirs() -> None:
    chosen = mixed().select_signals(lambda name: name == "features.ar")
    assert chosen.bins is not None
    assert mixed().bins is not None
    assert [*chosen.bins.of] == ["features.ar"]
    assert (chosen.bins.of["features.ar"] == mixed().bins.of["features.ar"]).all()
    assert mixed().select_signals(lambda name: name == "features.city").bins is None


def test_blocks_tell_about_the_same() -> None:
    found = dispersions_of_blocks(mixed().layout, mixed().blocks, mixed().slopes)
    assert found is not None
    assert mixed().bins is not None
    for name, each in found.of.items():
        assert np.median(each / mixed().bins.of[name]) == pytest.approx(1, abs=0.2)


def test_a_baseline_without_an_order_has_none() -> None:
    assert build({"x": remembering(0.5)}, BuildSettings(ordered=False)).bins is None
    assert build({"x": remembering(0.5)}, BuildSettings(format_version=2), learned=True).bins is None
