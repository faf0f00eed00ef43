"""Events a second, end to end, on one topic that is already filled; ratios within one run.

    python load_tests/throughput.py                                   20 features, 1 model, one process, Kafka
    python load_tests/throughput.py --features 5 20 100 --models 1 10 1000 --processes 1 2
    python load_tests/throughput.py --broker embedded --events 200000 --json

What is measured:

    bare     aiokafka's `getmany` in a loop, nothing done with the records
    worker   `driftline worker`: sketch, seal, publish panes, judge, commit to Redis (panes of 1000 events)
    river    a Faust agent as written by hand: orjson, one River ADWIN per feature, the detectors pickled to Redis
    kswin    the same with a River KSWIN beside each ADWIN

The hand-written agents see fewer events (--by-hand), for they take minutes where the others take seconds. Processor
time is that of the measured processes, without broker and Redis; all of them share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer
from kafka import KafkaProducer
from rich.console import Console
from rich.table import Table

from load_tests.servers import apache_kafka, real_redis
from stream.baseline import build_baseline
from stream.config import parse_config
from stream.embedded import embedded_broker, free_port
from stream.messages import decode_event
from stream.topics import ensure_topics, open_admin, wanted_topics

START_MS = 1_767_225_600_000  # 2026-01-01
# Seconds after which a measurement counts as hung: the slowest, KSWIN on 100 features, does 40 events a second.
_PATIENCE = 900.0


@dataclass(frozen=True)
class Case:
    """One filled topic. events: in it; by_hand: how many of them the hand-written agents are measured on."""

    features: int
    models: int
    partitions: int
    events: int
    by_hand: int


@dataclass(frozen=True)
class Measured:
    """seconds: from the first record to the last; cpu: seconds of processor time of the measured processes."""

    events: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def messages(case: Case, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Key (the model) and value of `count` events, four significant digits a feature, one event a millisecond."""
    rng = np.random.default_rng(1)
    for first in range(0, count, 10_000):
        rows = np.round(rng.normal(size=(min(10_000, count - first), case.features)), 4).tolist()
        for i, row in enumerate(rows, first):
            model = f"model-{i % case.models}"
            features = {f"feature_{j}": value for j, value in enumerate(row)}
            event = {"id": f"event-{i}", "ts": START_MS + i, "model": model, "features": features, "score": row[0]}
            yield model.encode(), json.dumps(event, separators=(",", ":")).encode()


def configuration(case: Case, directory: Path, broker: str, redis: str, http: int, group: str, real: bool) -> Path:
    """A worker's configuration file, with a baseline for each model beside it."""
    baseline = directory / f"baseline-{case.features}.driftline"
    models = []
    sample = [decode_event(value) for _, value in messages(Case(case.features, 1, 1, 0, 0), 5_000)]
    for i in range(case.models):
        path = baseline.with_suffix(f".{i}.driftline")
        if not path.exists():
            path.write_bytes(build_baseline(sample, {"model": f"model-{i}"}).to_bytes())
        models.append(f'  "model-{i}": {{baseline: "{path}"}}')
    text = f"""
kafka: {{bootstrap: "{broker}", idempotent: {str(real).lower()}}}
redis: {{url: "redis://{redis}/0"}}
topics: {{predictions: {topic(case)}, panes: panes-{group}, alerts: alerts-{group}, partitions: {case.partitions}}}
panes: {{events: 1000, seconds: 600}}
worker: {{group: {group}, http: "127.0.0.1:{http}", session_seconds: 10}}
models:
{chr(10).join(models)}
"""
    path = directory / f"{group}-{http}.yaml"
    path.write_text(text)
    return path


def topic(case: Case) -> str:
    """The filled topic's name."""
    return f"filled-{case.features}-{case.models}-{case.partitions}"


def fill(case: Case, broker: str, config: Path) -> None:
    """Create the topics and write the events, keyed by event so that all partitions get some."""
    parsed = parse_config(config.read_text())
    with open_admin(parsed.kafka) as admin:
        ensure_topics(admin, wanted_topics(parsed.topics))
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20, batch_size=1 << 18, acks="all")
    for i, (_, value) in enumerate(messages(case, case.events)):
        producer.send(topic(case), value, partition=i % case.partitions)
    producer.flush()
    producer.close()


