"""The time from an event on the predictions topic to the alert on the alerts topic, at a steady rate.

    python -m load_tests.bench.latency                                       1,000, 20,000 and 50,000 events/s, on Kafka
    python -m load_tests.bench.latency --rates 5000 --alerts 100 --json
    python -m load_tests.bench.latency --broker embedded --rates 2000 --alerts 5 --pane 50

One worker reads live traffic of several models; repeatedly, a feature of one of them shifts by 8 sigma, at a random
place of a pane, and shifts back. Measured for each first alert, by the broker's clock (LogAppendTime):

    noticed    from the first drifted event to the alert: the rest of the time to fill the pane, and all that follows
    decided    from the last event of the deciding pane to the alert: sketch, seal, publish, judge, commit, publish
    pane       from the first to the last event of the deciding pane: the time to fill it

The embedded broker has no LogAppendTime; there, times are those at which the producers send. The target is
p99(noticed) <= pane length + 500 ms, with the pane's length = pane · models · partitions / rate. Panes hold 250 events
below 10,000 events/s and 1000 above. Broker, Redis, worker and producer share the machine; the table shows the
rate that the producer reached. Exit code 1: a target or a drift was missed, or a false page came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from driftline.stream.codec.panes import PaneMessage, read_message
from load_tests.harness.load_generator import Appended, Plant, Traffic, fill, plants, rounds_for
from load_tests.harness.measured_worker import Site, prepare, progress, running, servers

#: Seconds that an alert may take beyond the length of a pane.
ALLOWED = 0.5
# Events/s from which panes hold 1000 events instead of 250, as the configuration advises.
_BUSY = 10_000
# Seconds before the first drift: a model's thresholds are derived at its first pane, in some tenths of a second.
_WARM = 8.0


class Firing(NamedTuple):
    """A first alert. at: epoch ms of its append. ends: the end offset of its window, by partition."""

    model: int
    at: int
    ends: Mapping[int, int]


class PaneRun(NamedTuple):
    """The offsets [start, end) of a published pane."""

    model: int
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Timing:
    """The three times of one alert in seconds, as defined at the top."""

    noticed: float
    decided: float
    pane: float


@dataclass(frozen=True)
class Spread:
    """Percentiles by nearest rank, and the largest."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The percentiles of one or more values."""
        ordered = sorted(values)
        p50, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 99))
        return cls(p50, p99, ordered[-1])


@dataclass(frozen=True)
class Result:
    """The result at one rate.

    reached: events/s sent. late: the largest delay of an event in seconds after it was due. cores: mean cores in use by
    the worker, the broker, the producer, and others on this machine. missed: drifts without an alert. false_pages:
    first alerts without a drift.
    """

    rate: float
    reached: float
    late: float
    cores: Mapping[str, float]
    pane_events: int
    pane_seconds: float
    alerts: int
    missed: int
    false_pages: int
    noticed: Spread
    decided: Spread
    pane: Spread

    @property
    def met(self) -> bool:
        """Whether the target was met, without a missed drift or a false page."""
        return self.noticed.p99 <= self.pane_seconds + ALLOWED and not self.missed and not self.false_pages


def timings(
    traffic: Traffic,
    planted: Sequence[Plant],
    appended: Sequence[Appended],
    panes: Sequence[PaneRun],
    firings: Sequence[Firing],
) -> tuple[list[Timing], int]:
    """The times of each first alert that belongs to a drift, and the number of false pages.

    panes: those of each model in the order of judging.
    """
    found: dict[Plant, Timing] = {}
    false_pages = 0
    for firing in firings:
        (decider,) = [
            pane for pane in panes if pane.model == firing.model and firing.ends.get(pane.partition) == pane.end
        ][-1:]
        until = traffic.round(decider.partition, decider.end - 1)
        begun = [plant for plant in planted if plant.model == firing.model and plant.first <= until]
        if not begun or begun[-1] in found:
            false_pages += 1
            continue
        partition, offset = traffic.place(firing.model, begun[-1].first)
        drifted = appended[partition].when(offset)
        first, last = (appended[decider.partition].when(offset) for offset in (decider.start, decider.end - 1))
        found[begun[-1]] = Timing(*(ms / 1000 for ms in (firing.at - drifted, firing.at - last, last - first)))
    return list(found.values()), false_pages


def _number(model: str) -> int:
    return int(model.removeprefix("model-"))


def _firing(record: Any) -> Firing | None:
    data = json.loads(record.value)["data"]
    if data["status"] != "firing":
        return None
    ends = {each["partition"]: each["end"] for each in data["evidence"]["signals"][0]["offsets"]}
    return Firing(_number(data["labels"]["model"]), record.timestamp, ends)


