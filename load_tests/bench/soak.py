"""A worker at half of its full load for 20 minutes, and a check that nothing grows.

    python -m load_tests.bench.soak                                          20 minutes, on Kafka
    python -m load_tests.bench.soak --minutes 2 --rate 5000 --plot soak.png --json
    python -m load_tests.bench.soak --broker embedded --minutes 0.5 --rate 2000

First the full load is measured: how fast the worker reads a filled topic. Then the worker gets half of that as live
traffic of several models, which drift and recover from time to time, so that incidents, the outbox and the alerts topic
are in use. Every 5 s these are measured from outside:

    resident memory and open files of the worker, records not yet read, memory of Redis, keys in Redis

After the warm-up (the first fifth), growth over the rest is the median slope between the means of twenty sections, with
a 95 % confidence interval. A quantity fails when the upper end of its interval exceeds the allowed growth: 2 % of the
level, and what the exponential histogram needs by design, 4 more buckets a model for each doubling of its history; a
second's records of lag; one file; one key. A key of Redis fails, too, if it has no time to live and is of no kind in
`stream/state/store.py`, or of no partition or model of the configuration. Exit code 1: something failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import redis as sync_redis
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes

from driftline.detectors.summaries.layout import Layout
from driftline.stream.config.sections import Config
from load_tests.harness.deployment import Deployment
from load_tests.harness.load_generator import CYCLE, Traffic, fill, plants, rounds_for
from load_tests.harness.measured_worker import Site, Worker, baselines, drain, prepare, progress, running, servers

# Seconds between two samples; each requests a page of metrics and lists some dozen keys.
_EVERY = 5.0
# The share of the soak that counts as warm-up: caches, pools and the first buckets of the histograms fill.
_WARM = 0.2
# Points that the line is fitted to: means of this many sections, since neighbouring samples are not independent.
_POINTS = 20
# The share of its level by which memory may grow: less is hidden by the noise of 20 minutes, twice as much would hide a
# leak of 1 kB an alert.
_ALLOWED = 0.02
# Events to measure the full load, some 5 s of work.
_FULL = 400_000
# Bytes a partition that Kafka keeps: the disk is not tested.
_KEPT = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}
# Buckets that a row of the histogram keeps, see `stream.judge.state`; each doubling of a model's history adds as many.
_BUCKETS = 4
# Redis's allocator (jemalloc) has four sizes between two powers of two, so a value takes up to a quarter more.
_SIZE_CLASS = 1.25


class Sample(NamedTuple):
    """One sample. seconds: since the traffic began; rss, redis: bytes; lag: records."""

    seconds: float
    rss: int
    files: int
    lag: int
    redis: int
    keys: int
    events: int


@dataclass(frozen=True)
class Trend:
    """A quantity after the warm-up: its mean, and its growth with the ends of the 95 % interval."""

    mean: float
    growth: float
    low: float
    high: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it does not grow by more than allowed."""
        return self.high <= self.allowed

    @classmethod
    def of(cls, seconds: Sequence[float], values: Sequence[float], allowed: float) -> Trend:
        """The trend of three or more values."""
        points = min(_POINTS, len(values))
        x, y = (np.array([part.mean() for part in np.array_split(each, points)]) for each in (seconds, values))
        # The median of all slopes between two points (Theil 1950, Sen 1968): an allocator that takes 4 MB once is a
        # step and no leak; least squares would see a slope.
        slope, _, low, high = (float(each) * (seconds[-1] - seconds[0]) for each in theilslopes(y, x))
        return cls(float(np.mean(values)), slope, low, high, allowed)


@dataclass
class Soak:
    """Samples a worker and its Redis while events are sent."""

    worker: Worker
    store: sync_redis.Redis
    began: float
    samples: list[Sample] = field(default_factory=list)

    async def watch(self, sending: Awaitable[int]) -> int:
        """Sample every 5 s, without delaying the sender, until it has finished; the number of events that it sent."""
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(self._keep_sampling())
            sent = await sending
            sampling.cancel()
        return sent

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await asyncio.to_thread(self._sample)

    def _sample(self) -> None:
        metrics = self.worker.metrics()
        if not metrics:  # it is too busy to answer
            return
        self.samples.append(
            Sample(
                seconds=time.monotonic() - self.began,
                rss=self.worker.rss(),
                files=self.worker.files(),
                lag=int(metrics["driftline_lag_records"]),
                redis=int(self.store.info("memory")["used_memory"]),
                keys=int(self.store.dbsize()),
                events=int(metrics["driftline_events_total"]),
            )
        )


def unowned_keys(keys: Mapping[str, int], config: Config) -> list[str]:
    """Keys without time to live and without an owner. keys: all keys, with their time to live in seconds, or -1."""
    topics, parts = config.topics, range(config.topics.partitions)
    partition = "|".join(map(str, parts))
    model = "|".join(map(re.escape, config.models))
    judge = rf"\{{judge/{re.escape(topics.panes)}/({partition})\}}"
    owned = re.compile(
        rf"{re.escape(config.worker.group)}:"
        rf"(\{{sketch/{re.escape(topics.predictions)}/({partition})\}}"
        rf"|{judge}(:models|:seen|:outbox|:open|:told|:(model|timeline):({model}))?|learned(:({model}))?|forgotten|bound)"
    )
    return sorted(key for key, left in keys.items() if left == -1 and not owned.fullmatch(key))


def bucket_bytes(layout: Layout, count_bytes: int) -> int:
    """Bytes of a histogram's bucket: a count a column; a numeric signal's two sums and two extremes take 8 each."""
    return count_bytes * layout.width + 32 * len(layout.numeric)


