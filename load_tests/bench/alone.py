"""False alarms of each test of one numeric signal without a drift: independent, discrete, in runs, dependent.

    nice python -m load_tests.bench.alone                      some minutes: 16 seeds of each kind, 20,000 rows
    nice python -m load_tests.bench.alone --rows 10000 --kinds "ar 0.95" sessions

A baseline of some rows, then 400,000 events in panes of 250, in all windows of a quarter more panes each; thresholds of
one of 100 tests that share a rate. An alarm counts once until 5,000 events have been quiet.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.binned import dispersions_of_bins, dispersions_of_smooth
from driftline.detectors.decision.hazard import threshold
from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.reference import History
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.long_run import window_lengths
from driftline.detectors.statistics.smooth import Smooth
from driftline.detectors.summaries.codes import Grid
from load_tests.bench.detection import values
from load_tests.bench.hazard import alarms

Rng = np.random.Generator
# Events without a drift, of a pane, and among how many tests the rate is shared.
_LIVE, _PANE, _TESTS = 400_000, 250, 100


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


def highest(of: FloatArray, rows: int) -> tuple[tuple[str, ...], FloatArray]:
    """The tests, and the largest evidence (panes, T) of all windows that end with each pane after the first `rows`."""
    grid = Grid.fit(of[:rows])
    codes, size, blocks = grid.encode(of), grid.size, max(min(rows // 100, 2048), 64)
    known = _counted(codes[:rows], np.arange(rows) * blocks // rows, size)
    history, bins, smooth = History.steady(known), Bins(known.sum(0)), Smooth(known.sum(0) / known.sum())
    likeness = replace(
        Likeness.of(history, size, ordered=True),
        bins=Bins(bins.counts, dispersions_of_bins(history, bins)),
        smooth=Smooth(smooth.shares, dispersions_of_smooth(history, smooth)),
    )
    counts = _counted(codes[rows:], np.arange(_LIVE) // _PANE, size)
    sums, most = np.vstack([np.zeros(size), counts.cumsum(0)]), np.zeros((len(counts), len(likeness.tests)))
    for w in window_lengths(len(counts) // 2).tolist():
        window = sums[w:] - sums[:-w]
        evidence = likeness.evidence(window, np.full((len(window), 1), float(w * _PANE)))
        np.maximum(most[w - 1 :], evidence, out=most[w - 1 :])
    return likeness.tests, most


def _counted(codes: np.ndarray, part: np.ndarray, size: int) -> np.ndarray:
    parts = int(part[-1]) + 1
    return np.bincount(part * size + codes, minlength=parts * size).reshape(parts, size)


def main() -> None:
    """Parse arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="events of the baseline")
    parser.add_argument("--seeds", type=int, default=16, help="simulations of each kind")
    parser.add_argument("--rate", type=float, default=1e-4, help="false pages an event of all tests together")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="kinds of traffic")
    chosen = parser.parse_args()
    table, tests = Table("traffic", title=f"false alarms by test; {_promised(chosen):.2g} promised in a cell"), ()
    for kind in chosen.kinds:
        pages = Counter[str]()
        for seed in range(chosen.seeds):
            rng = np.random.default_rng([seed, *kind.encode()])
            tests, most = highest(KINDS[kind](rng, chosen.rows + _LIVE), chosen.rows)
            for test, each in zip(tests, most.T, strict=True):
                pages[test] += alarms(each, threshold(test, chosen.rate, _PANE, 1, _TESTS), _PANE)
        if not table.rows:
            for test in tests:
                table.add_column(test)
        table.add_row(kind, *(str(pages[test]) for test in tests))
    Console().print(table)


def _promised(chosen: argparse.Namespace) -> float:
    return float(chosen.rate * _LIVE * chosen.seeds / _TESTS)


if __name__ == "__main__":
    main()
