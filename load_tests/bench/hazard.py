"""How often windows of independent events reach a threshold by chance: the table of `detectors.decision.hazard`.

    nice python -m load_tests.bench.hazard                     a minute of computing
    nice python -m load_tests.bench.hazard --seeds 4 --panes 250

Signals of 64 ordered codes, and of 10 categories by Zipf, half a percent of whose values are missing, go on for 6,000
panes against a known reference. An alarm counts once until 5,000 events have been quiet. For each test and size of a
pane, the command prints c = h + ln(alarms / panes) at some thresholds h, and the c of 11 nats that follows, as c grows
like half of ln h. As ks, level and spread alarm together, ks has no c of its own: "shape" is what all three have over
their c less the logarithm of their shares, at most the logarithm of all these shares. Exit code 1: the table differs
from it by more than chance and a quarter of a nat, or that of the shape by less than it may.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.binned import bins_of_values
from driftline.detectors.decision.hazard import HEIGHT, PANES, SHARES, cost, growth, shares
from driftline.detectors.decision.likeness import SHAPE, Likeness
from driftline.detectors.decision.reference import Reference
from driftline.detectors.decision.widths import Widths
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import LongRun, window_lengths
from driftline.detectors.statistics.smooth import Smooth

# Panes of a simulation, events of the reference, and events without an alarm after which the next one is another.
_TIME, _KNOWN, _QUIET = 6000, 4_000_000, 5000
# Nats at which alarms are counted.
_HEIGHTS = (6, 7, 8, 9)
_MISSING = 0.005
# Alarms that tell c to a seventh of a nat.
_ENOUGH = 50
# Nats by which the table may differ beside chance; and those by which the shape may have less than it is allowed.
_NEAR, _SPARED = 0.25, 0.5


def likeness(shares: FloatArray, size: int, ordered: bool, pane: int) -> Likeness:
    """A signal of independent events whose widths are known."""
    functionals, counts = Functionals(shares, size, ordered), np.rint(shares * _KNOWN)[None].astype(np.int64)
    matrix = functionals.matrix
    variance = shares @ (matrix * matrix) - (shares @ matrix) ** 2
    alike = tuple(
        LongRun(np.array([1]), variance[None, family] * pane, 0, short=False) for family in functionals.families
    )
    ones, own = np.ones((1, len(variance))), counts[0, :size]
    widths = Widths(pane, variance, ones, ones, np.ones(1), alike, alike, math.inf)
    return Likeness(
        Reference(counts.astype(float)),
        functionals,
        widths,
        Bins(own) if ordered else bins_of_values(own, widths),
        Smooth(functionals.regular) if ordered else None,
    )


def signals(pane: int) -> Iterator[Likeness]:
    """The signals that are simulated."""
    zipf = np.arange(1, 11) ** -0.9
    for regular, ordered in ((np.ones(64), True), (zipf, False)):
        shares = np.append((1 - _MISSING) * regular / regular.sum(), _MISSING)
        yield likeness(shares, len(regular), ordered, pane)


def highest(signal: Likeness, pane: int, rng: np.random.Generator) -> FloatArray:
    """The largest evidence (time, T) of all windows that end with each pane."""
    counts = rng.multinomial(pane, signal.reference.pooled, _TIME).astype(float)
    sums = np.vstack([np.zeros(counts.shape[1]), counts.cumsum(0)])
    most = np.zeros((_TIME, len(signal.tests)))
    for w in window_lengths(_TIME // 6).tolist():
        evidence = signal.evidence(sums[w:] - sums[:-w], np.full((_TIME - w + 1, 1), float(w * pane)))
        np.maximum(most[w - 1 :], evidence, out=most[w - 1 :])
    return most


def alarms(evidence: FloatArray, height: float, pane: int) -> int:
    """Alarms of evidence (time,) at a threshold."""
    over = np.flatnonzero(evidence >= height)
    return int(over.size > 0) + int((np.diff(over) > _QUIET // pane).sum())


def costs(pane: int, seeds: int) -> dict[str, list[tuple[int, float]]]:
    """By test: for each height the alarms, and c in nats."""
    found: Counter[tuple[str, int]] = Counter()
    times: Counter[str] = Counter()
    for seed in range(seeds):
        rng = np.random.default_rng([seed, pane])
        for signal in signals(pane):
            most = highest(signal, pane, rng)
            series = dict(zip(signal.tests, most.T, strict=True))
            if own := {*SHAPE} & series.keys():
                allowed = [cost(test, pane) - math.log(SHARES.get(test, 1)) for test in own]
                series["shape"] = np.max([series[test] - each for test, each in zip(own, allowed, strict=True)], axis=0)
            for test, evidence in series.items():
                times[test] += _TIME
                for height in _HEIGHTS:
                    found[test, height] += alarms(evidence, height, pane)
    return {
        test: [(n := found[test, height], height + math.log(max(n, 0.5) / times[test])) for height in _HEIGHTS]
        for test in times
    }


def extrapolated(rows: list[tuple[int, float]]) -> tuple[float, float]:
    """c at the table's height, from the largest one with enough alarms; and its standard error."""
    enough = [(height, *row) for height, row in zip(_HEIGHTS, rows, strict=True) if row[0] >= _ENOUGH]
    height, n, c = enough[-1] if enough else (_HEIGHTS[0], *rows[0])
    return c - growth(height), 1 / math.sqrt(max(n, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panes", nargs="*", type=int, default=list(PANES), help="events of a pane")
    parser.add_argument("--seeds", type=int, default=40, help="simulations of each")
    chosen = parser.parse_args()
    table, off = Table("pane", "test", *(f"{each} nats" for each in _HEIGHTS), f"c at {HEIGHT}", "table"), 0
    for pane in chosen.panes:
        for test, rows in costs(pane, chosen.seeds).items():
            c, error = extrapolated(rows)
            known = math.log(shares(SHAPE).sum()) if test == "shape" else cost(test, pane)
            apart = max(c - known, known - c - _SPARED * (test == "shape"))
            off += test != "ks" and apart > _NEAR + 3 * error
            table.add_row(str(pane), test, *(f"{each:.2f} ({n})" for n, each in rows), f"{c:.1f}", f"{known:.1f}")
    Console().print(table)
    return int(off > 0)


if __name__ == "__main__":
    sys.exit(main())