def trends(samples: Sequence[Sample], rate: float, models: int, layout: Layout) -> dict[str, Trend]:
    """The trends of all quantities that must not grow, after the warm-up. layout: that of each model."""
    warm = [each for each in samples if each.seconds >= samples[-1].seconds * _WARM]
    buckets = models * _BUCKETS * math.log2(warm[-1].events / max(warm[0].events, 1))
    # A count takes 8 bytes in memory and, in a bucket of many events, up to 4 in Redis.
    allowed: dict[str, Callable[[float], float]] = {
        "rss": lambda mean: _ALLOWED * mean + buckets * bucket_bytes(layout, 8),
        "redis": lambda mean: _ALLOWED * mean + buckets * bucket_bytes(layout, 4) * _SIZE_CLASS,
        "lag": lambda _: rate,
        "files": lambda _: 1.0,
        "keys": lambda _: 1.0,
    }
    seconds = [each.seconds for each in warm]
    values = {name: [float(getattr(each, name)) for each in warm] for name in allowed}
    return {name: Trend.of(seconds, each, allowed[name](float(np.mean(each)))) for name, each in values.items()}


async def _send(deployment: Deployment, traffic: Traffic, rounds: int) -> int:
    """Fill the predictions topic, with drifts after the first tenth; the number of events sent."""
    calm = rounds // 10
    planted = plants(traffic, calm, round((rounds - calm) / (CYCLE * traffic.pane_rounds)))
    rounds = max(rounds, rounds_for(traffic, planted))
    config = deployment.config
    with progress(rounds * traffic.models, f"{traffic.rate:,.0f} events/s") as on_progress:
        return (await fill(traffic, planted, rounds, config.kafka, config.topics.predictions, on_progress)).events


def soak(site: Site, traffic: Traffic, seconds: float, directory: Path) -> dict[str, Any]:
    """Send traffic for `seconds`; all figures."""
    deployment = prepare(site, traffic, directory / "soak", _KEPT)
    with deployment.store as store:
        store.flushdb()  # removes what the measurement of the full load left
    with running(deployment) as worker, deployment.store as store:
        soaked, cpu = Soak(worker, store, time.monotonic()), worker.cpu()
        events = asyncio.run(soaked.watch(_send(deployment, traffic, traffic.rounds(seconds))))
        cores = (worker.cpu() - cpu) / (time.monotonic() - soaked.began)
        worker.process.wait_for(lambda: worker.read_all(events))
        keys = {key.decode(): int(store.ttl(key)) for key in store.scan_iter(count=1000)}
    layout = baselines(traffic.features, 1)[0].layout
    return {
        "rate": traffic.rate,
        "minutes": seconds / 60,
        "events": events,
        "alerts": len(deployment.read(deployment.config.topics.alerts)),
        "cores": cores,
        "keys": sorted(keys),
        "strange_keys": unowned_keys(keys, deployment.config),
        "trends": trends(soaked.samples, traffic.rate, traffic.models, layout),
        "looks": soaked.samples,
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the trends as a table."""
    title = (
        f"{result['minutes']:g} minutes at {result['rate']:,.0f} events/s: {result['events']:,} events, "
        f"{result['alerts']:,} alerts, {result['cores']:.2f} cores"
    )
    table = Table(title=title)
    for heading in ("", "mean", "growth", "95 % interval", "allowed", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for name, trend in result["trends"].items():
        scale, unit = (1e6, " MB") if name in ("rss", "redis") else (1, "")
        mean, growth, low, high, allowed = (f"{each / scale:,.2f}{unit}" for each in asdict(trend).values())
        table.add_row(name, mean, growth, f"{low} … {high}", allowed, "flat" if trend.flat else "grows")
    Console().print(table)
    Console().print(f"{len(result['keys'])} keys in Redis; keys without an owner: {result['strange_keys'] or 'none'}")


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Save a figure of memory and lag over time as PNG."""
    import matplotlib.pyplot as plt  # an extra; only plots need it

    minutes = [each.seconds / 60 for each in result["looks"]]
    figure, axes = plt.subplots(3, 1, figsize=(7, 6), sharex=True, layout="constrained")
    panels = (("rss", 1e6, "worker, MB resident"), ("redis", 1e6, "Redis, MB used"), ("lag", 1, "records not yet read"))
    for axis, (name, scale, label) in zip(axes, panels, strict=True):
        values = [getattr(each, name) / scale for each in result["looks"]]
        axis.plot(minutes, values, lw=1)
        axis.set_ylabel(label)
        axis.set_ylim(0, 1.1 * max(values) or 1)
        axis.grid(alpha=0.3)
    axes[0].set_title(f"{result['rate']:,.0f} events/s")
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=80)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, help="events/s (default: half of the full load, measured first)")
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--pane", type=int, default=1000, help="events a pane (default 1000)")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="memory and lag over time")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, start servers, soak, print."""
    given = _arguments()
    shape = (given.models, given.partitions, given.features, given.pane)
    with tempfile.TemporaryDirectory() as folder, servers(given.broker, Path(folder)) as site:
        full = None if given.rate else drain(site, Traffic(1e6, *shape), _FULL, Path(folder) / "full").rate
        traffic = Traffic(given.rate or (full or 0) / 2, *shape)
        result = {"full_load": full, **soak(site, traffic, given.minutes * 60, Path(folder))}
    if given.plot:
        plot(result, given.plot)
    if given.json:
        plain = {name: {**asdict(trend), "flat": trend.flat} for name, trend in result["trends"].items()}
        looks = [each._asdict() for each in result["looks"]]
        print(json.dumps({**result, "trends": plain, "looks": looks}, indent=1))
    else:
        show(result)
    sys.exit(bool(result["strange_keys"]) or not all(each.flat for each in result["trends"].values()))


if __name__ == "__main__":
    main()
