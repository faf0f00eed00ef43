"""A worker that was away: how fast it catches up with a backlog of many models, in how much memory, in which order.

    python -m load_tests.bench.backlog                          200 models with baselines, 1,000,000 events
    python -m load_tests.bench.backlog --learn 2000             models that learn from their first 2000 events
    python -m load_tests.bench.backlog --processes 2 --json

The topic is filled before a worker starts. Every tenth model drifts by 8 σ, each a while after the one before, and
recovers. The result says how long it took until every pane was judged, the most memory that a worker had, and by how
much event time an alert that a drift has begun came after one of a later drift, at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from rich.console import Console

from load_tests.harness.deployment import Deployment, WorkerEndedError, deploy
from load_tests.harness.load_generator import drifted, numeric_events
from load_tests.harness.measured_worker import Site, Worker, baseline_files, progress, servers

# Seconds after which a measurement counts as hung.
_TIMEOUT = 1800.0
# Seconds between two looks at the workers: memory grows by some MB in that time.
_INTERVAL = 0.2
# One model in this many drifts.
_DRIFTS = 10


@dataclass(frozen=True)
class Backlog:
    """What lies on the topic. learn: events of a warm-up; 0: the models have baselines."""

    models: int
    events: int
    features: int
    partitions: int
    learn: int

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Partitions and messages: in turn to each partition, for every model."""
        for i, value in enumerate(numeric_events(self.features, self.models, self.events)):
            turn, model = divmod(i, self.models)
            yield turn % self.partitions, drifted(value) if self._drifts(model, i) else value

    def _drifts(self, model: int, event: int) -> bool:
        """Whether an event is in the drift of its model: for a tenth of the log, the first from its middle on."""
        begin = 0.5 + 0.35 * model / self.models
        return model % _DRIFTS == 0 and begin <= event / self.events < begin + 0.1

    @property
    def drifting(self) -> int:
        """How many models drift."""
        return -(-self.models // _DRIFTS)


def deployed(backlog: Backlog, site: Site, directory: Path) -> Deployment:
    """The deployment of a backlog, with its topics."""
    files = {} if backlog.learn else baseline_files(backlog.features, backlog.models, directory)
    sections = {
        "topics": {"partitions": backlog.partitions},
        "defaults": {"learn_events": backlog.learn or 5000},
        "models": {model: {"baseline": path} for model, path in files.items()},
    }
    return deploy(directory, site.broker, site.redis.address, sections)


def fill(backlog: Backlog, deployment: Deployment) -> None:
    """Write all messages."""
    topic, done = deployment.config.topics.predictions, 0
    producer = KafkaProducer(bootstrap_servers=deployment.broker.server.address, linger_ms=20, batch_size=1 << 18)
    with progress(backlog.events, "filling") as on_progress:
        for partition, value in backlog.messages():
            producer.send(topic, value, partition=partition)
            done += 1
            if done % 10_000 == 0:
                on_progress(done)
    producer.flush()
    producer.close()


def catch_up(deployment: Deployment, events: int, processes: int) -> dict[str, Any]:
    """Run workers until everything is judged: seconds, events a second, most bytes of one worker, processor seconds.

    WorkerEndedError when one ends before that.
    """
    with ExitStack() as stack:
        started = time.monotonic()
        workers = [Worker(stack.enter_context(deployment.worker(f"worker-{number}"))) for number in range(processes)]
        on_progress, largest = stack.enter_context(progress(events, "catching up")), 0
        while not _done(workers, events, on_progress):
            if time.monotonic() - started > _TIMEOUT:
                raise TimeoutError(f"not caught up after {_TIMEOUT:.0f} s\n{workers[0].process.last_lines()}")
            largest = max([largest, *(worker.rss() for worker in workers)])
            time.sleep(_INTERVAL)
        seconds = time.monotonic() - started
        figures = {"seconds": seconds, "rate": events / seconds, "largest_rss": largest}
        return {**figures, "cpu_seconds": sum(worker.cpu() for worker in workers)}


def _done(workers: Sequence[Worker], events: int, on_progress: Any) -> bool:
    metrics = [worker.metrics() for worker in workers]
    read = sum(each.get("driftline_events_total", 0.0) for each in metrics)
    on_progress(read)
    # A worker that has been assigned no partition yet shows no lag.
    return read >= events and not sum(each.get("driftline_lag_records", 0.0) for each in metrics)


def late_by(alerts: Sequence[dict[str, Any]]) -> float:
    """The most seconds of event time by which a drift was reported after one that began later."""
    newest, worst = float("-inf"), 0.0
    for alert in alerts:
        if alert["data"]["status"] == "firing":
            begun = datetime.fromisoformat(alert["data"]["starts_at"]).timestamp()
            worst, newest = max(worst, newest - begun), max(newest, begun)
    return worst


def in_turn(alerts: Sequence[dict[str, Any]]) -> bool:
    """Whether the alerts of each model came in their order."""
    last: dict[str, int] = {}
    for alert in alerts:
        model, seq = alert["data"]["component"], alert["data"]["seq"]
        if seq <= last.get(model, 0):
            return False
        last[model] = seq
    return True


def published(deployment: Deployment) -> list[dict[str, Any]]:
    """All alerts, in the order in which Kafka was given them."""
    records = sorted(deployment.read(deployment.config.topics.alerts), key=lambda each: each.timestamp)
    return [json.loads(each.value) for each in records]


def measure(backlog: Backlog, site: Site, directory: Path, processes: int) -> dict[str, Any]:
    """Fill the topic, catch up, and compare the alerts with what was planted."""
    deployment = deployed(backlog, site, directory)
    fill(backlog, deployment)
    figures = catch_up(deployment, backlog.events, processes)
    alerts = published(deployment)
    reported = {each["data"]["component"] for each in alerts if each["data"]["status"] == "firing"}
    return {
        **vars(backlog),
        "processes": processes,
        **figures,
        "drifting_models": backlog.drifting,
        "reported_models": len(reported),
        "alerts": len(alerts),
        "models_in_turn": in_turn(alerts),
        "late_by_seconds": late_by(alerts),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures, a line each."""
    console = Console()
    console.print(f"{result['events']:,} events of {result['models']} models: caught up in {result['seconds']:.0f} s")
    console.print(f"{result['rate']:,.0f} events a second, {result['cpu_seconds']:.0f} s of processor time")
    console.print(f"at most {result['largest_rss'] / 2**20:,.0f} MiB in one worker")
    console.print(f"{result['reported_models']} of {result['drifting_models']} drifting models reported")
    console.print(f"alerts of each model in order: {'yes' if result['models_in_turn'] else 'NO'}")
    console.print(
        f"reported after a drift that began later: by {result['late_by_seconds']:.1f} s of event time at most"
    )


def main() -> None:
    """Parse arguments, start servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the topic (default 1,000,000)")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--learn", type=int, default=0, help="events of a warm-up; 0: the models have baselines")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = parser.parse_args()
    backlog = Backlog(given.models, given.events, given.features, given.partitions, given.learn)
    with tempfile.TemporaryDirectory() as folder, servers(given.broker, Path(folder)) as site:
        (Path(folder) / "site").mkdir()
        try:
            result = measure(backlog, site, Path(folder) / "site", given.processes)
        except WorkerEndedError as error:
            sys.exit(str(error))
    print(json.dumps(result)) if given.json else show(result)


if __name__ == "__main__":
    main()
