"""A worker under load, measured from outside: its metrics, memory, processor time and open files.

with servers("kafka", directory) as site:
    deployment = prepare(site, traffic, directory)
    with running(deployment) as worker:
        print(worker.metrics()["driftline_events_total"], worker.rss(), worker.files())
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server, embedded_broker
from driftline.stream.events.parse import parse_event
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import wanted_topics
from load_tests.harness.deployment import Broker, Deployment, WorkerProcess, deploy
from load_tests.harness.load_generator import Traffic, fill, sample
from load_tests.harness.servers import apache_kafka, real_redis

Kind = Literal["kafka", "embedded"]


@dataclass(frozen=True)
class Site:
    """Running servers."""

    broker: Broker
    redis: Server

    def cores(self) -> Cores:
        """Seconds of processor time used so far."""
        with open("/proc/stat") as stat:
            ticks = [int(each) for each in stat.readline().split()[1:]]
        idle = ticks[3] + ticks[4]
        return Cores(cpu(self.broker.server), cpu(self.redis), sum(os.times()[:2]), (sum(ticks[:8]) - idle) / _TICKS)


@dataclass(frozen=True)
class Cores:
    """Processor time of broker, Redis, this process (the producer) and the whole machine, in seconds or cores."""

    broker: float
    redis: float
    producer: float
    everything: float

    def since(self, earlier: Cores, seconds: float) -> Cores:
        """Mean cores in use since an earlier measurement, `seconds` ago."""
        pairs = zip(vars(self).values(), vars(earlier).values(), strict=True)
        return Cores(*((now - then) / seconds for now, then in pairs))


_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Worker:
    """A worker's process, measured from outside."""

    process: WorkerProcess

    def metrics(self) -> dict[str, float]:
        """The values of /metrics, summed over labels; {} if it does not answer. Raises WorkerEndedError."""
        self.process.check_running()
        try:
            body = self.process.get("/metrics").body
        except OSError:  # it is busy or about to end; the next call shows which
            return {}
        found: dict[str, float] = {}
        for line in body.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name.partition("{")[0]] = found.get(name.partition("{")[0], 0.0) + float(value)
        return found

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return _cpu(self.process.process.pid)

    def rss(self) -> int:
        """Resident bytes."""
        return int(self._proc("statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(self._proc("fd")))

    def read_all(self, events: int) -> bool:
        """Whether it has sketched `events` events and judged their panes."""
        seen = self.metrics()
        return seen.get("driftline_events_total", 0) >= events and not seen.get("driftline_lag_records", 1)

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.process.pid}/{name}")


@contextmanager
def servers(kind: Kind, directory: Path) -> Iterator[Site]:
    """Run a broker and a Redis in `directory`."""
    start = apache_kafka if kind == "kafka" else embedded_broker
    with start(directory / "broker") as broker, real_redis(directory / "redis") as redis:
        yield Site(Broker(broker, idempotent=kind == "kafka"), redis)


def prepare(site: Site, traffic: Traffic, directory: Path, settings: Mapping[str, str] | None = None) -> Deployment:
    """Write configuration and baselines for this traffic into `directory`, and create the topics.

    settings: of the predictions topic on Kafka. Kafka stamps records with its own clock as it appends them, which the
    embedded broker cannot do.
    """
    directory.mkdir()
    sections = {
        "topics": {"partitions": traffic.partitions},
        # Only counts end panes, so that the time to fill a pane is known.
        "panes": {"events": traffic.pane, "seconds": None},
        # Every drift and every recovery is reported, however soon after the last.
        "defaults": {"incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": {
            model: {"baseline": path}
            for model, path in baseline_files(traffic.features, traffic.models, directory).items()
        },
    }
    deployment = deploy(directory, site.broker, site.redis.address, sections, topics=False)
    topics = deployment.config.topics
    own = {topics.predictions: settings or {}} if site.broker.idempotent else {}
    stamped = {"message.timestamp.type": "LogAppendTime"} if site.broker.idempotent else {}
    with open_admin(deployment.config.kafka) as admin:
        ensure_topics(
            admin,
            [
                replace(each, settings={**each.settings, **stamped, **own.get(each.name, {})})
                for each in wanted_topics(topics)
            ],
        )
    return deployment


@contextmanager
def running(deployment: Deployment) -> Iterator[Worker]:
    """Run a worker, from the assignment of its partitions on."""
    with deployment.worker() as process:
        worker = Worker(process)
        process.wait_for(lambda: "driftline_lag_records" in worker.metrics())
        yield worker
        process.stop()


@dataclass(frozen=True)
class Drained:
    """The speed of a worker on a filled topic. rate: events/s. cpu_us: microseconds of its processor time an event."""

    rate: float
    cpu_us: float


def drain(site: Site, traffic: Traffic, events: int, directory: Path) -> Drained:
    """Measure how fast a worker reads a filled topic, from the first metrics to the last pane judged."""
    deployment = prepare(site, traffic, directory)
    config, rounds = deployment.config, events // traffic.models
    with progress(events, "filling") as on_progress:
        asyncio.run(fill(traffic, [], rounds, config.kafka, config.topics.predictions, on_progress))
    with running(deployment) as worker:
        worker.process.wait_for(lambda: worker.metrics().get("driftline_events_total"))
        began, cpu, first = time.monotonic(), worker.cpu(), worker.metrics()["driftline_events_total"]
        worker.process.wait_for(lambda: worker.read_all(rounds * traffic.models))
        read, seconds = rounds * traffic.models - first, time.monotonic() - began
        return Drained(read / seconds, (worker.cpu() - cpu) / read * 1e6)


def baselines(features: int, models: int) -> list[Baseline]:
    """A baseline for each model, built from the events that it will receive."""
    one = build_baseline([parse_event(value) for value in sample(features)], {"model": "model-0"})
    return [replace(one, about={**one.about, "model": f"model-{i}"}) for i in range(models)]


def cpu(server: Server) -> float:
    """Seconds of processor time that a server has used so far."""
    return _cpu(server.process.pid) if server.process else 0.0


@contextmanager
def progress(total: float, what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, as a function of the amount done so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=int(total))
        yield lambda done: bar.update(task, completed=int(done))


def baseline_files(features: int, models: int, directory: Path) -> dict[str, str]:
    """Write a baseline for each model; the paths by model."""
    files = {}
    for each in baselines(features, models):
        path = directory / f"{each.model}.driftline"
        path.write_bytes(encode_baseline(each))
        files[each.model] = str(path)
    return files


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
