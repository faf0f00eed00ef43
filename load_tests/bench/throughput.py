"""Events a second, end to end, on one topic that is already filled; ratios within one run.

    python -m load_tests.bench.throughput                                   20 features, 1 model, one process, Kafka
    python -m load_tests.bench.throughput --features 5 20 100 --models 1 10 1000 --processes 1 2
    python -m load_tests.bench.throughput --broker embedded --events 200000 --json

What is measured:

    bare     aiokafka's `getmany` in a loop, one process, nothing done with the records
    worker   `driftline worker`: sketch, seal, publish panes, judge, commit to Redis
    river    a Faust agent as written by hand: orjson, one River ADWIN per feature, the detectors pickled to Redis
    kswin    the same with a River KSWIN beside each ADWIN

Bare and worker take turns, and the median of the rounds counts; each round reads the whole topic, in a group of its
own. The hand-written agents see fewer events (--by-hand), for they take minutes where the others take seconds.
Processor time is that of the measured processes, without broker and Redis; all of them share the machine's cores, so
that wall-clock rates say most by their ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from kafka import KafkaProducer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import embedded_broker, free_port
from driftline.stream.events.parse import parse_event
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import wanted_topics
from load_tests.harness.load_generator import numeric_events
from load_tests.harness.servers import apache_kafka, real_redis

# Seconds after which a measurement counts as hung: the slowest, KSWIN on 100 features, does 40 events a second.
_PATIENCE = 900.0
# Seconds between two looks at a worker's metrics: one takes it a millisecond, and the shortest measurement a second.
_LOOK = 0.1


@dataclass(frozen=True)
class Case:
    """One filled topic. events: in it; by_hand: how many of them the hand-written agents are measured on."""

    features: int
    models: int
    partitions: int
    events: int
    by_hand: int

    @property
    def topic(self) -> str:
        """The filled topic's name."""
        return f"filled-{self.features}-{self.models}-{self.partitions}"


@dataclass(frozen=True)
class Measured:
    """seconds: from the first record to the last; cpu: seconds of processor time of the measured processes.

    up: seconds from a worker's start to its first records: baselines are loaded, and partitions taken over.
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


class Bench(NamedTuple):
    """Where to measure: folder, addresses of broker and Redis, whether the broker is Kafka; events a pane."""

    directory: Path
    broker: str
    redis: str
    real: bool
    pane: int


def baselines(case: Case, directory: Path) -> list[str]:
    """Lines of a configuration's section `models`, with a baseline file for each."""
    sample = [parse_event(value) for value in numeric_events(case.features, 1, 5_000)]
    first, lines = build_baseline(sample, {"model": "model-0"}), []
    for i in range(case.models):
        path = directory / f"{case.topic}-{i}.driftline"
        path.write_bytes(encode_baseline(replace(first, about={**first.about, "model": f"model-{i}"})))
        lines.append(f'  "model-{i}": {{baseline: "{path}"}}')
    return lines


def configuration(case: Case, bench: Bench, group: str, models: Sequence[str]) -> tuple[Path, int]:
    """A worker's configuration file, and the port of its metrics; the topics that it names exist then."""
    port = free_port()
    text = f"""
kafka: {{bootstrap: "{bench.broker}", idempotent: {str(bench.real).lower()}}}
redis: {{url: "redis://{bench.redis}/0"}}
topics: {{predictions: {case.topic}, panes: panes-{group}, alerts: alerts-{group}, partitions: {case.partitions}}}
panes: {{events: {bench.pane}, seconds: 600}}
worker: {{group: {group}, http: "127.0.0.1:{port}", session_seconds: 10}}
models:
{chr(10).join(models)}
"""
    path = bench.directory / f"{group}-{port}.yaml"
    path.write_text(text)
    _make_topics(parse_config(text))
    return path, port


def _make_topics(config: Config) -> None:
    with open_admin(config.kafka) as admin:
        ensure_topics(admin, wanted_topics(config.topics))


def fill(case: Case, broker: str) -> None:
    """Write the events, in turn to each partition."""
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20, batch_size=1 << 18, acks="all")
    for i, value in enumerate(numeric_events(case.features, case.models, case.events)):
        producer.send(case.topic, value, partition=i % case.partitions)
    producer.flush()
    producer.close()


async def bare(case: Case, broker: str) -> Measured:
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
        return Measured(seen - first, time.perf_counter() - began, time.process_time() - cpu)
    finally:
        await consumer.stop()


def driftline(case: Case, workers: Sequence[tuple[Path, int]]) -> Measured:
    """Workers, from the first events sketched to the last pane judged."""
    commands = [[sys.executable, "-m", "driftline", "worker", "-c", str(config)] for config, _ in workers]
    with _processes(commands) as processes:
        started, first, began, cpu, seen = time.perf_counter(), 0.0, 0.0, 0.0, 0.0
        while time.perf_counter() - started < _PATIENCE:
            counts = [_scrape(port) for _, port in workers]
            seen = sum(count.get("driftline_events_total", 0.0) for count in counts)
            if seen and not began:
                # What was done before the first look is left out of both.
                first, began, cpu = seen, time.perf_counter(), _cpu(processes)
            if seen >= case.events and not sum(count.get("driftline_lag_records", 1.0) for count in counts):
                spent = _cpu(processes) - cpu
                return Measured(int(seen - first), time.perf_counter() - began, spent, up=began - started)
            time.sleep(_LOOK)
    raise TimeoutError(f"the workers saw {seen:.0f} of {case.events} events")


