"""False pages beside those promised, by kind of traffic, length of the baseline and rate: the budget in one command.

    nice python -m load_tests.bench.budget                                    the whole table: some two hours
    nice python -m load_tests.bench.budget --seeds 1 --json                   a line of JSON for each run
    nice python -m load_tests.bench.budget --kinds ar --rates 1e-5 --rows 10000 --tests
    nice python -m load_tests.bench.budget --kinds day week --rates 1e-5      traffic with cycles
    nice python -m load_tests.bench.budget --order shuffled --kinds normal ar sess --rates 1e-5 --rows 10000

A run is a model of 20 signals of one kind, without any drift: its first events are the baseline, and what follows is
judged in panes of 250 by all of the judge, with slopes, single bins, the smooth test and incidents, until as many pages
are promised as `--promised` says. What is judged comes in stretches of 50,000 events that do not depend on each other.
Every rate judges the same traffic, the lower ones more of it.

Traffic with cycles has 8,640 events a day, baselines of some days, panes of 240 events, stretches of 6 days or a week.

With `--order shuffled` the rows of the baseline come in a random order, as in most training sets, with times that do
not say so; with `--order unstated` they are built as unordered. With `--order learned --rows 5000` a model without a
baseline file learns one of its first 5,000 events, as it does by default.

With `--shift 1 --since 2500` the first signal, of numbers, is 1 σ higher from its 2,500th event on, and the table has
the events until it is found, by run.

    nice python -m load_tests.bench.budget --order unstated --kinds ar --rates 1e-5 --promised 0.5 --shift 1

With `--guarantee proven` all signals are judged by bets alone.

Beside the ratio of pages to promised ones of each cell stands its interval (95 %, Poisson). `open` is the share of the
panes in which an incident is open. Exit code 1: more pages than promised in all cells of a rate together (95 %), or
more than twice as many in a cell (p < 0.001).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Final, get_args

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from driftline.detectors.arrays import FloatArray
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import FORMAT_VERSION
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import Guarantee, SignalRule, Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.warm_up import learned_from
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from load_tests.bench.absence import above
from load_tests.bench.detection import DAY, ar, values
from load_tests.bench.poisson import interval

#: Signals of a model, lengths of a baseline in rows and in days, and rates that the table has.
SIGNALS: Final = 20
ROWS: Final = (10_000, 50_000)
DAYS: Final = (6, 21)
RATES: Final = (1e-5, 1e-6)
# Events of a stretch without cycles; ms from event to event; 2026-01-05, a Monday.
_STRETCH, _STEP, _START = 50_000, 86_400_000 // DAY, 1_767_571_200_000

Rng = np.random.Generator
Result = dict[str, Any]


def _as_is(kind: str) -> Callable[[Rng, int], FloatArray]:
    return lambda rng, n: values(kind, rng, n, 0.0)


# n values, NaN where missing; of shares, numbers of categories. Cut from one series, since a recursion takes its time.
KINDS: Mapping[str, Callable[[Rng, int], FloatArray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.random(n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "Pareto 1.5": lambda rng, n: rng.pareto(1.5, n),
    "few values": lambda rng, n: rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.08, 0.02]).astype(float),
    "many values": lambda rng, n: np.floor(3 * rng.lognormal(sigma=1.2, size=n)),
    "zeros, 60 %": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(size=n)),
    "shares": lambda rng, n: rng.choice(10, n, p=_zipf(10)).astype(float),
    "1,000, Zipf": lambda rng, n: rng.choice(1000, n, p=_zipf(1000)).astype(float),
    "300, alike": lambda rng, n: rng.integers(300, size=n).astype(float),
    "100,000, Zipf": lambda rng, n: rng.choice(100_000, n, p=_zipf(100_000)).astype(float),
    "missing, 2 %": lambda rng, n: np.where(rng.random(n) < 0.02, np.nan, rng.standard_normal(n)),
    "ar 0.8": lambda rng, n: ar(rng, n, 0.8),
    "ar 0.95": lambda rng, n: ar(rng, n, 0.95),
    "sessions of 20": _as_is("sessions"),
    "shares in sessions": _as_is("categories in sessions"),
}
# As `detection.values` knows them: each signal has a turn of its own.
CYCLIC: Mapping[str, str] = {
    "day: level": "level",
    "day: spread": "spread",
    "day: missing": "missing",
    "day: share": "share",
    "day: evening that moves": "evening that moves",
    "week": "week",
}
# The texts that a kind of numbers stands for.
_TEXTS: Mapping[str, Sequence[str]] = {
    kind: [f"c{i}" for i in range(most)]
    for most, kinds in (
        (10, ("shares", "shares in sessions", "day: share")),
        (300, ("300, alike",)),
        (1000, ("1,000, Zipf",)),
        (100_000, ("100,000, Zipf",)),
    )
    for kind in kinds
}
# What the rows of a baseline say of the order in time.
_ORDERS = ("kept", "learned", "shuffled", "unstated")


def _zipf(categories: int) -> FloatArray:
    shares = np.arange(1, categories + 1) ** -0.9
    return np.asarray(shares / shares.sum())


@dataclass(eq=False)
class Judged:
    """What a rate has shown so far."""

    rate: float
    monitor: Monitor
    state: ModelState = field(default_factory=ModelState)
    pages: int = 0
    panes: int = 0
    events: int = 0
    found: int | None = None
    open: int = 0
    tests: Counter[str] = field(default_factory=Counter)

    def judge(self, pane: Pane[Sketch], since: int) -> None:
        """One more pane. since: the first event of the first signal's change."""
        self.state, steps = self.monitor.judge(self.state, pane)
        self.panes += 1
        self.events += pane.content.n
        named = {each.signal for step in steps if step.status is not Status.RESOLVED for each in step.findings}
        if self.found is None and self.events > since and _name(0) in named:
            self.found = self.events - since
        self.open += any(each.reported for each in self.state.incidents.values())
        for step in (each for each in steps if each.status is Status.FIRING):
            self.pages += 1
            self.tests.update(each.test.statistic for each in step.findings)


