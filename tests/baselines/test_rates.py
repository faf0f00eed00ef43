"""Rates in a baseline: what its files say of how many events come, if somebody says that they hold all."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from driftline.detectors.decision.rates import HOUR, SLOT, Rates
from driftline.detectors.decision.traffic import Traffic
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.rates import learn_rates, rates_of
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from load_tests.harness.oracle import baseline_of
from tests.baselines.test_formats import members, packed
from tests.judge.test_absence import FULL, NONE, Model, reported

DAY = 24 * HOUR
FIRST = 480_000 * HOUR
#: A Thursday in another year than the files.
LATER = FIRST + 400 * DAY


@cache
def whole() -> Baseline:
    """A baseline of files that hold all events of three weeks."""
    rng = np.random.default_rng(3)
    slots = np.arange(FIRST, FIRST + 21 * DAY)
    expected = FULL * (1 - 0.6 * np.cos(2 * np.pi * slots / DAY))
    return replace(baseline_of("fraud"), rates=learn_rates(slots, rng.poisson(expected)))


def test_a_new_model_that_stops_is_absent_if_its_baseline_knows_its_rates() -> None:
    model = Model(ModelState(), LATER, Monitor("fraud", ModelConfig(), whole()))
    model.tick(LATER)
    assert model.pass_time(2 * HOUR, FULL) == []
    (fired, resolved) = (*model.pass_time(30, NONE), *model.pass_time(10, FULL))
    assert [*reported([fired, resolved])] == [("firing", "critical", None), ("resolved", "critical", "recovered")]


def test_a_baseline_of_samples_says_nothing_of_the_traffic() -> None:
    model = Model(ModelState(), LATER, Monitor("fraud", ModelConfig(), replace(whole(), rates=None)))
    model.tick(LATER)
    assert (*model.pass_time(HOUR, FULL), *model.pass_time(HOUR, NONE)) == ()


def test_a_file_gives_back_the_rates_for_whatever_time() -> None:
    rates = decode_baseline(encode_baseline(whole())).rates
    assert whole().rates
    assert rates is not None
    assert Traffic.start(LATER, rates) == Traffic.start(LATER, whole().rates)
    assert rates.ready


def test_a_file_without_blocks_keeps_the_rates_and_stays_small() -> None:
    content = encode_baseline(whole().without_blocks())
    assert decode_baseline(content).rates
    assert len(content) - len(encode_baseline(replace(whole().without_blocks(), rates=None))) < 12_000


def test_rates_of_another_baseline_are_refused() -> None:
    content, other = (encode_baseline(replace(whole(), rates=replace(Rates(0), learned=learned))) for learned in (5, 6))
    assert decode_baseline(content).content_hash == decode_baseline(other).content_hash
    with pytest.raises(BaselineError):
        decode_baseline(packed(members(content) | {"rates.npy": members(other)["rates.npy"]}))


@pytest.mark.parametrize("days", [0, 1, 15])
def test_as_many_hours_are_learned_as_lie_between_the_first_and_the_last_event(days: int) -> None:
    times = range(FIRST * SLOT * 1000, (FIRST + days * DAY) * SLOT * 1000 + 1, 600_000)
    assert rates_of(times).learned == max(days * DAY - HOUR, 0)


def test_a_wrong_clock_does_not_make_centuries_of_files() -> None:
    assert rates_of([0, FIRST * SLOT * 1000]).learned == 26 * 7 * DAY
