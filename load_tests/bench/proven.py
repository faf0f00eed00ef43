"""What a proven rate of false pages costs: delays with `guarantee: proven` beside those of all other tests.

    nice python -m load_tests.bench.proven                          12 runs: some 10 minutes
    nice python -m load_tests.bench.proven --runs 3 --json
    nice python -m load_tests.bench.proven --cost                   processor time of the bets on one signal

A model has 19 signals of independent normal values and one of ten categories, a baseline of 20,000 events or of 2,000,
and one false page in 100,000 events is allowed. After 5,000 quiet events, one of its signals drifts. Both guarantees
judge the same events, in panes of 50. False pages by kind of traffic: `load_tests.bench.budget --guarantee proven`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from time import process_time
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.statistics.bets import Bets
from driftline.detectors.summaries.codes import Special
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import Guarantee, Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.judge import Judge
from driftline.stream.panes.pane import Pane, Range
from load_tests.bench.detection import RATE

#: Events of the baselines, quiet ones before the drift, those it is waited for, and of a pane.
KNOWN, BEFORE, PATIENCE, PANE = (20_000, 2000), 5000, 30_000, 50
#: Windows of which the cost is measured.
WINDOWS = 30
_REPEATED = 100
_NUMBERS, _START = 19, 1_700_000_000_000
_CATEGORIES = np.array([f"c{i}" for i in range(10)], object)
_SHARES = np.arange(1, 11) ** -0.9 / (np.arange(1, 11) ** -0.9).sum()
_NUMBER, _CATEGORY = "features.number 0", "features.category"

GUARANTEES = get_args(Guarantee)
Rng = np.random.Generator
Traffic = dict[str, Any]


def _number(change: Callable[[Rng, Any], Any]) -> tuple[str, Callable[[Rng, Any], Any]]:
    return _NUMBER, change


def _some(share: float, value: float | None) -> tuple[str, Callable[[Rng, Any], Any]]:
    return _NUMBER, lambda rng, x: np.where(rng.random(len(x)) < share, value, x)


def _three_points(rng: Rng, x: Any) -> Any:
    # Of the commonest, as many become the third as are three points of all.
    return np.where((x == "c0") & (rng.random(len(x)) < 0.03 / _SHARES[0]), "c2", x)


DRIFTS: Mapping[str, tuple[str, Callable[[Rng, Any], Any]]] = {
    **{f"mean {by} σ": _number(lambda _, x, by=by: x + by) for by in (0.1, 0.2, 0.5, 1)},  # type: ignore[misc]
    **{f"spread × {by}": _number(lambda _, x, by=by: x * by) for by in (1.2, 1.5)},  # type: ignore[misc]
    "3 points of a share": (_CATEGORY, _three_points),
    **{f"{percent} % missing": _some(percent / 100, None) for percent in (0.5, 1, 5)},
    **{f"{percent} % at one value": _some(percent / 100, 0.0) for percent in (3, 5, 10)},
}


def traffic(rng: Rng, n: int) -> Traffic:
    """n quiet events, by signal."""
    numbers = {f"features.number {i}": rng.standard_normal(n).astype(object) for i in range(_NUMBERS)}
    return {**numbers, _CATEGORY: rng.choice(_CATEGORIES, n, p=_SHARES)}


def events(of: Traffic) -> list[Event]:
    """The same as events, a second apart."""
    rows = enumerate(zip(*of.values(), strict=True))
    return [Event(str(i), _START + i * 1000, "m", None, dict(zip(of, row, strict=True))) for i, row in rows]


class Watch:
    """A judge in the middle of its traffic."""

    def __init__(self, baseline: Baseline, guarantee: str) -> None:
        rules = {"*": {"guarantee": guarantee}}
        signals = Signals.model_validate({"rules": rules})
        self.judge = Judge(baseline, ModelConfig(false_alarms_per_event=RATE, clock=PANE, signals=signals))
        self.state, self.incidents = self.judge.start(), dict[str, Incident]()

    def after(self, live: Sequence[Event]) -> Watch:
        """Another one, that has seen more events."""
        other = copy(self)
        for _ in other.named(live):
            pass
        return other

    def named(self, live: Sequence[Event]) -> Iterator[tuple[int, set[str]]]:
        """After each pane how many of the events it has seen, and the signals that its alerts name."""
        for first in range(0, len(live), PANE):
            part = live[first : first + PANE]
            run = Range(0, self.state.seen, self.state.seen + len(part))
            pane = Pane(self.judge.baseline.sketch_events(part), part[0].ts, part[-1].ts, (run,))
            self.state, self.incidents, steps = self.judge.judge(self.state, self.incidents, pane)
            yield first + len(part), {each.signal for step in steps for each in step.findings}


def delays(known: int, seed: int) -> dict[str, dict[str, int | None]]:
    """Events from each drift until an alert names it, by guarantee; None if none does."""
    rng = np.random.default_rng([seed, known])
    baseline = build_baseline(events(traffic(rng, known)), {"model": "m"}).with_derived()
    quiet, later = events(traffic(rng, BEFORE)), traffic(rng, PATIENCE)
    watches = {guarantee: Watch(baseline, guarantee).after(quiet) for guarantee in GUARANTEES}
    found: dict[str, dict[str, int | None]] = {}
    for drift, (name, change) in DRIFTS.items():
        drifted = events({**later, name: change(rng, later[name])})
        found[drift] = {
            guarantee: next((seen for seen, named in watch.after([]).named(drifted) if name in named), None)
            for guarantee, watch in watches.items()
        }
    return found


def costs() -> Iterator[tuple[str, float]]:
    """Processor time, ms, of the bets on one signal in `WINDOWS` windows."""
    rng = np.random.default_rng(0)
    for codes, ordered in ((64, True), (256, False), (1000, False)):
        even, none = np.full(codes, 1 / codes), np.zeros(len(Special))
        bets = Bets(np.concatenate([rng.multinomial(KNOWN[0], even), none])[None], codes, ordered)
        panes = rng.multinomial(PANE, even, size=WINDOWS)
        sums = np.hstack([np.cumsum(panes, axis=0)[::-1], np.zeros((WINDOWS, len(none)))])
        bets.won(sums)
        started = process_time()
        for _ in range(_REPEATED):
            bets.won(sums)
        yield f"{codes:,} {'bins' if ordered else 'categories'}", (process_time() - started) / _REPEATED * 1000


def median(of: Sequence[int | None]) -> str:
    """The median of delays, and how many are missed."""
    middle, missed = statistics.median_high([math.inf if each is None else each for each in of]), of.count(None)
    return ("–" if math.isinf(middle) else f"{middle:,.0f}") + (f" ({missed} missed)" if missed else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="runs, each of another seed")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    parser.add_argument("--cost", action="store_true", help="print the processor time of the bets on one signal")
    chosen = parser.parse_args()
    if chosen.cost:
        for signal, ms in costs():
            print(f"{signal}, {WINDOWS} windows: {ms:.2f} ms")
        return 0
    results: dict[int, list[dict[str, dict[str, int | None]]]] = {known: [] for known in KNOWN}
    for known, runs in results.items():
        for seed in range(chosen.runs):
            runs.append(delays(known, seed))
            if chosen.json:
                print(json.dumps({"known": known, "seed": seed, "delays": runs[-1]}), flush=True)
    if not chosen.json:
        columns = [(known, guarantee) for known in KNOWN for guarantee in GUARANTEES]
        title = "events until an alarm, median, one false page in 100,000 events of the model"
        shown = Table("drift", *(f"{known:,} rows, {guarantee}" for known, guarantee in columns), title=title)
        for drift in DRIFTS:
            shown.add_row(drift, *(median([run[drift][own] for run in results[known]]) for known, own in columns))
        Console().print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