@dataclass(frozen=True, eq=False)
class Model:
    """A model of signals of one kind, and its traffic."""

    kind: str
    rows: int
    seed: int
    order: str = "kept"
    shift: float = 0.0
    since: int = 0
    guarantee: Guarantee = "measured"

    @property
    def pane(self) -> int:
        """Events of a pane."""
        return 240 if self.kind in CYCLIC else 250

    @property
    def stretch(self) -> int:
        """Events of a stretch, a whole number of panes and of cycles."""
        return 7 * DAY if self.kind == "week" else 6 * DAY if self.kind in CYCLIC else _STRETCH

    @cached_property
    def _turns(self) -> FloatArray:
        """Part of a day by which the cycle of each signal is shifted (S,)."""
        return self._rng.random(SIGNALS)

    @cached_property
    def _rng(self) -> Rng:
        return np.random.default_rng([self.seed, self.rows, *self.kind.encode()])

    def _values(self, n: int) -> FloatArray:
        """The next n events (n, S), of traffic with cycles from a midnight on."""
        if self.kind in CYCLIC:
            return np.column_stack([values(CYCLIC[self.kind], self._rng, n, turn) for turn in self._turns])
        return KINDS[self.kind](self._rng, n * SIGNALS).reshape(SIGNALS, n).T

    @cached_property
    def baseline(self) -> Baseline:
        """The baseline of its first events."""
        names = [*map(_name, range(SIGNALS))]
        values = self._values(self.rows)
        if self.order in ("shuffled", "unstated"):
            self._rng.shuffle(values)
        rows = enumerate(values.tolist())
        events = [
            Event(str(i), _START + i * _STEP, "m", None, dict(zip(names, map(self._value, row), strict=True)))
            for i, row in rows
        ]
        if self.order == "learned":
            return learned_from(events, "m", ModelConfig(), Limits(), FORMAT_VERSION, apart=True)
        settings = BuildSettings(timezone="UTC", ordered=self.order != "unstated")
        return build_baseline(events, {"model": "m"}, settings).with_derived()

    def _value(self, value: float) -> float | str | None:
        if self.kind in _TEXTS:
            return _TEXTS[self.kind][int(value)]
        return None if math.isnan(value) else value

    def panes(self, events: int) -> Iterator[Pane[Sketch]]:
        """Panes of what follows the baseline."""
        layout = self.baseline.layout
        # A signal whose first rows are missing comes after the others, and groups of rare values after all texts.
        places = [int((signal.groups_of or signal.name)[-2:]) for signal in layout.signals]
        names = _TEXTS.get(self.kind)
        columns_of = layout.encode(np.empty((len(names), 0)), [names] * SIGNALS) if names else None
        if (watched := len(self.baseline.fields)) != SIGNALS:
            raise ValueError(f"the baseline of {self.kind!r} watches {watched} of {SIGNALS} signals")
        for first in range(0, events, self.stretch):
            each = self._values(self.stretch)
            if self.shift:
                each[max(self.since - first, 0) :, 0] += self.shift * np.nanstd(each[:, 0])
            each = each[:, places]
            if columns_of is None:
                columns, numbers = layout.encode(each, []), each
            else:
                columns, numbers = columns_of[each.astype(np.int64), np.arange(len(places))], np.empty((len(each), 0))
            for at in range(0, min(self.stretch, events - first), self.pane):
                part, offset = slice(at, at + self.pane), first + at
                yield _pane(layout.sketch(columns[part], numbers[part]), offset, self.rows)

    def judge(self, rates: Sequence[float], promised: float, advance: Callable[[int], Any]) -> Iterator[Result]:
        """What each of the rates, highest first, shows until `promised` pages are."""
        settings, signals = monitor_settings(), Signals(rules={"*": SignalRule(guarantee=self.guarantee)})
        configs = [ModelConfig(false_alarms_per_event=rate, signals=signals) for rate in rates]
        going = [
            Judged(rate, Monitor("m", config, self.baseline, **settings))
            for rate, config in zip(rates, configs, strict=True)
        ]
        seen = 0
        for pane in self.panes(self.needed(min(rates), promised)):
            seen += pane.content.n
            for each in going:
                each.judge(pane, self.since)
            advance(pane.content.n)
            while going and seen >= self.needed(going[0].rate, promised):
                yield self._result(going.pop(0))

    def needed(self, rate: float, promised: float) -> int:
        """The events after which `promised` pages are, in whole stretches."""
        return max(round(promised / rate / self.stretch), 1) * self.stretch

    def _result(self, found: Judged) -> Result:
        return {
            "kind": self.kind,
            "rows": self.rows,
            "rate": found.rate,
            "seed": self.seed,
            "events": found.events,
            "pages": found.pages,
            "promised": round(found.events * found.rate, 6),
            "open": round(found.open / found.panes, 5),
            "tests": dict(found.tests),
            **({"delay": found.found} if self.shift else {}),
        }


