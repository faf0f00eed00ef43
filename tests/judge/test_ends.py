"""When a drift is over by the judge: an alarm by chance on a baseline that errs ends, a drift that lasts does not."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.judge import Judge
from tests.harness.traffic import Driver, baseline_of

PANE = 50


def exact(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Normal values at the quantiles of n, in another order for each seed: their level is exact."""
    return np.random.default_rng(seed).permutation(norm.ppf((np.arange(n) + 0.5) / n)) + shift


def ends(first: float, then: float) -> list[tuple[int, Status]]:
    """The steps of traffic whose level is `first` higher than a baseline of 500 events, and after 300 `then` higher."""
    baseline = baseline_of({"features.x": exact(500, 0).astype(object)})
    own = Driver(baseline, ModelConfig(false_alarms_per_event=1e-4), pane=PANE)
    own.judge = Judge(baseline, own.config, remembers=True)
    own.state = own.judge.start()
    live = [exact(PANE, each, first if each <= 6 else then) for each in range(1, 200)]
    return [(seen, step.status) for seen, step in own.feed({"features.x": np.concatenate(live).astype(object)})]


def test_what_alarmed_by_the_error_of_the_baseline_and_by_chance_together_ends() -> None:
    """0.12 σ are 2.7 standard errors of the baseline; its newest events are no likelier without, for ever."""
    (fired, status), (resolved, end) = ends(0.3, 0.12)
    assert (status, end) == (Status.FIRING, Status.RESOLVED)
    assert fired <= 300
    assert resolved <= 2500


def test_a_drift_that_lasts_at_its_level_does_not_end() -> None:
    assert [status for _, status in ends(0.3, 0.3)] == [Status.FIRING]


def test_a_drift_that_is_gone_ends_soon() -> None:
    (_, _), (resolved, end) = ends(0.3, 0.0)
    assert (resolved <= 900, end) == (True, Status.RESOLVED)
