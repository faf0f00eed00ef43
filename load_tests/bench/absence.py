"""False pages and delays of the judgement of absence, on simulated counts whose truth is known.

    nice python -m load_tests.bench.absence                          all kinds, 6 models each: some 15 minutes
    nice python -m load_tests.bench.absence --kinds restarts batch --models 2 --allowed 0.1 --json

Each model has two weeks to be learned and four to be judged at every tick, with ALLOWED false pages a month. A page
opens an incident, which is not learned; it ends as `recovered` says. Then traffic stops, halves or doubles at a random
time, and the delay until the alarm is shown beside the least possible one on independent events: bound / information.

Exit code 1: more false pages than allowed in all (95 % Poisson bound), or twice as many in a kind (p < 0.001).
Kinds marked with * are shown but not counted: nobody promises that they are quiet.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.absence import MONTH, Evidence, Kind, judge_all, recovered
from driftline.detectors.decision.rates import HOUR
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar, Traffic

DAY = 24 * HOUR
#: Weeks of a run that are learned before it is judged, and those that are judged.
LEARN, JUDGED = 2, 4
#: Seconds of a day.
_SECONDS = 86_400
# The first slot: a Monday, 00:00 UTC.
_FIRST = 1_699_228_800 // 10
# Slots after which an incident is taken for the new normal: it is learned then.
_ACCEPT = 7 * DAY
# Slots that a planted change is waited for.
_PATIENCE = 10 * DAY

Rng = np.random.Generator
Counts = Callable[[Rng, int], IntArray]


def cycle(slots: IntArray, depth: float = 0.8, weekend: float = 0.5) -> FloatArray:
    """A cycle of mean about 1 from 1 - depth at midnight to 1 + depth at noon, and `weekend` times that at weekends."""
    hours = slots / HOUR
    return (1 - depth * np.cos(2 * np.pi * hours / 24)) * np.where(hours // 24 % 7 >= 5, weekend, 1.0)


def wander(rng: Rng, n: int, deviation: float, hours: float) -> FloatArray:
    """A lognormal factor of mean 1 that forgets itself in so many hours."""
    keep, steps = math.exp(-1 / (60 * hours)), n // 6 + 1
    noise = rng.normal(0, deviation * math.sqrt(1 - keep * keep), steps)
    noise[0] = rng.normal(0, deviation)
    value = np.empty(steps)
    last = 0.0
    for step, each in enumerate(noise.tolist()):
        last = value[step] = keep * last + each
    return np.repeat(np.exp(value - deviation * deviation / 2), 6)[:n]


def poisson(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Independent events in a daily and weekly cycle."""
    return rng.poisson(a_day / DAY * cycle(np.arange(n)))