def _name(signal: int) -> str:
    return f"features.f{signal:02}"


def _pane(content: Sketch, offset: int, known: int) -> Pane[Sketch]:
    times = _START + (known + offset + np.arange(content.n)) * _STEP
    slots, counts = np.unique(times // SLOT_MS, return_counts=True)
    by_slot = tuple(zip(slots.tolist(), counts.tolist(), strict=True))
    return Pane(content, int(times[0]), int(times[-1]), (Range(0, offset, offset + content.n),), by_slot)


def baselines(kind: str, rows: Sequence[int], days: Sequence[int]) -> list[int]:
    """Rows of the baselines of a kind; of the week, five weeks, fewer than which show none."""
    return [35 * DAY] if kind == "week" else [day * DAY for day in days] if kind in CYCLIC else [*rows]


def cells(results: Sequence[Result], rate: float) -> dict[tuple[str, int], Result]:
    """The runs of a rate, summed up by kind and rows."""
    found: dict[tuple[str, int], Result] = {}
    for each in (one for one in results if one["rate"] == rate):
        cell = found.setdefault((each["kind"], each["rows"]), {"pages": 0, "promised": 0.0, "open": [], "tests": {}})
        cell["pages"] += each["pages"]
        cell["promised"] += each["promised"]
        cell["open"].append(each["open"])
        cell.setdefault("delays", []).extend([each["delay"]] if "delay" in each else [])
        cell["tests"] = dict(Counter(cell["tests"]) + Counter(each["tests"]))
    return found


def summary(results: Sequence[Result], rate: float) -> Result:
    """All cells of a rate in one row: the ratio of all, its interval, the median of the cells, and the worst one."""
    by_cell = cells(results, rate)
    pages, promised = (sum(each[key] for each in by_cell.values()) for key in ("pages", "promised"))
    worst = max(by_cell, key=lambda key: by_cell[key]["pages"] / by_cell[key]["promised"])
    return {
        "rate": rate,
        "pages": pages,
        "promised": round(promised, 1),
        "ratio": round(pages / promised, 3),
        "interval": [round(each / promised, 3) for each in interval(pages)],
        "median": round(statistics.median(each["pages"] / each["promised"] for each in by_cell.values()), 3),
        "worst": [*worst, by_cell[worst]["pages"], round(by_cell[worst]["promised"], 1)],
        "open": round(statistics.mean(each for cell in by_cell.values() for each in cell["open"]), 5),
    }


def kept(results: Sequence[Result], rate: float) -> bool:
    """Whether the promise of a rate is kept, as far as these runs tell."""
    own = summary(results, rate)
    worse = [each for each in cells(results, rate).values() if above(each["pages"], 2 * each["promised"]) < 0.001]
    return not worse and above(own["pages"], own["promised"]) >= 0.05


def tables(results: Sequence[Result], rate: float, *, tests: bool) -> Iterator[Table]:
    """The cells of a rate: a row a kind, and a table for all kinds with baselines of the same lengths."""
    by_cell, own = cells(results, rate), summary(results, rate)
    low, high = own["interval"]
    title: str | None = (
        f"{rate:g} an event: {own['pages']} / {own['promised']} = {own['ratio']} ({low} to {high}), "
        f"median {own['median']}, worst {own['worst']}, open {own['open']:.2%}"
    )
    lengths = {kind: tuple(sorted(rows for each, rows in by_cell if each == kind)) for kind, _ in by_cell}
    for rows in dict.fromkeys(lengths.values()):
        shown = Table("traffic", *(f"{each:,} rows: pages / promised (95 %)" for each in rows), title=title)
        for kind in (each for each, own_rows in lengths.items() if own_rows == rows):
            shown.add_row(kind, *(_shown(by_cell[kind, each], tests=tests) for each in rows))
        yield shown
        title = None


def _shown(cell: Result, *, tests: bool) -> str:
    low, high = (each / cell["promised"] for each in interval(cell["pages"]))
    if cell["delays"]:
        return ", ".join("missed" if each is None else f"{each:,}" for each in cell["delays"])
    ratio = f"{cell['pages']} / {cell['promised']:.1f} ({low:.2f} to {high:.2f})"
    return f"{ratio} {cell['tests']}" if tests else ratio


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=[""], help="beginnings of names of kinds")
    parser.add_argument("--rows", nargs="*", type=int, default=[*ROWS], help="events of the baselines")
    parser.add_argument("--days", nargs="*", type=int, default=[*DAYS], help="of the baselines of days")
    parser.add_argument("--order", choices=_ORDERS, default="kept", help="of the rows of the baselines")
    parser.add_argument("--shift", type=float, default=0.0, help="of the first signal, in σ")
    parser.add_argument("--since", type=int, default=0, help="first event of the shift")
    parser.add_argument("--guarantee", choices=get_args(Guarantee), default="measured", help="of all signals")
    parser.add_argument("--rates", nargs="*", type=float, default=[*RATES], help="false pages an event")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind and length")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--promised", type=float, default=2.0, help="pages promised in each run")
    parser.add_argument("--tests", action="store_true", help="say which tests paged")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, then each rate")
    return parser.parse_args()


