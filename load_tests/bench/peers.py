"""Delays and false pages of Driftline and its EDetector beside River's detectors and the optimum, on the same values.

    nice python -m load_tests.bench.peers                        12 runs of each drift: some minutes
    nice python -m load_tests.bench.peers --runs 4 --drifts mean --json
    nice python -m load_tests.bench.peers --quiet-events 20000    false pages on fewer values without a drift

A model has 20 signals of independent normal values, of which one drifts. Driftline is its whole judge: a baseline of
20,000 events, panes of 50 or 250, one false page in 100,000 events allowed. A peer watches the one signal alone, at the
most sensitive of `_SETTINGS` that raises no more alarms than a 20th of that on quiet values. The optimum is a CUSUM of
the true likelihood ratio at the same rate, which takes knowing the drift. EDetector watches the ranks of the one signal
in the baseline at that rate, which it proves instead of measuring. KSWIN takes 0.4 ms a value, too slow to find
its setting, so it is left out here.

Then all of them watch traffic without a drift, peers at their defaults: independent, dependent, sessions and a day.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from river.drift import ADWIN, KSWIN, PageHinkley

from driftline.detectors.arrays import FloatArray
from driftline.detectors.online.edetector import EDetector
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from load_tests.bench.days import events
from load_tests.bench.detection import MODEL, RATE, values

Rng = np.random.Generator
#: Events of the baseline, quiet ones before the drift, those it is waited for, and the sizes of panes.
KNOWN, BEFORE, PATIENCE, PANES = 20_000, 5000, 30_000, (250, 50)
# Alarms of one signal for each of its values.
_PER_VALUE = RATE / MODEL
# Values without a drift that find a peer's setting: two alarms are allowed.
_TUNED_ON = 4_000_000
# Values of each kind without a drift, and those that KSWIN, which is slow, is given of them.
_QUIET, _SLOW = 200_000, 20_000
# The signal that drifts; kinds of `detection.values` without a drift, and the days of baseline that each needs.
_NAME = "features.nothing 0"
TRAFFIC = {"nothing": 2.4, "ar 0.8": 5.8, "ar 0.95": 5.8, "sessions": 5.8, "level": 5.8}


@dataclass(frozen=True)
class Drift:
    """What normal values become, and the log likelihood ratio of a value."""

    of: Callable[[Rng, FloatArray], FloatArray]
    ratio: Callable[[FloatArray], FloatArray]


def _shift(by: float) -> Drift:
    return Drift(lambda _, x: x + by, lambda x: by * x - by * by / 2)


def _scale(by: float) -> Drift:
    return Drift(lambda _, x: x * by, lambda x: (1 - by**-2) * x * x / 2 - math.log(by))


def _spike(share: float) -> Drift:
    # A value that normal ones never have exactly: the best that could be known is that it is there at all.
    return Drift(lambda rng, x: np.where(rng.random(len(x)) < share, 0.0, x), lambda x: np.zeros(len(x)))


def _two_humps(rng: Rng, x: FloatArray) -> FloatArray:
    return np.asarray(0.6 * x + 0.8 * rng.choice([-1.0, 1.0], len(x)))


def _two_humps_ratio(x: FloatArray) -> FloatArray:
    humps = sum(np.exp(-((x - m) ** 2) / 0.72) for m in (-0.8, 0.8)) / 1.2
    return np.asarray(np.log(humps) + x * x / 2)


DRIFTS = {
    "mean 0.1 σ": _shift(0.1),
    "mean 0.2 σ": _shift(0.2),
    "mean 0.5 σ": _shift(0.5),
    "mean 1 σ": _shift(1.0),
    "spread × 1.2": _scale(1.2),
    "spread × 1.5": _scale(1.5),
    "two humps": Drift(_two_humps, _two_humps_ratio),
    **{f"{percent} % at one value": _spike(percent / 100) for percent in (3, 5, 10)},
}


def _adwin(delta: float = 0.002) -> Any:
    return ADWIN(delta=delta)  # type: ignore[no-untyped-call]  # it is Cython


# Settings of peers from the most to the least sensitive.
_SETTINGS: Mapping[str, tuple[Callable[[float], Any], tuple[float, ...]]] = {
    "ADWIN": (_adwin, (2e-3, 5e-4, 1e-4, 2e-5, 5e-6, 1e-6, 1e-7, 1e-8)),
    "Page-Hinkley": (lambda limit: PageHinkley(threshold=limit), (50, 100, 200, 400, 800, 1600, 3200)),
}
DEFAULTS: Mapping[str, Callable[[], Any]] = {
    "ADWIN": _adwin, "Page-Hinkley": PageHinkley, "KSWIN": lambda: KSWIN(seed=1),
}  # fmt: skip


def alarms(detector: Any, of: FloatArray) -> Iterator[int]:
    """How many values a detector with River's interface has seen at each of its alarms."""
    for seen, value in enumerate(of.tolist(), 1):
        detector.update(value)
        if detector.drift_detected:
            yield seen