async def bare(case: Case, broker: str) -> Measured:
    """aiokafka's consumer alone."""
    consumer = AIOKafkaConsumer(
        topic(case), bootstrap_servers=broker, auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    try:
        seen, began, cpu = 0, 0.0, 0.0
        while seen < case.events:
            fetched = await consumer.getmany(timeout_ms=1000)
            if not began and fetched:
                began, cpu = time.perf_counter(), time.process_time()
            seen += sum(map(len, fetched.values()))
        return Measured(seen, time.perf_counter() - began, time.process_time() - cpu)
    finally:
        await consumer.stop()


def driftline(case: Case, configs: Sequence[Path], https: Sequence[int]) -> Measured:
    """Workers, from the first event sketched to the last pane judged."""
    commands = [[sys.executable, "-m", "stream.cli", "worker", "-c", str(config)] for config in configs]
    with _processes(commands) as processes:
        began, cpu = 0.0, 0.0
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            counts = [_scrape(port) for port in https]
            seen = sum(count.get("driftline_events_total", 0.0) for count in counts)
            if seen and not began:
                # What was done before the first look is left out of both.
                began, cpu, first = time.perf_counter(), _cpu(processes), seen
            if seen >= case.events and not sum(count.get("driftline_lag_records", 1.0) for count in counts):
                return Measured(int(seen - first), time.perf_counter() - began, _cpu(processes) - cpu)
            time.sleep(0.05)
    raise TimeoutError(f"the workers saw {seen} of {case.events} events")


def by_hand(case: Case, broker: str, redis: str, kswin: bool) -> Measured:
    """The hand-written Faust agent, in a process of its own; it prints its own figures."""
    arguments = [topic(case), broker, redis, str(case.features), str(case.by_hand), str(int(kswin))]
    command = [sys.executable, "-m", "load_tests.hand_written", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
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
    """Seconds of processor time of processes so far."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(case: Case, processes: int, directory: Path, broker: str, redis: str, real: bool) -> dict[str, Measured]:
    """All figures of one case, on a topic made for it."""
    https = [free_port() for _ in range(processes)]
    group = f"{topic(case)}-{processes}"
    configs = [configuration(case, directory, broker, redis, port, group, real) for port in https]
    fill(case, broker, configs[0])
    figures: dict[str, Measured] = {
        "bare": asyncio.run(bare(case, broker)),
        "worker": driftline(case, configs, https),
    }
    if case.models == 1 and processes == 1:
        hands: dict[str, Callable[[], Measured]] = {
            "river": lambda: by_hand(case, broker, redis, kswin=False),
            "kswin": lambda: by_hand(case, broker, redis, kswin=True),
        }
        figures |= {name: run() for name, run in hands.items()}
    return figures


def show(results: list[dict[str, Any]]) -> None:
    """Print all cases as one table."""
    table = Table(title="events a second; processor seconds a million events")
    sizes = ("features", "models", "processes")
    for heading in (*sizes, "bare", "worker", "worker/bare", "river", "kswin", "cpu bare", "cpu worker"):
        table.add_column(heading, justify="right")
    for each in results:
        figures = each["figures"]
        rate = {name: f"{figure['rate']:,.0f}" for name, figure in figures.items()}
        cpu = {name: f"{figure['cpu_per_million']:.1f}" for name, figure in figures.items()}
        ratio = figures["worker"]["rate"] / figures["bare"]["rate"]
        row = (each["features"], each["models"], each["processes"], rate["bare"], rate["worker"], f"{ratio:.2f}")
        table.add_row(*map(str, row), rate.get("river", ""), rate.get("kswin", ""), cpu["bare"], cpu["worker"])
    Console().print(table)


def main() -> None:
    """Parse arguments, start servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[20])
    parser.add_argument("--models", type=int, nargs="+", default=[1])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--events", type=int, default=500_000, help="events in the topic (default 500,000)")
    parser.add_argument("--by-hand", type=int, default=2_000, help="events for the hand-written agents (default 2,000)")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    results = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        start = apache_kafka if given.broker == "kafka" else embedded_broker
        broker = stack.enter_context(start(directory / "broker")).address
        redis = stack.enter_context(real_redis(directory / "redis")).address
        for features, models, processes in itertools.product(given.features, given.models, given.processes):
            case = Case(features, models, given.partitions, given.events, given.by_hand)
            figures = measure(case, processes, directory, broker, redis, given.broker == "kafka")
            plain = {
                name: {"events": each.events, "rate": each.rate, "cpu_per_million": each.cpu / each.events * 1e6}
                for name, each in figures.items()
            }
            results.append({"features": features, "models": models, "processes": processes, "figures": plain})
    print(json.dumps(results, indent=1)) if given.json else show(results)


if __name__ == "__main__":
    main()