def by_hand(case: Case, bench: Bench, kswin: bool) -> Measured:
    """The hand-written Faust agent, in a process of its own; it prints its own figures."""
    arguments = [case.topic, bench.broker, bench.redis, str(case.features), str(case.by_hand), str(int(kswin))]
    command = [sys.executable, "-m", "load_tests.bench.hand_written", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(  # in a folder of the test's: Faust makes one where it runs
        command, capture_output=True, text=True, timeout=_PATIENCE, check=False, cwd=bench.directory, env=environment
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"the hand-written agent failed:\n{done.stderr[-2000:]}")
    return Measured(**json.loads(lines[-1]))


@contextmanager
def _processes(commands: Sequence[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen(each, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for each in commands]
    try:
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


def _scrape(port: int) -> dict[str, float]:
    """A worker's metrics, labels added up; {} while it does not answer."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2).read().decode()
    except OSError:
        return {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name.partition("{")[0]] = found.get(name.partition("{")[0], 0.0) + float(value)
    return found


def _cpu(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Seconds of processor time of processes so far; RuntimeError when one has ended."""
    ticks = 0
    for process in processes:
        if process.poll() is not None:
            raise RuntimeError(f"a worker ended with exit code {process.returncode}")
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(case: Case, processes: Sequence[int], rounds: int, bench: Bench, done: Progress) -> list[dict[str, Any]]:
    """The results of one topic, by number of processes."""
    models = baselines(case, bench.directory)
    configuration(case, bench, f"{case.topic}-first", models)
    _step(done, f"filling {case.topic}", lambda: fill(case, bench.broker))
    results = []
    for count in processes:
        taken: dict[str, list[Measured]] = {"bare": [], "worker": []}
        for n in range(rounds):
            group = f"{case.topic}-{count}-{n}"
            workers = [configuration(case, bench, group, models) for _ in range(count)]
            taken["bare"].append(_step(done, "bare", lambda: asyncio.run(bare(case, bench.broker))))
            taken["worker"].append(_step(done, group, lambda each=workers: driftline(case, each)))
        if case.models == count == 1:
            for name, kswin in (("river", False), ("kswin", True)):
                taken[name] = [_step(done, name, lambda with_it=kswin: by_hand(case, bench, with_it))]
        figures = {name: _summary(each) for name, each in taken.items()}
        results.append({"features": case.features, "models": case.models, "processes": count, "figures": figures})
    return results


def _step(done: Progress, name: str, work: Any) -> Any:
    """Do one measurement, and say so."""
    task = done.task_ids[0]
    done.update(task, description=name)
    result = work()
    done.advance(task)
    return result


def _summary(taken: Sequence[Measured]) -> dict[str, Any]:
    return {
        "events": taken[0].events,
        "rate": statistics.median(each.rate for each in taken),
        "cpu_per_million": statistics.median(each.cpu_per_million for each in taken),
        "up_seconds": statistics.median(each.up for each in taken),
        "rates": [round(each.rate) for each in taken],
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print all cases as one table."""
    table = Table(title="events a second (a to d), processor seconds a million events (cpu), seconds to start (up)")
    headings = ("features", "models", "processes", "a bare", "b worker", "c kswin", "d river")
    for heading in (*headings, "b/a", "b/c", "b/d", "cpu a", "cpu b", "cpu c", "cpu d", "up"):
        table.add_column(heading, justify="right")
    for each in results:
        figures = each["figures"]
        a, b, c, d = (figures.get(name) for name in ("bare", "worker", "kswin", "river"))
        sizes = [str(each[name]) for name in headings[:3]]
        rates = [f"{one['rate']:,.0f}" if one else "" for one in (a, b, c, d)]
        ratios = [f"{b['rate'] / one['rate']:,.2f}" if one else "" for one in (a, c, d)]
        costs = [f"{one['cpu_per_million']:,.1f}" if one else "" for one in (a, b, c, d)]
        table.add_row(*sizes, *rates, *ratios, *costs, f"{b['up_seconds']:.1f}")
    Console(width=160).print(table)


def main() -> None:
    """Parse arguments, start servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[20])
    parser.add_argument("--models", type=int, nargs="+", default=[1])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the topic (default 1,000,000)")
    parser.add_argument("--by-hand", type=int, default=2_000, help="events for the hand-written agents (default 2,000)")
    parser.add_argument("--pane", type=int, default=1000, help="events of a model that end a pane (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="of bare and worker; their median counts (default 3)")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    topics = list(itertools.product(given.features, given.models))
    hands = 2 * len(given.features) if 1 in given.models and 1 in given.processes else 0
    steps = len(topics) * (1 + 2 * given.rounds * len(given.processes)) + hands
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        start = apache_kafka if given.broker == "kafka" else embedded_broker
        broker = stack.enter_context(start(directory / "broker")).address
        redis = stack.enter_context(real_redis(directory / "redis")).address
        done = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        done.add_task("starting", total=steps)
        bench = Bench(directory, broker, redis, given.broker == "kafka", given.pane)
        for features, models in topics:
            case = Case(features, models, given.partitions, given.events, given.by_hand)
            results += measure(case, given.processes, given.rounds, bench, done)
    print(json.dumps(results, indent=1)) if given.json else show(results)


if __name__ == "__main__":
    main()
