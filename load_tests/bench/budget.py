"""False pages of the model's data, observed beside promised: simulated traffic through the whole replay.

    nice python -m load_tests.bench.budget                                     all kinds, 5 seeds each: some 10 minutes
    nice python -m load_tests.bench.budget --kinds normal ar --seeds 2 --json
    nice python -m load_tests.bench.budget --kinds ar sessions --rows 10000    of a short baseline

Each run has a baseline of 50,000 events and four weeks of traffic without any drift: an event each 10 s on average,
five signals, and a budget of 10 pages a week, of which nine are for the data. So much is allowed that a few runs tell
whether it is kept; one page a month takes years.

Exit code 1: more false pages than promised in all kinds of independent events together (95 % Poisson bound), or twice
as many in one of them (p < 0.001). Kinds marked with * depend on their past: they are shown, and not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.budget import Family
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.load import parse_config
from driftline.stream.events.event import Event
from driftline.stream.replay.run import as_single_partition, replay
from load_tests.bench.absence import above

#: Weeks of each run.
WEEKS = 4
BASELINE = 50_000
CONFIG = parse_config("{panes: {events: 250, seconds: null}, defaults: {false_pages: 10 per week}}")
# ms of an event on average, of an hour and a day; a day has 8640 events.
_EVENT, _HOUR, _DAY = 10_000, 3_600_000, 86_400_000
_START = 1_767_571_200_000  # 2026-01-05, a Monday
_SIGNALS = 5
_BATCH = 5000

Rng = np.random.Generator
# Values (n, S), NaN where one is missing, by times (n,) in ms since the start; the same of times by their number.
Values = Callable[[Rng, FloatArray], FloatArray]
Times = Callable[[int], FloatArray]


def steady(n: int) -> FloatArray:
    """An event each 10 s."""
    return np.arange(n) * float(_EVENT)


def office(n: int) -> FloatArray:
    """All events come from 9 to 17 on weekdays."""
    within, days = (np.arange(n) % 12_096) * 8 * _HOUR / 12_096, np.arange(n) // 12_096
    return (days // 5 * 7 + days % 5) * float(_DAY) + 9 * _HOUR + within


def growing(n: int) -> FloatArray:
    """Each event comes sooner after the last: four times as many at the end as at the start."""
    return np.cumsum(_EVENT * 1.85 * np.exp(-math.log(4) * np.arange(n) / n))


def independent(draw: Callable[[Rng, tuple[int, int]], FloatArray], rng: Rng, at: FloatArray) -> FloatArray:
    """Independent values."""
    return draw(rng, (len(at), _SIGNALS))


def missing(rng: Rng, at: FloatArray) -> FloatArray:
    """Independent normal values, of which one in fifty is missing."""
    values = rng.normal(size=(len(at), _SIGNALS))
    return np.where(rng.random(values.shape) < 0.02, np.nan, values)


def remembering(keep: float, rng: Rng, at: FloatArray) -> FloatArray:
    """AR(1) of variance 1."""
    noise = rng.normal(scale=math.sqrt(1 - keep * keep), size=(len(at), _SIGNALS))
    values, last = np.empty_like(noise), rng.normal(size=_SIGNALS)
    for i, each in enumerate(noise):
        last = values[i] = keep * last + each
    return values


def sessions(events: float, rng: Rng, at: FloatArray) -> FloatArray:
    """Normal values, each of which comes again and again for a geometric number of events, `events` on average."""
    who = np.cumsum((rng.random((len(at), _SIGNALS)) < 1 / events).astype(np.int64), axis=0)
    return np.asarray(np.take_along_axis(rng.normal(size=(int(who.max()) + 1, _SIGNALS)), who, axis=0), float)


def cyclic(depth: float, rng: Rng, at: FloatArray) -> FloatArray:
    """A normal value with a daily cycle in its level."""
    return rng.normal(size=(len(at), _SIGNALS)) + depth * np.sin(2 * np.pi * at / _DAY)[:, None]


@dataclass(frozen=True)
class Traffic:
    """Traffic without a drift. promised: whether its events are independent, as a rate per event supposes."""

    values: Values
    times: Times = steady
    promised: bool = True


_NORMAL = partial(independent, lambda rng, size: rng.normal(size=size))
KINDS: dict[str, Traffic] = {
    "normal": Traffic(_NORMAL),
    "lognormal": Traffic(partial(independent, lambda rng, size: rng.lognormal(size=size))),
    "t2": Traffic(partial(independent, lambda rng, size: rng.standard_t(2, size=size))),
    "flags, one in five": Traffic(partial(independent, lambda rng, size: (rng.random(size) < 0.2).astype(float))),
    "missing, one in fifty": Traffic(missing),
    "normal, office hours": Traffic(_NORMAL, office),
    "normal, four times as many at the end": Traffic(_NORMAL, growing),
    "ar 0.8": Traffic(partial(remembering, 0.8), promised=False),
    "ar 0.95": Traffic(partial(remembering, 0.95), promised=False),
    "daily cycle of 0.9 σ": Traffic(partial(cyclic, 0.9), promised=False),
    "sessions of 20 events": Traffic(partial(sessions, 20), promised=False),
}


def features(values: FloatArray) -> Iterator[dict[str, float | None]]:
    """The features of each event."""
    names = [f"f{s}" for s in range(values.shape[1])]
    for row in values.tolist():
        yield dict(zip(names, (None if math.isnan(each) else each for each in row), strict=True))


def messages(at: IntArray, values: FloatArray) -> Iterator[list[bytes]]:
    """Batches of messages."""
    rows = [
        orjson.dumps({"id": str(i), "ts": _START + ts, "model": "m", "features": each})
        for i, (ts, each) in enumerate(zip(at.tolist(), features(values), strict=True))
    ]
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]


def baseline_of(at: IntArray, values: FloatArray) -> Baseline:
    """The baseline of events at times (n,), ms."""
    events = [
        Event(str(i), _START + ts, "m", None, {f"features.{name}": value for name, value in each.items()})
        for i, (ts, each) in enumerate(zip(at.tolist(), features(values), strict=True))
    ]
    return build_baseline(events, {"model": "m"}, BuildSettings(timezone="UTC"))


def run(kind: str, seed: int, weeks: float = WEEKS, baseline: int = BASELINE) -> dict[str, Any]:
    """The pages of one run, and how many were promised."""
    traffic, rng = KINDS[kind], np.random.default_rng([seed, list(KINDS).index(kind)])
    live = round(weeks * 7 * _DAY / _EVENT)
    before, at = steady(baseline), traffic.times(live)
    values = traffic.values(rng, np.concatenate([before, before[-1] + _EVENT + at]))
    reference = baseline_of(before.astype(np.int64), values[:baseline])
    log = as_single_partition(messages(at.astype(np.int64), values[baseline:]))
    result = replay(CONFIG, [reference], {0: log}, lambda _: None)
    allowed = CONFIG.for_model("m").pages[Family.DATA] or 0.0
    firing = [each.data.starts_at for each in result.alerts if each.data.status.value == "firing"]
    return {
        "kind": kind,
        "seed": seed,
        "events": result.judged,
        "pages": len(firing),
        "promised": allowed * float(at[-1] - at[0]) / (30 * _DAY),
    }


def bound(count: int) -> float:
    """The largest mean of a Poisson number that is as small as `count` in 5 % of cases.

    >>> round(bound(0), 2), round(bound(10), 2)
    (3.0, 16.96)
    """
    low, high = float(count), 2.0 * count + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - above(count + 1, middle) > 0.05 else (low, middle)
    return high


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=[""], help="beginnings of names of kinds")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--weeks", type=float, default=WEEKS, help="weeks of each run")
    parser.add_argument("--rows", type=int, default=BASELINE, help="events of the baseline")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    chosen = parser.parse_args()
    kinds = [kind for kind in KINDS if any(kind.startswith(each) for each in chosen.kinds)]
    results = []
    for kind, seed in product(kinds, range(chosen.first, chosen.first + chosen.seeds)):
        results.append(run(kind, seed, chosen.weeks, chosen.rows))
        if chosen.json:
            print(json.dumps(results[-1]), flush=True)
    sums = {kind: _sum([each for each in results if each["kind"] == kind]) for kind in kinds}
    if not chosen.json:
        Console().print(_table(sums))
    return _verdict({kind: each for kind, each in sums.items() if KINDS[kind].promised})


def _sum(runs: list[dict[str, Any]]) -> tuple[int, float]:
    return sum(each["pages"] for each in runs), sum(each["promised"] for each in runs)


def _table(sums: dict[str, tuple[int, float]]) -> Table:
    table = Table("kind", "false pages / promised", "at most, of promised (95 %)")
    for kind, (pages, promised) in sums.items():
        name = kind if KINDS[kind].promised else f"{kind} *"
        table.add_row(name, f"{pages} / {promised:.1f}", f"{bound(pages) / promised:.2f}")
    return table


def _verdict(sums: dict[str, tuple[int, float]]) -> int:
    if not sums:
        return 0
    pages, promised = (sum(each) for each in zip(*sums.values(), strict=True))
    print(f"{pages} false pages of independent events, {promised:.1f} promised", file=sys.stderr)
    worse = [kind for kind, (own, mean) in sums.items() if above(own, 2 * mean) < 0.001]
    for kind in worse:
        print(f"{kind}: more than twice as many false pages as promised", file=sys.stderr)
    return int(bool(worse) or above(int(pages), promised) < 0.05)


if __name__ == "__main__":
    sys.exit(main())
