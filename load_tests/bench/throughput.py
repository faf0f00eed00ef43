"""Events a second, end to end, on one topic that is already filled; ratios within one run.

    python -m load_tests.bench.throughput                                   20 features, 1 model, one process, Kafka
    python -m load_tests.bench.throughput --features 5 20 100 --models 1 10 1000 --processes 1 2
    python -m load_tests.bench.throughput --broker embedded --events 200000 --json

What is measured:

    bare       aiokafka's `getmany` in a loop, one process, nothing done with the records
    worker     `driftline worker`: sketch, seal, publish panes, judge, commit to Redis
    consumer   a confluent-kafka consumer, optimised by hand: orjson, one River ADWIN per feature, a write to Redis
               every 10,000 events (`consumer_by_hand.py`)
    river      a Faust agent as a first version by hand: orjson, one River ADWIN per feature, pickled to Redis
    kswin      the same with a River KSWIN beside each ADWIN (`faust_by_hand.py`)

Bare, worker and consumer take turns, and the median of the rounds counts; each round reads the whole topic. The Faust
agents see fewer events (--by-hand), because they take minutes where the others take seconds. Programs by hand are
measured with one model and one process. Processor time is that of the measured processes, without broker and Redis;
all of them share the machine's cores, so wall-clock rates mean most as ratios. A worker that ends is an error: its last
log lines are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from kafka import KafkaProducer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from load_tests.harness.deployment import Deployment, WorkerEndedError, deploy
from load_tests.harness.load_generator import numeric_events
from load_tests.harness.measured_worker import Site, Worker, baseline_files, servers

# Seconds after which a measurement counts as hung: the slowest, KSWIN on 100 features, does 40 events a second.
_TIMEOUT = 900.0
# Seconds between two reads of a worker's metrics: one costs it a millisecond; the shortest measurement takes a second.
_INTERVAL = 0.1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """One filled topic. events: in it; by_hand: how many of them the Faust agents are measured on."""

    features: int
    models: int
    partitions: int
    events: int
    by_hand: int
    pane: int = 1000

    @property
    def topic(self) -> str:
        """The filled topic's name."""
        return f"filled-{self.features}-{self.models}-{self.partitions}"


@dataclass(frozen=True)
class Measurement:
    """seconds: from the first record to the last; cpu: seconds of processor time of the measured processes.

    up: seconds from a worker's start to its first records: it loads baselines and takes over partitions.
    """

    events: int
    seconds: float
    cpu: float
    up: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """Seconds of processor time a million events."""
        return self.cpu / self.events * 1e6


def deployed(case: Case, site: Site, directory: Path, models: dict[str, str]) -> Deployment:
    """A deployment in a new folder; it reads the case's topic in a group of its own. models: baseline files."""
    directory.mkdir()
    sections = {
        "topics": {"predictions": case.topic, "partitions": case.partitions},
        "panes": {"events": case.pane, "seconds": 600},
        "worker": {"session_seconds": 10},
        "models": {model: {"baseline": path} for model, path in models.items()},
    }
    return deploy(directory, site.broker, site.redis.address, sections)


def fill(case: Case, broker: str) -> None:
    """Write the events, in turn to each partition."""
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20, batch_size=1 << 18, acks="all")
    for i, value in enumerate(numeric_events(case.features, case.models, case.events)):
        producer.send(case.topic, value, partition=i % case.partitions)
    producer.flush()
    producer.close()


