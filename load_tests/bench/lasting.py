"""Pages, ends and updates of one lasting drift, whose state may be restless, and how soon its end is seen.

    nice python -m load_tests.bench.lasting                     all cases, 3 seeds: some 10 minutes
    nice python -m load_tests.bench.lasting --seeds 20 --json
    nice python -m load_tests.bench.lasting --forget            as below format level 3: each end is the last
    nice python -m load_tests.bench.lasting --guarantee proven  by bets
    nice python -m load_tests.bench.lasting --second            a field is lost while another one drifts
    nice python -m load_tests.bench.lasting --together          six signals drift at once, or slowly: pages

A model of 4 signals has a baseline of 50,000 independent events, is judged in panes of 100 with one false page in
100,000 events allowed, and drifts in one signal from its 5,000th event on: first for 100,000 events (`stays`), then
for 40,000 (`ends`). An end while the drift lasts is a false one. Events come every 10 s, at weekends every minute.

Pages of the signals that do not drift come by chance, one in 100,000 events. Exit code 1: more than 1.05 pages a drift.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import Guarantee, SignalRule, Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from load_tests.bench.detection import ar

PANE, RATE, KNOWN, BEFORE, STAYS, ENDS, AFTER = 100, 1e-5, 50_000, 5000, 100_000, 40_000, 40_000
# Midnight of a Monday, epoch ms; a day and a week.
_MONDAY, _DAY, _WEEK = 1_699_833_600_000, 86_400_000, 7 * 86_400_000
# Of signals that drift together: shifts in σ, events, and events until all of a slow drift is there.
SHIFTS, TOGETHER, SLOW = (1, 0.5, 0.3, 0.2, 0.15, 0.1), 30_000, 15_000
#: Pages a drift that are allowed.
ALLOWED = 1.05

Rng = np.random.Generator
Values = np.ndarray[Any, np.dtype[np.object_]]
# The categories of a signal, and their shares.
_NAMES = np.array([f"c{i}" for i in range(10)])
_SHARES = np.arange(1, 11) ** -0.9 / (np.arange(1, 11) ** -0.9).sum()


@dataclass(frozen=True)
class Case:
    """A drift. categories: of a signal that has them. seconds: from event to event. zeros: their share, in %.

    flag: all other values are ones.
    """

    categories: bool = False
    seconds: int = 10
    zeros: float = 0.0
    flag: bool = False


CASES = {
    "unseen 0.3 %": Case(categories=True),
    "unseen 0.8 %": Case(categories=True),
    "unseen 2 %": Case(categories=True),
    "missing 0.5 %": Case(),
    "mean 0.1": Case(),
    "mean 0.5": Case(),
    "share 3 points": Case(categories=True),
    "zeros from 98 to 90 %": Case(zeros=98),
    "zeros from 99 to 95 %, else ones": Case(zeros=99, flag=True),
    "weekends, 50 % unseen": Case(categories=True, seconds=60),
    "bursts of 300, 30 % unseen": Case(categories=True),
    "swings of 1 σ a day": Case(),
    "ar 0.95 and 0.5 σ": Case(),
}


def usual(case: Case, rng: Rng, n: int) -> Values:
    """n values before a drift."""
    found = rng.choice(_NAMES, n, p=_SHARES) if case.categories else rng.standard_normal(n)
    if case.zeros:
        found = np.where(rng.random(n) < case.zeros / 100, 0.0, np.ones(n) if case.flag else found)
    return found.astype(object)


def drifted(name: str, rng: Rng, n: int, first: int) -> Values:
    """n values of a drift. first: time of its first event, epoch ms."""
    case = CASES[name]
    values, times = usual(case, rng, n), first + np.arange(n) * case.seconds * 1000
    chance = rng.random(n)
    match name.split():
        case ["unseen", percent, _]:
            values[chance < float(percent) / 100] = "new"
        case ["missing", percent, _]:
            values[chance < float(percent) / 100] = None
        case ["mean", shift]:
            values += float(shift)
        case ["zeros", _, _, _, percent, *_]:
            values = usual(replace(case, zeros=float(percent)), rng, n)
        case ["share", *_]:
            values[(values == "c0") & (chance < 0.03 / _SHARES[0])] = "c1"
        case ["weekends,", *_]:
            values[((times - _MONDAY) % _WEEK >= 5 * _DAY) & (chance < 0.5)] = "new"
        case ["bursts", *_]:  # one in some 3,000 events
            begins = np.cumsum(rng.integers(600, 5400, n // 600 + 1))
            at = np.searchsorted(begins, np.arange(n), side="right")
            since = np.arange(n) - np.concatenate([[-300], begins])[at]
            values[(since < 300) & (chance < 0.3)] = "new"
        case ["swings", *_]:
            values += np.sqrt(2) * np.sin(2 * np.pi * times / _DAY) + 0.5
        case _:
            values = (ar(rng, n, 0.95) + 0.5).astype(object)
    return values


@dataclass(frozen=True, eq=False)
class Drift:
    """A drift of some events in one signal of a model, and the usual ones before and after it. guarantee: of all."""

    name: str
    seed: int
    length: int
    after: int
    guarantee: Guarantee = "measured"

    @cached_property
    def columns(self) -> dict[str, Values]:
        """Values by signal."""
        rng, case = np.random.default_rng([self.seed, *self.name.encode()]), CASES[self.name]
        n, first = BEFORE + self.length + self.after, _MONDAY + BEFORE * case.seconds * 1000
        own = [usual(case, rng, BEFORE), drifted(self.name, rng, self.length, first), usual(case, rng, self.after)]
        others = {f"features.quiet {i}": rng.standard_normal(n).astype(object) for i in range(3)}
        return {"features.drifts": np.concatenate(own), **others}

    @cached_property
    def baseline(self) -> Baseline:
        """The model's baseline."""
        rng, case = np.random.default_rng([self.seed, 1]), CASES[self.name]
        columns = {name: usual(case if name == "features.drifts" else Case(), rng, KNOWN) for name in self.columns}
        return build_baseline(list(_events(columns, case)), {"model": "m"}).with_derived()

    def steps(self, *, remembers: bool) -> Iterator[tuple[int, Step]]:
        """The steps of its incidents, each with the events since the begin of the drift."""
        traffic = _events(self.columns, CASES[self.name])
        return judged(self.baseline, traffic, remembers=remembers, guarantee=self.guarantee)