@cache
def tuned(name: str) -> float:
    """The most sensitive setting of a peer that raises no more alarms than allowed on quiet values."""
    make, settings = _SETTINGS[name]
    quiet = np.random.default_rng(2026).standard_normal(_TUNED_ON)
    return next(each for each in settings if sum(1 for _ in alarms(make(each), quiet)) <= _TUNED_ON * _PER_VALUE)


@cache
def limit(drift: str) -> float:
    """The threshold, in nats, at which a CUSUM of the true likelihood ratio crosses as often as allowed."""
    rng, sums, highest = np.random.default_rng(7), np.zeros(2000), np.zeros(2000)
    peaks: list[FloatArray] = []
    steps = 20_000
    for _ in range(steps):
        sums += DRIFTS[drift].ratio(rng.standard_normal(len(sums)))
        ended = (sums <= 0) & (highest > 5)
        peaks.append(highest[ended])
        highest[sums <= 0] = 0
        np.maximum(sums, 0, out=sums)
        np.maximum(highest, sums, out=highest)
    allowed = int(steps * len(sums) * _PER_VALUE)
    return float(np.sort(np.concatenate(peaks))[-allowed])


def optimum(drift: str, drifted: FloatArray) -> int | None:
    """Values until a CUSUM of the true likelihood ratio crosses its limit; None for a drift without such a ratio."""
    ratio = DRIFTS[drift].ratio(drifted)
    if not ratio.any():
        return None
    total = np.cumsum(ratio)
    over = np.flatnonzero(total - np.minimum.accumulate(np.minimum(total, 0)) >= limit(drift))
    return int(over[0]) + 1 if over.size else None


