"""False pages and delays of like with like (`detectors.decision.likeness`), on simulated traffic whose truth is known.

    nice python -m load_tests.bench.detection                        all kinds, 20 signals each: some 3 minutes
    nice python -m load_tests.bench.detection --kinds level ar --signals 4 --json

A signal has a baseline, chooses its phases, and goes on for 16 days of 8,640 events with a threshold for panes of 100
events, at which 20 such signals may raise one false page in 100,000 events. A page counts once until 5,000 events have
been quiet. Then half a standard deviation is added, or a share moves, and the events until the alarm are shown.
Windows end at each pane, and begin at all lengths a quarter apart. Incidents are not simulated, nor is anything stored.

Exit code 1: more false pages than allowed in all (95 % Poisson bound), or twice as many in a kind (p < 0.001).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.hazard import threshold
from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.phases import CYCLES, choose_phases, few_codes, phases_at
from driftline.detectors.decision.reference import History
from driftline.detectors.statistics.long_run import window_lengths
from driftline.detectors.summaries.codes import Categories, Grid
from load_tests.bench.absence import above

# Events of a day and of a pane, and days that are judged.
DAY, PANE, JUDGED = 8640, 100, 16
# False pages an event of a model, and its signals.
RATE, MODEL = 1e-5, 20
_SECONDS, _QUIET = 86_400, 5000
# Days until the change, and those it is waited for.
_AT, _PATIENCE = 8, 8

Rng = np.random.Generator


@dataclass(frozen=True)
class Kind:
    """A kind of traffic: days of its baseline, and whether its values are categories."""

    days: float = 5.8
    categories: bool = False


KINDS = {
    "nothing": Kind(1.2),
    "ar 0.8": Kind(1.2),
    "ar 0.95": Kind(1.2),
    "sessions": Kind(1.2),
    "categories in sessions": Kind(1.2, categories=True),
    "level": Kind(),
    "spread": Kind(),
    "missing": Kind(),
    "evening": Kind(),
    "evening that moves": Kind(),
    "ar on a day": Kind(),
    "share": Kind(categories=True),
    "category of the evening": Kind(categories=True),
    "week": Kind(35),
}


def ar(rng: Rng, n: int, keeps: float) -> FloatArray:
    """AR(1) of variance 1."""
    noise = rng.standard_normal(n) * math.sqrt(1 - keeps * keeps)
    # In strips that forget what was before them, since a recursion in Python takes a minute.
    warm = int(30 / (1 - keeps))
    strip = 50 * warm
    padded = np.concatenate([rng.standard_normal(warm) * math.sqrt(1 - keeps * keeps), noise, np.zeros(-n % strip)])
    rows = np.stack([padded[at : at + warm + strip] for at in range(0, len(padded) - warm, strip)])
    for column in range(1, rows.shape[1]):
        rows[:, column] += keeps * rows[:, column - 1]
    return np.asarray(rows[:, warm:].ravel()[:n])


def values(kind: str, rng: Rng, n: int, turn: float) -> FloatArray:
    """n values, NaN where missing, or categories 0 to 9. turn: part of a day by which cycles are shifted."""
    match kind:
        case "nothing":
            return rng.standard_normal(n)
        case "ar 0.8" | "ar 0.95":
            return ar(rng, n, float(kind[3:]))
        case "sessions" | "categories in sessions":
            who = np.cumsum(rng.random(n) < 1 / 20)
            each = rng.standard_normal(who[-1] + 1) if kind == "sessions" else _zipf(rng, int(who[-1]) + 1)
            return np.asarray(each[who])
        case "evening" | "evening that moves" | "category of the evening":
            return _evenings(kind, rng, n, turn)
    return _waves(kind, rng, n, np.arange(n) / DAY + turn)


def _evenings(kind: str, rng: Rng, n: int, turn: float) -> FloatArray:
    hour, day = np.arange(n) * 24 / DAY % 24, np.arange(n) // DAY
    moves, heights = rng.uniform(-1, 1, day[-1] + 1)[day], rng.uniform(0.7, 1.3, day[-1] + 1)[day]
    if kind == "category of the evening":
        evening = 0.4 * heights * (np.abs(hour - 20 - moves / 2) < 0.5)
        return np.where(rng.random(n) < evening, 3.0, _zipf(rng, n))
    moves, heights = (moves, heights) if kind == "evening that moves" else (0 * moves, 1.0 + 0 * heights)
    return rng.standard_normal(n) + heights * np.exp(-((hour - 19 - 2 * turn - moves) ** 2))


def _waves(kind: str, rng: Rng, n: int, days: FloatArray) -> FloatArray:
    noise, wave = rng.standard_normal(n), np.sin(2 * np.pi * days)
    match kind:
        case "level":
            return noise + 0.9 * wave
        case "spread":
            return noise * (1 + 0.6 * wave)
        case "missing":
            return np.where(rng.random(n) < 0.06 + 0.05 * wave, np.nan, noise)
        case "ar on a day":
            return ar(rng, n, 0.8) + 0.6 * wave
        case "share":
            return np.where(rng.random(n) < 0.15 + 0.13 * wave, 3.0, _zipf(rng, n))
        case "week":
            weekend = np.arange(n) // DAY % 7 >= 5
            return noise + 0.9 * wave * np.where(weekend, 0.6, 1) - 0.5 * weekend
    raise ValueError(f"no kind of traffic is called {kind!r}")


def _zipf(rng: Rng, n: int) -> FloatArray:
    shares = np.arange(1, 11) ** -0.9
    return rng.choice(10, n, p=shares / shares.sum()).astype(float)


def changed(kind: str, rng: Rng, each: FloatArray) -> FloatArray:
    """The values after a change: half a standard deviation more, or a fifth of category 0 becomes category 1."""
    if KINDS[kind].categories:
        return np.where((each == 0) & (rng.random(len(each)) < 0.2), 1.0, each)
    return each + 0.5 * float(np.nanstd(each))


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal with the baseline that its first values are. Codes: the regular ones, then missing."""

    base: FloatArray
    categories: bool

    @cached_property
    def coder(self) -> Grid | Categories:
        """The codes of its values."""
        return Categories(tuple(str(each) for each in range(10))) if self.categories else Grid.fit(self.base)

    def encode(self, each: FloatArray) -> IntArray:
        """Codes (n,) of values (n,)."""
        return np.minimum(each.astype(np.int64) if self.categories else self.coder.encode(each), self.coder.size)  # type: ignore[arg-type]

    def history(self, codes: IntArray, phases: int, first: int = 0) -> History:
        """Codes in order, from the `first` event of all on, in whole panes."""
        codes = codes[: len(codes) // PANE * PANE]
        at, size = np.arange(len(codes)), int(codes.max(initial=self.coder.size)) + 1
        seconds = (at + first) * _SECONDS // DAY
        phase, cycle = phases_at(seconds, phases) if phases > 1 else (at * 0, at * 0)
        cycle = cycle - cycle[0]
        return History(
            _counted((at // PANE, codes), (len(codes) // PANE, size)),
            _counted((at // PANE, phase), (len(codes) // PANE, phases)),
            cycle[PANE // 2 :: PANE],
            _counted((cycle, phase, codes), (int(cycle[-1]) + 1, phases, size)),
            int(cycle[-1]) + 1,
        )

    @cached_property
    def phases(self) -> int:
        """The phases that its baseline chooses."""
        codes = self.encode(self.base)
        few = few_codes(np.bincount(codes, minlength=self.coder.size + 1), self.coder.size)[codes]
        return choose_phases({each: self.history(few, each).visits for each in CYCLES})

    @cached_property
    def likeness(self) -> Likeness:
        """What its windows are compared with."""
        return Likeness.of(
            self.history(self.encode(self.base), self.phases), self.coder.size, ordered=not self.categories
        )

    def ratio(self, each: FloatArray) -> FloatArray:
        """The largest ratio of evidence to threshold (panes, T) of windows that end with each pane of live values."""
        live = self.history(self.encode(each), self.phases, first=len(self.base))
        counts, phases = (np.vstack([np.zeros(part.shape[1]), part.cumsum(0)]) for part in (live.blocks, live.phases))
        tests = self.likeness.tests
        most = np.zeros((len(live.blocks), len(tests)))
        for w in window_lengths(len(most)).tolist():
            evidence = self.likeness.evidence(counts[w:] - counts[:-w], phases[w:] - phases[:-w])
            np.maximum(most[w - 1 :], evidence, out=most[w - 1 :])
        worth = float(self.likeness.worth.sum())
        return most / np.array([threshold(test, RATE, PANE, MODEL, worth) for test in tests])


def _counted(at: tuple[IntArray, ...], shape: tuple[int, ...]) -> FloatArray:
    counts = np.zeros(shape)
    np.add.at(counts, at, 1)
    return counts


def run(kind: str, seed: int) -> dict[str, Any]:
    """One signal: its phases, false pages and which tests raised them, and events until the change is found."""
    rng = np.random.default_rng([seed, *kind.encode()])
    known = int(KINDS[kind].days * DAY) // PANE * PANE
    each = values(kind, rng, known + JUDGED * DAY, seed % 20 / 20)
    signal, live = Signal(each[:known], KINDS[kind].categories), each[known:]
    over = signal.ratio(live) >= 1
    at = _AT * DAY
    after = signal.ratio(np.concatenate([live[:at], changed(kind, rng, live)[at : at + _PATIENCE * DAY]]))
    found = np.flatnonzero((after >= 1).any(1)[at // PANE :])
    before = over.any(1)[(at - _QUIET) // PANE : at // PANE].any()
    return {
        "kind": kind,
        "seed": seed,
        "phases": signal.phases,
        "pages": _pages(over.any(1)),
        "tests": [test for test, some in zip(signal.likeness.tests, over.any(0), strict=True) if some],
        "delay": None if before else float(found[0] + 1) * PANE if found.size else math.inf,
    }


def _pages(over: FloatArray) -> int:
    panes = np.flatnonzero(over)
    return int(panes.size > 0) + int((np.diff(panes) > _QUIET // PANE).sum())


def summary(results: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The runs of a kind in a row."""
    own = [each for each in results if each["kind"] == kind]
    delays = [each["delay"] for each in own if each["delay"] is not None]
    return {
        "kind": kind,
        "phases": dict(Counter(each["phases"] for each in own)),
        "pages": sum(each["pages"] for each in own),
        "promised": len(own) / MODEL * JUDGED * DAY * RATE,
        "tests": dict(Counter(test for each in own for test in each["tests"])),
        "delay": statistics.median_high(delays) if delays else None,
        "missed": sum(map(math.isinf, delays)),
        "of": len(delays),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=[""], help="beginnings of names of kinds")
    parser.add_argument("--signals", type=int, default=20, help="signals of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    chosen = parser.parse_args()
    kinds = [kind for kind in KINDS if any(kind.startswith(each) for each in chosen.kinds)]
    results = list(_runs(kinds, range(chosen.first, chosen.first + chosen.signals), shown=chosen.json))
    rows = [summary(results, kind) for kind in kinds]
    if not chosen.json:
        Console().print(_table(rows))
    pages, promised = (sum(row[part] for row in rows) for part in ("pages", "promised"))
    print(f"{pages} false pages in all, {promised:.1f} promised", file=sys.stderr)
    worse = [row["kind"] for row in rows if above(row["pages"], 2 * row["promised"]) < 0.001]
    return int(bool(worse) or above(pages, promised) < 0.05)


def _runs(kinds: list[str], seeds: range, *, shown: bool) -> Iterator[dict[str, Any]]:
    for kind in kinds:
        for seed in seeds:
            result = run(kind, seed)
            if shown:
                print(json.dumps(result), flush=True)
            yield result


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("kind", "phases", "false pages / promised", "by test", "delay", "missed")
    for row in rows:
        phases, tests = (", ".join(f"{key}: {n}" for key, n in row[part].items()) for part in ("phases", "tests"))
        delay = "–" if row["delay"] is None else f"{row['delay']:,.0f}"
        pages = f"{row['pages']} / {row['promised']:.1f}"
        table.add_row(row["kind"], phases, pages, tests, delay, f"{row['missed']} of {row['of']}")
    return table


if __name__ == "__main__":
    sys.exit(main())