def judged(
    baseline: Baseline, traffic: Iterator[Event], *, remembers: bool, guarantee: Guarantee = "measured"
) -> Iterator[tuple[int, Step]]:
    """The steps of the incidents of a model, each with the events since the begin of its drift."""
    signals = Signals(rules={"*": SignalRule(guarantee=guarantee)})
    config = ModelConfig(false_alarms_per_event=RATE, signals=signals)
    monitor = Monitor("m", config, baseline, **{**monitor_settings(), "remembers": remembers})
    state, events = ModelState(), list(traffic)
    for start in range(0, len(events), PANE):
        part = events[start : start + PANE]
        content, run = baseline.sketch_events(part), Range(0, start, start + len(part))
        state, steps = monitor.judge(state, Pane(content, part[0].ts, part[-1].ts, (run,)))
        yield from ((start + len(part) - BEFORE, step) for step in steps)


def _events(columns: dict[str, Values], case: Case) -> Iterator[Event]:
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        yield Event(str(i), _MONDAY + i * case.seconds * 1000, "m", None, dict(zip(columns, row, strict=True)))


def of_drift(step: Step) -> bool:
    """Whether a step is of an incident of the signal that drifts, and not of one that pages by chance."""
    found = (*step.findings, *step.incident.drifts, *step.incident.recovered)
    return any(each.signal == "features.drifts" for each in found)


def stays(
    name: str, seed: int, *, remembers: bool, length: int = STAYS, guarantee: Guarantee = "measured"
) -> dict[str, int]:
    """Pages, ends and updates of a drift that does not end; and chance, the pages of signals that do not drift."""
    every = [step for at, step in Drift(name, seed, length, 0, guarantee).steps(remembers=remembers) if at > 0]
    steps = [each for each in every if of_drift(each)]
    status = [each.status for each in steps]
    chance = sum(each.status is Status.FIRING for each in every) - status.count(Status.FIRING)
    again = sum(each.reopened for each in steps)
    ends, updates = status.count(Status.RESOLVED), status.count(Status.UPDATED) - again
    return {
        "pages": status.count(Status.FIRING),
        "ends": ends,
        "again": again,
        "updates": updates,
        "chance": chance,
    }