def _pane(record: Any) -> PaneRun | None:
    """The run of a pane; None for a tick."""
    message = read_message(record.value)
    return PaneRun(_number(message.model), *message.run) if isinstance(message, PaneMessage) else None


def measure(site: Site, traffic: Traffic, alerts: int, directory: Path) -> Result:
    """Measure one rate: fill the topic, wait until all panes are judged, read the alerts."""
    planted = plants(traffic, traffic.rounds(_WARM + traffic.pane_seconds), -(-alerts // traffic.models))
    rounds = rounds_for(traffic, planted)
    deployment = prepare(site, traffic, directory / f"{traffic.rate:.0f}")
    topics, kafka = deployment.config.topics, deployment.config.kafka
    with running(deployment) as worker:
        before, own = site.cores(), worker.cpu()
        with progress(rounds * traffic.models, f"{traffic.rate:,.0f} events/s") as on_progress:
            filled = asyncio.run(fill(traffic, planted, rounds, kafka, topics.predictions, on_progress))
        cores, own = site.cores().since(before, filled.seconds), (worker.cpu() - own) / filled.seconds
        worker.process.wait_for(lambda: worker.read_all(filled.events))
    # A model's panes lie in one partition, and were judged in the order of their offsets.
    panes = [each for record in deployment.read(topics.panes) if (each := _pane(record)) is not None]
    firings = [each for record in deployment.read(topics.alerts) if (each := _firing(record)) is not None]
    timed, false_pages = timings(traffic, planted, filled.appended, panes, firings)
    if not timed:
        raise RuntimeError(f"{len(planted)} drifts raised no alert")
    spreads = {each.name: Spread.of(getattr(timing, each.name) for timing in timed) for each in fields(Timing)}
    return Result(
        rate=traffic.rate,
        reached=filled.events / filled.seconds,
        late=filled.late,
        cores={
            "worker": own,
            "broker": cores.broker,
            "producer": cores.producer,
            "others": cores.everything - cores.broker - cores.redis - cores.producer - own,
        },
        pane_events=traffic.pane,
        pane_seconds=traffic.pane_seconds,
        alerts=len(timed),
        missed=len(planted) - len(timed),
        false_pages=false_pages,
        **spreads,
    )


def show(results: Sequence[Result]) -> None:
    """Print the results as a table."""
    table = Table(title="seconds from append to alert, p50 / p99 / max; cores of worker, broker, producer, others")
    for heading in ("events/s", "reached", "pane", "alerts", "noticed", "limit", "decided", "cores", ""):
        table.add_column(heading, justify="right")
    for each in results:
        table.add_row(
            f"{each.rate:,.0f}",
            f"{each.reached:,.0f}",
            f"{each.pane_seconds:.2f}",
            f"{each.alerts} of {each.alerts + each.missed}",
            _spread(each.noticed),
            f"{each.pane_seconds + ALLOWED:.2f}",
            _spread(each.decided),
            " ".join(f"{cores:.2f}" for cores in each.cores.values()),
            "met" if each.met else "missed",
        )
    Console().print(table)


def _spread(spread: Spread) -> str:
    return " / ".join(f"{seconds:.2f}" for seconds in (spread.p50, spread.p99, spread.max))


def _plain(result: Result) -> dict[str, Any]:
    """A result as JSON, in which false pages keep their former key `stray`."""
    plain = asdict(result)
    plain["stray"] = plain.pop("false_pages")
    return {**plain, "met": result.met}


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[1_000, 20_000, 50_000], help="events/s")
    parser.add_argument("--alerts", type=int, default=60, help="drifts to plant at each rate (default 60)")
    parser.add_argument("--models", type=int, default=5, help="models that share the traffic (default 5)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--pane", type=int, help="events a pane (default 250 below 10,000 events/s, else 1000)")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, start servers, measure, print."""
    given, results = _arguments(), []
    with tempfile.TemporaryDirectory() as folder, servers(given.broker, Path(folder)) as site:
        for rate in given.rates:
            pane = given.pane or (250 if rate < _BUSY else 1000)
            traffic = Traffic(rate, given.models, given.partitions, given.features, pane)
            results.append(measure(site, traffic, given.alerts, Path(folder)))
    plain = [_plain(each) for each in results]
    print(json.dumps(plain, indent=1)) if given.json else show(results)
    sys.exit(not all(each.met for each in results))


if __name__ == "__main__":
    main()
