"""False alarms of the test of single bins alone, on traffic without a drift: independent, discrete, in runs, dependent.

    nice python -m load_tests.bench.bins                      some minutes: 16 seeds of each kind, 20,000 rows
    nice python -m load_tests.bench.bins --rows 10000 --kinds "ar 0.95" sessions

A baseline of some rows, then 400,000 events in panes of 250, in all windows of a quarter more panes each; thresholds of
one of 100 tests that share a rate. An alarm counts once until 5,000 events have been quiet.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.binned import Binned, dispersions
from driftline.detectors.decision.hazard import threshold
from driftline.detectors.decision.reference import History
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.long_run import window_lengths
from driftline.detectors.summaries.codes import Grid
from load_tests.bench.detection import values
from load_tests.bench.hazard import alarms

Rng = np.random.Generator
# Events without a drift, of a pane, and among how many tests the rates are shared.
_LIVE, _PANE, _TESTS, _RATES = 400_000, 250, 100, (1e-5, 1e-4, 1e-3)


def _in_runs(rng: Rng, n: int) -> FloatArray:
    """Normal values, of which one in thirty is in a run of 20 zeros."""
    stuck = np.repeat(rng.random(n // 20 + 1) < 0.03, 20)[:n]
    return np.where(stuck, 0.0, rng.normal(size=n))


def _as_is(kind: str) -> Callable[[Rng, int], FloatArray]:
    return lambda rng, n: values(kind, rng, n, 0.0)


def _whole(kind: str) -> Callable[[Rng, int], FloatArray]:
    return lambda rng, n: np.floor(3 * np.exp(1.2 * values(kind, rng, n, 0.0)))


KINDS: Mapping[str, Callable[[Rng, int], FloatArray]] = {
    "lognormal": lambda rng, n: rng.lognormal(sigma=1.5, size=n),
    "Poisson": lambda rng, n: rng.poisson(6, n).astype(float),
    "halves": lambda rng, n: np.round(20 * rng.lognormal(size=n)) / 2,
    "runs of zeros": _in_runs,
    **{f"whole {kind}": _whole(kind) for kind in ("nothing", "ar 0.95", "sessions")},
    **{kind: _as_is(kind) for kind in ("nothing", "ar 0.8", "ar 0.95", "sessions")},
}  # fmt: skip


def highest(of: FloatArray, rows: int) -> FloatArray:
    """The largest evidence of all windows that end with each pane, of values after the first `rows`."""
    grid = Grid.fit(of[:rows])
    codes, size, blocks = grid.encode(of), grid.size, max(min(rows // 100, 2048), 64)
    known = _counted(codes[:rows], np.arange(rows) * blocks // rows, size)
    history, bins = History.steady(known), Bins(known.sum(0))
    binned = Binned.of([(0, Bins(bins.counts, dispersions(history, bins)), history.reference)])
    counts = _counted(codes[rows:], np.arange(_LIVE) // _PANE, size)
    sums, most = np.vstack([np.zeros(size), counts.cumsum(0)]), np.zeros(len(counts))
    for w in window_lengths(len(counts) // 2).tolist():
        window = sums[w:] - sums[:-w]
        events, ones = np.full((len(window), 1), float(w * _PANE)), np.ones((len(window), 1))
        evidence = binned.evidence(window, events, rows * ones, ones)[:, 0]
        np.maximum(most[w - 1 :], evidence, out=most[w - 1 :])
    return most


def _counted(codes: np.ndarray, part: np.ndarray, size: int) -> np.ndarray:
    parts = int(part[-1]) + 1
    return np.bincount(part * size + codes, minlength=parts * size).reshape(parts, size)


def main() -> None:
    """Parse arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="events of the baseline")
    parser.add_argument("--seeds", type=int, default=16, help="simulations of each kind")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="kinds of traffic")
    chosen = parser.parse_args()
    table = Table("traffic", *(f"{rate:g}" for rate in _RATES), title="false alarms / promised, by rate an event")
    for kind in chosen.kinds:
        found = [
            highest(KINDS[kind](np.random.default_rng([seed, *kind.encode()]), chosen.rows + _LIVE), chosen.rows)
            for seed in range(chosen.seeds)
        ]
        pages = (
            sum(alarms(each, threshold("bins", rate, _PANE, 1, _TESTS), _PANE) for each in found) for rate in _RATES
        )
        promised = (rate * _LIVE * chosen.seeds / _TESTS for rate in _RATES)
        table.add_row(kind, *(f"{n} / {of:.2g}" for n, of in zip(pages, promised, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