def seen_over(name: str, seed: int, *, remembers: bool, guarantee: Guarantee = "measured") -> int | None:
    """Events from the end of a drift until its incident is resolved for the last time; None if it is still open."""
    every = Drift(name, seed, ENDS, AFTER, guarantee).steps(remembers=remembers)
    steps = [(at, step) for at, step in every if at > 0 and of_drift(step)]
    if not steps or steps[-1][1].status is not Status.RESOLVED:
        return None
    return max(steps[-1][0] - ENDS, 0)


def lost_while_drifting(name: str, seed: int, *, remembers: bool, length: int = STAYS) -> tuple[int | None, int]:
    """Events until a page of a field that is lost in the middle of a drift of another one, and all pages of both."""
    drift, lost, at = Drift(name, seed, length, 0), "features.quiet 0", length // 2
    drift.columns[lost][BEFORE + at :] = None
    steps = [pair for pair in drift.steps(remembers=remembers) if pair[0] > 0 and pair[1].status is Status.FIRING]
    paged = (seen - at for seen, step in steps if any(each.signal == lost for each in step.findings))
    return next(paged, None), len(steps)


def pages_together(seed: int, slow_events: int, *, remembers: bool) -> int:
    """Pages of a model whose signals drift from the same event on. slow_events: until all of the drift is there."""
    rng, n = np.random.default_rng([seed, 7]), BEFORE + TOGETHER
    quiet = {f"features.{shift} σ": rng.standard_normal(KNOWN).astype(object) for shift in SHIFTS}
    baseline = build_baseline(list(_events(quiet, Case())), {"model": "m"}).with_derived()
    begun = np.clip((np.arange(n) - BEFORE) / slow_events, 0, 1)
    drifting = dict(
        zip(quiet, [(rng.standard_normal(n) + shift * begun).astype(object) for shift in SHIFTS], strict=True)
    )
    steps = judged(baseline, _events(drifting, Case()), remembers=remembers)
    return sum(step.status is Status.FIRING for _, step in steps)


def run(name: str, seeds: int, *, remembers: bool, guarantee: Guarantee) -> dict[str, Any]:
    """A case over some seeds: sums of pages, ends and updates while it lasts, and when its end was seen."""
    lasting = [stays(name, seed, remembers=remembers, guarantee=guarantee) for seed in range(seeds)]
    over = [seen_over(name, seed, remembers=remembers, guarantee=guarantee) for seed in range(seeds)]
    known = sorted(each for each in over if each is not None)
    return {
        "case": name,
        "drifts": seeds,
        **{key: sum(each[key] for each in lasting) for key in lasting[0]},
        "over": statistics.median(known) if known else None,
        "worst": known[-1] if known else None,
        "open": len(over) - len(known),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="drifts of each case")
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=[*CASES], metavar="CASE", help="only these")
    parser.add_argument("--forget", action="store_true", help="nothing is remembered of an incident after its end")
    parser.add_argument("--guarantee", choices=get_args(Guarantee), default="measured", help="of all signals")
    parser.add_argument("--second", action="store_true", help="lose a field in the middle of each drift that stays")
    parser.add_argument("--together", action="store_true", help="six signals drift at once, then slowly")
    parser.add_argument("--json", action="store_true", help="print each case as a line of JSON, when it is done")
    chosen = parser.parse_args()
    if chosen.together:
        for slow_events in (1, SLOW):
            seeds = range(chosen.seeds)
            pages = [pages_together(seed, slow_events, remembers=not chosen.forget) for seed in seeds]
            print(json.dumps({"events until all of it": slow_events, "pages": pages}))
        return 0
    if chosen.second:
        for name in chosen.cases:
            found = [lost_while_drifting(name, seed, remembers=not chosen.forget) for seed in range(chosen.seeds)]
            print(json.dumps({"case": name, "paged after": [a for a, _ in found], "pages": [b for _, b in found]}))
        return 0
    table = Table("case", "drifts", "pages", "ends", "again", "updates", "by chance", "over after", "worst", "open")
    rows = []
    for name in chosen.cases:
        rows.append(run(name, chosen.seeds, remembers=not chosen.forget, guarantee=chosen.guarantee))
        if chosen.json:
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        table.add_row(*map(str, rows[-1].values()))
    Console(file=sys.stderr).print(table)
    drifts, pages = (sum(row[key] for row in rows) for key in ("drifts", "pages"))
    return int(pages > ALLOWED * drifts)


if __name__ == "__main__":
    sys.exit(main())