def steady(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Independent events without a cycle."""
    return rng.poisson(a_day / DAY, n)


def clumps(rng: Rng, n: int, *, a_day: float, size: float = 20.0) -> IntArray:
    """Sessions of 20 events on average, spread over a minute or two, in a cycle."""
    starts = rng.poisson(a_day / DAY / size * cycle(np.arange(n)))
    sessions = np.repeat(np.flatnonzero(starts), starts[starts > 0])
    events = np.repeat(sessions, rng.geometric(1 / size, len(sessions)))
    return np.bincount((events + rng.exponential(8, len(events)).astype(int)).clip(max=n - 1), minlength=n)


def days(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Each day has a factor of its own, a quarter more or less."""
    factor = np.repeat(np.exp(rng.normal(0, 0.25, n // DAY + 1)), DAY)[:n]
    return rng.poisson(a_day / DAY * cycle(np.arange(n)) * factor)


def unrest(rng: Rng, n: int, *, a_day: float, hours: float) -> IntArray:
    """The rate wanders by a third."""
    return rng.poisson(a_day / DAY * cycle(np.arange(n)) * wander(rng, n, 0.3, hours))


def batch(rng: Rng, n: int, *, a_day: float, minutes: float) -> IntArray:
    """All of a day's events come at night, from 2:00, up to 20 minutes early or late, a tenth more or fewer."""
    counts = np.zeros(n, np.int64)
    for day in range(n // DAY):
        begin = day * DAY + 2 * HOUR + int(rng.integers(-120, 121))
        length = max(int(minutes * 6), 1)
        counts[begin : begin + length] = rng.poisson(a_day * rng.normal(1, 0.1) / length, length)
    return counts


def on_off(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Traffic at random for 3 hours, none for half an hour on average."""
    on = np.zeros(n, np.bool_)
    at = 0
    while at < n:
        length = int(rng.exponential(3 * HOUR)) + 1
        on[at : at + length] = True
        at += length + int(rng.exponential(HOUR / 2))
    return rng.poisson(a_day / DAY * on)


def office(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Nothing at night and at weekends; mornings begin a quarter of an hour early or late."""
    at = np.arange(n)
    day, late = at // DAY, np.repeat(rng.normal(0, 90, n // DAY + 1), DAY)[:n]
    open_ = (at % DAY >= 8 * HOUR + late) & (at % DAY < 18 * HOUR + late) & (day % 7 < 5)
    return rng.poisson(a_day / DAY * 3.36 * open_)


def growth(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """A tenth more each week."""
    at = np.arange(n)
    return rng.poisson(a_day / DAY * cycle(at) * 1.1 ** (at / (7 * DAY)))


def restarts(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Producers restart four times a week: nothing for half a minute and two minutes more on average."""
    counts = poisson(rng, n, a_day=a_day)
    for at in np.flatnonzero(rng.random(n) < 4 / (7 * DAY)):
        counts[at : at + 3 + int(rng.exponential(12))] = 0
    return counts


def surges(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Five times the traffic for some ten minutes, once a day."""
    rate = a_day / DAY * cycle(np.arange(n))
    for at in np.flatnonzero(rng.random(n) < 1 / DAY):
        rate[at : at + 30 + int(rng.exponential(30))] *= 5
    return rng.poisson(rate)


def ramp(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """A new model gets from a twentieth of the traffic to all of it in three weeks."""
    at = np.arange(n)
    return rng.poisson(a_day / DAY * cycle(at) * (0.05 + 0.95 * (at / (21 * DAY)).clip(max=1)))


def clock_change(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Office hours go by local time, which goes back by an hour after the third week."""
    counts = office(rng, n + HOUR, a_day=a_day)
    change = 3 * 7 * DAY
    return np.concatenate([counts[:change], counts[change - HOUR : n - HOUR]])


def holiday(rng: Rng, n: int, *, a_day: float) -> IntArray:
    """Wednesday of the fourth week has the traffic of a third of a Sunday."""
    at = np.arange(n)
    free = (at >= 23 * DAY) & (at < 24 * DAY)
    return rng.poisson(a_day / DAY * cycle(at) * np.where(free, 0.17, 1.0))


@dataclass(frozen=True)
class Traits:
    """A kind of traffic: how it is drawn, whether quiet is promised, its calendar, whether delays are measured."""

    counts: Counts
    promised: bool = True
    calendar: Calendar = EVERY_DAY
    delays: bool = True


_HOLIDAY = ((_FIRST + 23 * DAY, _FIRST + 24 * DAY),)
_BACK = Calendar((_FIRST * 10 + 21 * _SECONDS,), (0, -3600))
RATES = {
    "10 a day": 10,
    "100 a day": 100,
    "10,000 a day": 1e4,
    "10 a second": 10 * _SECONDS,
    "10,000 a second": 1e4 * _SECONDS,
}
KINDS: dict[str, Traits] = {
    **{f"poisson, {name}": Traits(partial(poisson, a_day=rate)) for name, rate in RATES.items()},
    "steady, 10,000 a day": Traits(partial(steady, a_day=1e4)),
    "clumps, 30 a day": Traits(partial(clumps, a_day=30)),
    "clumps, 10,000 a day": Traits(partial(clumps, a_day=1e4)),
    "days, 1,000 a day": Traits(partial(days, a_day=1e3)),
    "days, 100 a second": Traits(partial(days, a_day=100 * _SECONDS)),
    "unrest of 2 hours, 10 a second": Traits(partial(unrest, a_day=10 * _SECONDS, hours=2)),
    "unrest of 2 days, 10 a second": Traits(partial(unrest, a_day=10 * _SECONDS, hours=48)),
    "batch of an hour": Traits(partial(batch, a_day=1e5, minutes=60)),
    "batch of 10 seconds": Traits(partial(batch, a_day=1e4, minutes=0)),
    "on and off, 10 a second": Traits(partial(on_off, a_day=10 * _SECONDS)),
    "office hours, 1 a second": Traits(partial(office, a_day=_SECONDS)),
    "growth, 10 a second": Traits(partial(growth, a_day=10 * _SECONDS)),
    "restarts, 100 a second": Traits(partial(restarts, a_day=100 * _SECONDS)),
    "surges, 10 a second": Traits(partial(surges, a_day=10 * _SECONDS)),
    "clock goes back, zone known": Traits(partial(clock_change, a_day=_SECONDS), calendar=_BACK, delays=False),
    "holiday in the calendar": Traits(
        partial(holiday, a_day=10 * _SECONDS), calendar=Calendar(excluded=_HOLIDAY), delays=False
    ),
    "* holiday, no calendar": Traits(partial(holiday, a_day=10 * _SECONDS), promised=False, delays=False),
    "* clock goes back, no zone": Traits(partial(clock_change, a_day=_SECONDS), promised=False, delays=False),
    "* ramp-up, 10 a second": Traits(partial(ramp, a_day=10 * _SECONDS), promised=False, delays=False),
}


@dataclass
class Watch:
    """One model, judged at every tick, with the life of its incidents."""

    allowed: float
    calendar: Calendar = EVERY_DAY
    traffic: Traffic = field(default_factory=lambda: Traffic.start(_FIRST))
    begin: int = 0
    open_since: int | None = None
    closed: list[tuple[int, int]] = field(default_factory=list)
    pages: list[Evidence] = field(default_factory=list)

    def hour(self, counts: IntArray) -> Evidence | None:
        """Take the counts (360,) of the next hour; returns the page that it raised."""
        at = np.flatnonzero(counts)
        first = self.traffic.until
        lasting = [] if self.open_since is None else [(self.open_since, sys.maxsize)]
        self.traffic = self.traffic.observe(
            first + at, counts[at], first + len(counts), calendar=self.calendar, unlearned=[*self.closed[-3:], *lasting]
        )
        if self.open_since is not None:
            self._close()
            return None
        moments = range(first + 1, self.traffic.until + 1)
        found = judge_all(self.traffic, moments, self.allowed, begin=self.begin, calendar=self.calendar)
        page = next((each for each in found if each and each.alarm), None)
        if page:
            self.pages.append(page)
            self.open_since = page.start
        return page

    def _close(self) -> None:
        assert self.open_since is not None
        now = self.traffic.until
        if now - self.pages[-1].end >= _ACCEPT:
            self.begin, self.open_since = now, None
        elif recovered(self.traffic, now, self.open_since, self.calendar):
            self.closed.append((self.open_since, now))
            self.begin, self.open_since = now, None


def run(name: str, seed: int, allowed: float) -> dict[str, Any]:
    """One model: its false pages, and the delays in slots of what is planted afterwards."""
    traits, rng = KINDS[name], np.random.default_rng([seed, *name.encode()])
    n = (LEARN + JUDGED) * 7 * DAY
    counts, others = (traits.counts(rng, n + _PATIENCE + DAY) for _ in range(2))
    watch = Watch(allowed, traits.calendar)
    for hour in counts[:n].reshape(-1, HOUR):
        watch.hour(hour)
    early = [page for page in watch.pages if page.end < _FIRST + LEARN * 7 * DAY]
    ready = watch.traffic.rates
    return {
        "kind": name,
        "seed": seed,
        "promised": allowed * JUDGED * 7 * DAY / MONTH,
        "pages": [_described(page) for page in watch.pages[len(early) :]],
        "early": [_described(page) for page in early],
        "ready": ready.ready,
        "delays": dict(_delays(watch, counts[n:], others[n:], rng)) if traits.delays else {},
    }


def _delays(watch: Watch, live: IntArray, others: IntArray, rng: Rng) -> Iterator[tuple[str, float | None]]:
    """Slots from a change at a random time of the next day to its page; None where it is missed.

    Events are thinned to none or a half, or the events of another model of this kind come on top.
    """
    at = int(rng.integers(0, DAY))
    for change, changed in (("stop", 0 * live), ("half", rng.binomial(live, 0.5)), ("double", live + others)):
        yield change, _delay(watch, np.concatenate([live[:at], changed[at:]]), at)


def _delay(watch: Watch, live: IntArray, at: int) -> float | None:
    copy = replace(watch, closed=[*watch.closed], pages=[*watch.pages])
    changed = watch.traffic.until + at
    for hour in live.reshape(-1, HOUR):
        page = copy.hour(hour)
        if page and page.end > changed:
            return page.end - changed
    return None


def _described(page: Evidence) -> str:
    when = (page.end - _FIRST) / DAY
    length = (page.end - page.start) / HOUR
    return (
        f"{page.kind.name} day {when:.2f}, {length:.2f} h, {page.seen} of {page.expected:.4g}, "
        f"{page.evidence:.1f} of {page.threshold:.1f} nats"
    )


def optimum(a_day: float, allowed: float) -> dict[str, float]:
    """Least delays in slots for independent events: the bound without SCAN, by the information of a slot."""
    rate = a_day / DAY
    bound = math.log(len(Kind) * MONTH * min(rate, 1.0) / allowed)
    nats = {"stop": 1.0, "half": 0.5 - 0.5 * math.log(2), "double": 2 * math.log(2) - 1}
    return {change: max(bound / (rate * each), 1.0) for change, each in nats.items()}


def above(count: int, mean: float) -> float:
    """P(Poisson(mean) >= count)."""
    return 1 - sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count))


def summary(results: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The runs of one kind in one row."""
    runs = [each for each in results if each["kind"] == kind]
    pages, promised = sum(len(each["pages"]) for each in runs), sum(each["promised"] for each in runs)
    row = {
        "kind": kind,
        "models": len(runs),
        "pages": pages,
        "promised": promised,
        "early": sum(len(each["early"]) for each in runs),
    }
    best = optimum(KINDS[kind].counts.keywords["a_day"], 1.0) if kind.split(",")[0] in ("poisson", "steady") else {}
    for change in ("stop", "half", "double"):
        found = [each["delays"].get(change) for each in runs if each["delays"]]
        row[change] = statistics.median([math.inf if delay is None else delay for delay in found]) if found else None
        row[f"{change} missed"] = sum(delay is None for delay in found)
        row[f"{change} least"] = best.get(change)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=[""], help="beginnings of names of kinds")
    parser.add_argument("--models", type=int, default=6, help="models of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--allowed", type=float, default=1.0, help="false pages of a model in 30 days")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    chosen = parser.parse_args()
    kinds = [kind for kind in KINDS if any(kind.startswith(each) for each in chosen.kinds)]
    results = []
    for kind, seed in product(kinds, range(chosen.first, chosen.first + chosen.models)):
        results.append(run(kind, seed, chosen.allowed))
        if chosen.json:
            print(json.dumps(results[-1]), flush=True)
    rows = [summary(results, kind) for kind in kinds]
    if not chosen.json:
        Console().print(_table(rows))
    return _verdict([row for row in rows if KINDS[row["kind"]].promised])


def _verdict(rows: list[dict[str, Any]]) -> int:
    pages, promised = sum(row["pages"] for row in rows), sum(row["promised"] for row in rows)
    print(f"{pages} false pages in all, {promised:.1f} promised", file=sys.stderr)
    worse = [row["kind"] for row in rows if above(row["pages"], 2 * row["promised"]) < 0.001]
    for kind in worse:
        print(f"{kind}: more than twice as many false pages as promised", file=sys.stderr)
    return int(bool(worse) or above(pages, promised) < 0.05)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("kind", "false pages / promised", "first weeks", "stop (least)", "half (least)", "double (least)")
    for row in rows:
        delays = [
            _shown(row[change], row[f"{change} least"], row[f"{change} missed"])
            for change in ("stop", "half", "double")
        ]
        table.add_row(row["kind"], f"{row['pages']} / {row['promised']:.1f}", str(row["early"]), *delays)
    return table


def _shown(delay: float | None, least: float | None, missed: int) -> str:
    if delay is None:
        return "–"
    shown = "missed" if math.isinf(delay) else _duration(delay)
    return shown + (f" ({_duration(least)})" if least else "") + (f", {missed} missed" if missed else "")


def _duration(slots: float) -> str:
    seconds = slots * 10
    for unit, size in (("d", _SECONDS), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