def main() -> int:
    """Parse arguments, simulate, print."""
    chosen = _arguments()
    kinds = [kind for kind in (*KINDS, *CYCLIC) if any(kind.startswith(each) for each in chosen.kinds)]
    rates, seeds = sorted(chosen.rates, reverse=True), range(chosen.first, chosen.first + chosen.seeds)
    lengths = {kind: baselines(kind, chosen.rows, chosen.days) for kind in kinds}
    runs = [
        Model(kind, rows, seed, chosen.order, chosen.shift, chosen.since, chosen.guarantee)
        for seed, kind in product(seeds, kinds)
        for rows in lengths[kind]
    ]
    results = list[Result]()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        task = progress.add_task("", total=sum(model.needed(rates[-1], chosen.promised) for model in runs))
        for model in runs:
            progress.update(task, description=f"{model.kind}, {model.rows:,} rows, seed {model.seed}")
            for each in model.judge(rates, chosen.promised, lambda events: progress.advance(task, events)):
                results.append(each)
                if chosen.json:
                    print(json.dumps(each), flush=True)
    for rate in rates:
        if chosen.json:
            print(json.dumps(summary(results, rate)))
        else:
            Console().print(*tables(results, rate, tests=chosen.tests))
    return int(not all(kept(results, rate) for rate in rates))


if __name__ == "__main__":
    sys.exit(main())
