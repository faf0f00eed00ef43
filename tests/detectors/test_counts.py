"""Evidence of counts against exact tails of the distributions that it bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftline.detectors.statistics.counts import few_evidence, many_evidence, silence_evidence, unsure

RATES = st.floats(1e-3, 1e9)
VARIANCES = st.one_of(st.just(0.0), st.floats(1e-6, 100))


def _clumped(e: float, v: float, most: int) -> np.ndarray:
    """Probabilities of 0 to most events by Panjer's recursion: Poisson many clumps of geometric size."""
    mean = 1 + e * v / 2
    clumps, stop = e / mean, 1 / mean
    sizes = stop * (1 - stop) ** np.arange(most)
    p = np.zeros(most + 1)
    p[0] = np.exp(-clumps)
    for n in range(1, most + 1):
        k = np.arange(1, n + 1)
        p[n] = clumps / n * (k * sizes[:n] * p[n - k]).sum()
    return p


@pytest.mark.parametrize(("e", "v"), [(20, 0.0), (20, 0.1), (100, 0.02), (100, 1.0)])
def test_too_few_is_never_more_evidence_than_the_exact_tail_of_clumps(e: float, v: float) -> None:
    n = np.arange(int(e))
    exact = -np.log(np.cumsum(_clumped(e, v, int(e)))[:-1])
    evidence = few_evidence(n, e, v)
    assert (evidence <= exact + 1e-9).all()
    # It lacks only the factor before the exponential.
    assert (exact - evidence < 4).all()
    assert evidence[0] == pytest.approx(exact[0])


@pytest.mark.parametrize(("e", "v"), [(20, 1e-6), (20, 0.1), (100, 0.02), (100, 1.0)])
def test_too_many_is_never_more_evidence_than_the_exact_tail_of_a_gamma_distributed_rate(e: float, v: float) -> None:
    n = np.arange(int(e) + 1, int(6 * e))
    exact = -stats.nbinom.logsf(n - 1, 1 / v, 1 / (1 + e * v))
    finite = np.isfinite(exact)
    assert (many_evidence(n, e, v)[finite] <= exact[finite] + 1e-6).all()


@given(RATES, st.floats(1e-6, 100))
def test_silence_is_the_exact_probability_of_no_event_at_a_gamma_distributed_rate(e: float, v: float) -> None:
    assert silence_evidence(e, v) == pytest.approx(-stats.nbinom.logpmf(0, 1 / v, 1 / (1 + e * v)), rel=1e-6, abs=1e-9)


@given(st.integers(0, 10**9), RATES, VARIANCES)
def test_evidence_is_finite_and_on_one_side_only(n: int, e: float, v: float) -> None:
    few, many = float(few_evidence(n, e, v)), float(many_evidence(n, e, v))
    assert np.isfinite([few, many]).all()
    assert min(few, many) == 0
    assert max(few, many) >= 0
    assert (few == 0) or (n < e)


@given(RATES, VARIANCES, st.floats(0, 0.99))
def test_a_rate_that_varies_more_is_weaker_evidence(e: float, v: float, share: float) -> None:
    n = int(share * e)
    assert few_evidence(n, e, v) <= few_evidence(n, e, v / 2) * (1 + 1e-9) + 1e-6
    assert silence_evidence(e, v) <= silence_evidence(e, v / 2) * (1 + 1e-9) + 1e-6


@given(st.floats(0, 1e6), st.floats(0.1, 1e6))
def test_a_variance_known_from_few_stretches_is_weaker_evidence(x: float, samples: float) -> None:
    assert 0 <= unsure(x, samples) <= x * (1 + 1e-9) + 1e-9
    assert unsure(x, samples) <= unsure(x, 2 * samples) * (1 + 1e-9) + 1e-9