@dataclass(frozen=True, eq=False)
class Model:
    """Twenty signals of one kind, in panes of one size. traffic: of each, those of the baseline first."""

    traffic: Mapping[str, FloatArray]
    baseline: Baseline
    known: int

    @classmethod
    def of(cls, kind: str, rng: Rng, known: int, live: int) -> Model:
        """A model whose signals are each of another turn of the day."""
        traffic = {f"features.{kind} {i}": values(kind, rng, known + live, i / MODEL) for i in range(MODEL)}
        rows = list(events(traffic, 0, known))
        return cls(traffic, build_baseline(rows, {"model": "m"}, BuildSettings(timezone="UTC")).with_derived(), known)

    def judge(self, traffic: Mapping[str, FloatArray], pane: int) -> Iterator[tuple[int, Step]]:
        """The steps of incidents on what follows the baseline, with the live events before each."""
        config = ModelConfig(false_alarms_per_event=RATE, clock=pane)
        monitor, state = Monitor("m", config, self.baseline, **monitor_settings()), ModelState()
        end = len(next(iter(traffic.values())))
        for start in range(self.known, end, pane):
            part = list(events(dict(traffic), start, min(start + pane, end)))
            slots, counts = np.unique([event.ts // SLOT_MS for event in part], return_counts=True)
            content, run = self.baseline.sketch_events(part), Range(0, start, start + len(part))
            slotted = tuple(zip(slots.tolist(), counts.tolist(), strict=True))
            state, steps = monitor.judge(state, Pane(content, part[0].ts, part[-1].ts, (run,), slotted))
            yield from ((start + len(part) - self.known, step) for step in steps)


def delays(drift: str, seed: int) -> dict[str, int | None]:
    """Values from a drift until each detector's first alarm after it; None if there is none, or one just before."""
    rng = np.random.default_rng([seed, *drift.encode()])
    model = Model.of("nothing", rng, KNOWN, BEFORE + PATIENCE)
    at = KNOWN + BEFORE
    drifted = model.traffic[_NAME].copy()
    drifted[at:] = DRIFTS[drift].of(rng, drifted[at:])
    found: dict[str, int | None] = {"optimum": optimum(drift, drifted[at:])}
    for pane in PANES:
        named = (
            seen - BEFORE
            for seen, step in model.judge({**model.traffic, _NAME: drifted}, pane)
            if any(each.signal == _NAME for each in step.findings)
        )
        found[f"Driftline {pane}"] = _first(named)
    proven = ranked(drifted, KNOWN)[KNOWN:]
    found["EDetector"] = _first(seen - BEFORE for seen in alarms(proving(), proven))
    for name, (make, _) in _SETTINGS.items():
        found[name] = _first(seen - at for seen in alarms(make(tuned(name)), drifted))
    return found


def ranked(of: FloatArray, known: int) -> FloatArray:
    """Ranks in [0, 1] among the first `known` values."""
    return np.asarray(np.searchsorted(np.sort(of[:known]), of) / known)


def proving() -> EDetector:
    """An e-detector of ranks at the rate of one signal."""
    return EDetector(0.5, alpha=_PER_VALUE)


def _first(found: Iterator[int]) -> int | None:
    return next((each for each in found if each > 0), None)


def false_pages(kind: str, seed: int, quiet: int) -> dict[str, float]:
    """Alarms in a million values without a drift, of one signal."""
    rng, known = np.random.default_rng([seed, *kind.encode()]), int(TRAFFIC[kind] * 8640) // 250 * 250
    model = Model.of(kind, rng, known, quiet)
    pages = sum(step.status is Status.FIRING for _, step in model.judge(model.traffic, 250))
    found = {"Driftline": pages / (quiet * MODEL) * 1e6}
    name = f"features.{kind} 0"
    ranks = ranked(model.traffic[name], known)[known : known + quiet]
    found["EDetector"] = sum(1 for _ in alarms(proving(), ranks)) / quiet * 1e6
    for peer, make in DEFAULTS.items():
        live = model.traffic[name][known : known + (_SLOW if peer == "KSWIN" else quiet)]
        found[peer] = sum(1 for _ in alarms(make(), live)) / len(live) * 1e6
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="runs of each drift, each of another seed")
    parser.add_argument(
        "--drifts", nargs="*", default=[""], help="beginnings of names of drifts; a name of none: no delays"
    )
    parser.add_argument("--quiet-events", type=int, default=_QUIET, help="events without a drift; 0: no false pages")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    drifts = [each for each in DRIFTS if each.startswith(tuple(chosen.drifts))]
    slow = {drift: [delays(drift, seed) for seed in range(chosen.runs)] for drift in drifts}
    quiet = {kind: false_pages(kind, 0, chosen.quiet_events) for kind in TRAFFIC if chosen.quiet_events}
    if chosen.json:
        print(json.dumps({"settings": {name: tuned(name) for name in _SETTINGS}, "delays": slow, "quiet": quiet}))
        return 0
    console = Console()
    if slow:
        console.print(_delays(slow))
        print(*(f"{name} at {tuned(name):g}" for name in _SETTINGS), sep=", ", file=sys.stderr)
    if quiet:
        console.print(_quiet(quiet))
    return 0


def median(of: list[int | None]) -> str:
    """The median of delays, and how many are missed."""
    known = [math.inf if each is None else each for each in of]
    middle, missed = statistics.median_high(known), sum(map(math.isinf, known))
    return ("–" if math.isinf(middle) else f"{middle:,.0f}") + (f" ({missed} missed)" if missed else "")


def _delays(slow: dict[str, list[dict[str, int | None]]]) -> Table:
    names = list(next(iter(slow.values()))[0])
    table = Table("drift", *names, title="events until an alarm, median, one false page in 100,000 events of the model")
    for drift, runs in slow.items():
        table.add_row(drift, *(median([each[name] for each in runs]) for name in names))
    return table


def _quiet(quiet: dict[str, dict[str, float]]) -> Table:
    names = list(next(iter(quiet.values())))
    table = Table(
        "traffic", *names, title=f"alarms in a million values without a drift; promised: {_PER_VALUE * 1e6:g}"
    )
    for kind, found in quiet.items():
        table.add_row(kind, *(f"{found[name]:,.1f}" for name in names))
    return table


if __name__ == "__main__":
    sys.exit(main())
