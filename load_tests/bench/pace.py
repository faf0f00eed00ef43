"""False pages of a budget that is stated by time, observed beside promised: normal traffic through the whole replay.

    nice python -m load_tests.bench.pace                                   all traffic, 5 seeds each: some 5 minutes
    nice python -m load_tests.bench.pace --traffic office --seeds 2 --json

Each run has a baseline of 50,000 events and four weeks of traffic without any drift: an event each 10 s on average,
five signals, and a budget of 10 pages a week, of which nine are for the data. So much is allowed that a few runs tell
whether it is kept; one page a month takes years. `load_tests.bench.budget` has other values than normal ones.

Exit code 1: more false pages than promised in all traffic together (95 % Poisson bound), or twice as many in one kind
of it (p < 0.001).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
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
from load_tests.bench.poisson import bound

#: Weeks of each run.
WEEKS = 4
BASELINE = 50_000
CONFIG = parse_config("{panes: {events: 250, seconds: null}, defaults: {false_pages: 10 per week}}")
# ms of an event on average, of an hour and a day; a day has 8640 events.
_EVENT, _HOUR, _DAY = 10_000, 3_600_000, 86_400_000
_START = 1_767_571_200_000  # 2026-01-05, a Monday
_SIGNALS = 5
_BATCH = 5000

# Times (n,) in ms since the start by their number.
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


TRAFFIC: dict[str, Times] = {
    "steady": steady,
    "office hours": office,
    "four times as much at the end": growing,
}


def features(values: FloatArray) -> Iterator[dict[str, float]]:
    """The features of each event."""
    names = [f"f{s}" for s in range(values.shape[1])]
    for row in values.tolist():
        yield dict(zip(names, row, strict=True))


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


def run(traffic: str, seed: int, weeks: float = WEEKS, baseline: int = BASELINE) -> dict[str, Any]:
    """The pages of one run, and how many were promised."""
    rng, live = np.random.default_rng([seed, list(TRAFFIC).index(traffic)]), round(weeks * 7 * _DAY / _EVENT)
    before, at = steady(baseline), TRAFFIC[traffic](live)
    values = rng.normal(size=(baseline + live, _SIGNALS))
    reference = baseline_of(before.astype(np.int64), values[:baseline])
    log = as_single_partition(messages(at.astype(np.int64), values[baseline:]))
    result = replay(CONFIG, [reference], {0: log}, lambda _: None)
    allowed = CONFIG.for_model("m").pages[Family.DATA] or 0.0
    firing = [each.data.starts_at for each in result.alerts if each.data.status.value == "firing"]
    return {
        "traffic": traffic,
        "seed": seed,
        "events": result.judged,
        "pages": len(firing),
        "promised": allowed * float(at[-1] - at[0]) / (30 * _DAY),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traffic", nargs="*", default=[""], help="beginnings of names of traffic")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--weeks", type=float, default=WEEKS, help="weeks of each run")
    parser.add_argument("--rows", type=int, default=BASELINE, help="events of the baseline")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    chosen = parser.parse_args()
    kinds = [kind for kind in TRAFFIC if any(kind.startswith(each) for each in chosen.traffic)]
    results = []
    for kind, seed in product(kinds, range(chosen.first, chosen.first + chosen.seeds)):
        results.append(run(kind, seed, chosen.weeks, chosen.rows))
        if chosen.json:
            print(json.dumps(results[-1]), flush=True)
    sums = {kind: _sum([each for each in results if each["traffic"] == kind]) for kind in kinds}
    if not chosen.json:
        Console().print(_table(sums))
    return _verdict(sums)


def _sum(runs: list[dict[str, Any]]) -> tuple[int, float]:
    return sum(each["pages"] for each in runs), sum(each["promised"] for each in runs)


def _table(sums: dict[str, tuple[int, float]]) -> Table:
    table = Table("traffic", "false pages / promised", "at most, of promised (95 %)")
    for kind, (pages, promised) in sums.items():
        table.add_row(kind, f"{pages} / {promised:.1f}", f"{bound(pages) / promised:.2f}")
    return table


def _verdict(sums: dict[str, tuple[int, float]]) -> int:
    if not sums:
        return 0
    pages, promised = (sum(each) for each in zip(*sums.values(), strict=True))
    print(f"{pages} false pages, {promised:.1f} promised", file=sys.stderr)
    worse = [kind for kind, (own, mean) in sums.items() if above(own, 2 * mean) < 0.001]
    for kind in worse:
        print(f"{kind}: more than twice as many false pages as promised", file=sys.stderr)
    return int(bool(worse) or above(int(pages), promised) < 0.05)


if __name__ == "__main__":
    sys.exit(main())