async def bare(case: Case, broker: str) -> Measurement:
    """aiokafka's consumer alone, from the end of its first fetch."""
    consumer = AIOKafkaConsumer(
        case.topic, bootstrap_servers=broker, auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    try:
        seen, first, began, cpu = 0, 0, 0.0, 0.0
        while seen < case.events:
            fetched = await consumer.getmany(timeout_ms=1000)
            seen += sum(map(len, fetched.values()))
            if seen and not began:
                first, began, cpu = seen, time.perf_counter(), time.process_time()
        return Measurement(seen - first, time.perf_counter() - began, time.process_time() - cpu)
    finally:
        await consumer.stop()


def driftline(deployment: Deployment, events: int, processes: int) -> Measurement:
    """Workers, from the first events sketched to the last pane judged.

    WorkerEndedError when one ends before that, TimeoutError when they take too long; both show what was logged last.
    """
    with ExitStack() as stack:
        started = time.perf_counter()
        workers = [Worker(stack.enter_context(deployment.worker(f"worker-{number}"))) for number in range(processes)]
        while not (first := _events(workers)):
            _wait(workers, started)
        # What was done before the first read of the metrics is left out of both.
        began, cpu = time.perf_counter(), sum(worker.cpu() for worker in workers)
        while not _done(workers, events):
            _wait(workers, started)
        seconds, spent = time.perf_counter() - began, sum(worker.cpu() for worker in workers) - cpu
        for worker in workers:
            worker.process.stop()
        return Measurement(int(events - first), seconds, spent, up=began - started)


def _events(workers: Sequence[Worker]) -> float:
    return sum(worker.metrics().get("driftline_events_total", 0.0) for worker in workers)


def _done(workers: Sequence[Worker], events: int) -> bool:
    """Whether the workers have sketched all events and judged all panes."""
    metrics = [worker.metrics() for worker in workers]
    lag = sum(each.get("driftline_lag_records", 1.0) for each in metrics)
    return not lag and sum(each.get("driftline_events_total", 0.0) for each in metrics) >= events


def _wait(workers: Sequence[Worker], started: float) -> None:
    if time.perf_counter() - started > _TIMEOUT:
        raise TimeoutError(
            f"after {_TIMEOUT:.0f} s the workers had seen {_events(workers):.0f} events; the first's log:\n"
            f"{workers[0].process.last_lines()}"
        )
    time.sleep(_INTERVAL)


def consumer_by_hand(case: Case, site: Site, directory: Path) -> Measurement:
    """The confluent-kafka consumer on the whole topic."""
    return _by_hand("consumer_by_hand", [*_addresses(case, site), str(case.features), str(case.events)], directory)


def faust_by_hand(case: Case, site: Site, directory: Path, kswin: bool) -> Measurement:
    """The Faust agent on the first events of the topic."""
    arguments = [*_addresses(case, site), str(case.features), str(case.by_hand), str(int(kswin))]
    return _by_hand("faust_by_hand", arguments, directory)


def _addresses(case: Case, site: Site) -> list[str]:
    return [case.topic, site.broker.server.address, site.redis.address]


def _by_hand(module: str, arguments: Sequence[str], directory: Path) -> Measurement:
    """A program by hand, in a process of its own; it prints its own figures. RuntimeError when it does not."""
    command = [sys.executable, "-m", f"load_tests.bench.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # Not in the checkout: Faust creates a folder where it runs.
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, cwd=directory, env=environment
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    return Measurement(**json.loads(lines[-1]))


@dataclass
class Bench:
    """Measures cases on running servers, and shows the progress."""

    site: Site
    directory: Path
    rounds: int
    progress: Progress

    def measure(self, case: Case, processes: Sequence[int]) -> list[dict[str, Any]]:
        """The results of one topic, by number of processes."""
        models = baseline_files(case.features, case.models, self.directory)
        deployed(case, self.site, self.directory / f"{case.topic}-first", models)
        self._step(f"filling {case.topic}", partial(fill, case, self.site.broker.server.address))
        return [self._measure(case, count, models) for count in processes]

    def _measure(self, case: Case, processes: int, models: dict[str, str]) -> dict[str, Any]:
        by_hand = case.models == processes == 1
        taken: dict[str, list[Measurement]] = {"bare": [], "worker": []}
        for n in range(self.rounds):
            name = f"{case.topic}-{processes}-{n}"
            deployment = deployed(case, self.site, self.directory / name, models)
            reading = bare(case, self.site.broker.server.address)
            taken["bare"].append(self._step("bare", partial(asyncio.run, reading)))
            taken["worker"].append(self._step(name, partial(driftline, deployment, case.events, processes)))
            if by_hand:
                work = partial(consumer_by_hand, case, self.site, self.directory)
                taken.setdefault("consumer", []).append(self._step("consumer", work))
        for name, kswin in (("river", False), ("kswin", True)) if by_hand and case.by_hand else ():
            taken[name] = [self._step(name, partial(faust_by_hand, case, self.site, self.directory, kswin))]
        figures = {name: _summary(each) for name, each in taken.items()}
        return {"features": case.features, "models": case.models, "processes": processes, "figures": figures}

    def _step(self, name: str, work: Callable[[], _T]) -> _T:
        """Do one measurement, named in the progress bar."""
        task = self.progress.task_ids[0]
        self.progress.update(task, description=name)
        result = work()
        self.progress.advance(task)
        return result


def _summary(taken: Sequence[Measurement]) -> dict[str, Any]:
    return {
        "events": taken[0].events,
        "rate": statistics.median(each.rate for each in taken),
        "cpu_per_million": statistics.median(each.cpu_per_million for each in taken),
        "up_seconds": statistics.median(each.up for each in taken),
        "rates": [round(each.rate) for each in taken],
        "cpus_per_million": [round(each.cpu_per_million, 2) for each in taken],
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print all cases as one table."""
    table = Table(title="events a second, and processor seconds a million events (cpu)")
    headings = ("features", "models", "processes")
    names = ("bare", "worker", "consumer", "kswin", "river")
    columns = (*headings, *names, *(f"worker / {name}" for name in names if name != "worker"))
    for heading in (*columns, *(f"cpu {name}" for name in names), "s to start"):
        table.add_column(heading, justify="right")
    for each in results:
        figures = {name: each["figures"].get(name) for name in names}
        worker = figures["worker"]
        others = [figure for name, figure in figures.items() if name != "worker"]
        table.add_row(
            *(str(each[name]) for name in headings),
            *(f"{one['rate']:,.0f}" if one else "" for one in figures.values()),
            *(f"{worker['rate'] / one['rate']:,.2f}" if one else "" for one in others),
            *(f"{one['cpu_per_million']:,.1f}" if one else "" for one in figures.values()),
            f"{worker['up_seconds']:.1f}",
        )
    Console(width=180).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[20])
    parser.add_argument("--models", type=int, nargs="+", default=[1])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the topic (default 1,000,000)")
    parser.add_argument(
        "--by-hand", type=int, default=2_000, help="events for the Faust agents, 0: none (default 2,000)"
    )
    parser.add_argument("--pane", type=int, default=1000, help="events of a model that end a pane (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (default 3)")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, start servers, measure, print."""
    given = _arguments()
    cases = [
        Case(features, models, given.partitions, given.events, given.by_hand, given.pane)
        for features, models in itertools.product(given.features, given.models)
    ]
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = stack.enter_context(servers(given.broker, directory))
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        progress.add_task("starting", total=_steps(given, cases))
        bench = Bench(site, directory, given.rounds, progress)
        try:
            for case in cases:
                results += bench.measure(case, given.processes)
        except WorkerEndedError as error:
            sys.exit(str(error))
    print(json.dumps(results, indent=1)) if given.json else show(results)


def _steps(given: argparse.Namespace, cases: Sequence[Case]) -> int:
    """Measurements to make, and topics to fill."""
    compared = sum(case.models == 1 for case in cases) if 1 in given.processes else 0
    by_hand = compared * (given.rounds + (2 if given.by_hand else 0))
    return len(cases) * (1 + 2 * given.rounds * len(given.processes)) + by_hand


if __name__ == "__main__":
    main()
