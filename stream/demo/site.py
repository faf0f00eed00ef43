"""The demo's deployment: embedded servers, topics, baselines, and workers as processes of their own. Edge.

All files are in one temporary directory, all servers listen on loopback and end with the process that started them.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.parser import text_string_to_metric_families

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.demo.scenario import HISTORY, LABELLED, MODEL, STOPPING, Scenario, messages
from driftline.stream.demo.servers import Server, ServerError, embedded_broker, embedded_redis, free_port
from driftline.stream.events.columns import LABEL
from driftline.stream.events.parse import parse_event
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import wanted_topics

#: Workers of the group; the last one is killed for a minute.
WORKERS = 2
# ms between two events of the history: a week in all.
_PAST_STEP = 30_000
_CONFIG = """\
# Written by `driftline demo`. All other settings have their defaults.
kafka:
  bootstrap: {broker}
  idempotent: false # the embedded broker does not know the request
redis:
  url: redis://{store}/0
defaults:
  false_alarms_per_event: 1e-8 # with 100,000 events, one demo in a thousand may send a false page
  clock: 1000 # events, a pane per partition: on a busy machine, one may lag behind the others
  incidents: # a minute stands for a day
    recovery: 1s
    cooldown: 0s
models:
  {model}:
    baseline: {model}.driftline
  {stopping}:
    baseline: {stopping}.driftline # knows how many events it has in each hour of the week
  {labelled}:
    baseline: {labelled}.driftline # knows how often the model was right
    clock: 100 # it has 20 events a second
    outcomes: {{labels: topic, slot: 10s, wait: 20s, keep: 1m}} # labels come after 3 s, which stand for days
worker:
  http: {http}
  session_seconds: 6 # the embedded broker's first join takes half of it
panes:
  seconds: 5 # messages that cannot be read are counted once the events before them have waited for as long
"""


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """Metrics of a worker. read: events. lag: records not read. partitions: of predictions. incidents: open ones."""

    read: int
    lag: int
    partitions: int
    incidents: int


@dataclass(frozen=True)
class Site:
    """The running servers and the configuration."""

    config_path: Path
    config: Config
    broker: Server
    store: Server
    workers: tuple[Server, ...]

    def metrics(self) -> list[WorkerMetrics | None]:
        """The metrics of each worker, None of one that doesn't answer. Raises ServerError if one ended by itself."""
        return [self._metrics(each) for each in self.workers]

    def _metrics(self, worker: Server) -> WorkerMetrics | None:
        if worker.process is None:
            return None
        if (code := worker.process.poll()) is not None:
            raise ServerError(f"{worker.name} ended with exit code {code}:\n{worker.log_tail()}")
        page = _get(worker.port, "/metrics")
        return _parse_metrics(page, self.config.topics.predictions) if page else None


@contextmanager
def open_site(scenario: Scenario, announce: Callable[[str], None]) -> Iterator[Site]:
    """Start everything and stop it after the block; `announce` is called with each completed step.

    Raises ServerError if a binary is missing or a server doesn't start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="driftline-demo-")))
        broker, store = embedded_broker(folder), embedded_redis(folder)
        for name, server in (("broker (Tansu, in memory)", broker), ("store (Valkey, in memory)", store)):
            stack.enter_context(server)
            announce(f"{name} on {server.address}")
        ports = [free_port() for _ in range(WORKERS)]
        path, *others = (_write_config(folder, broker, store, number, port) for number, port in enumerate(ports, 1))
        config = parse_config(path.read_text(), str(path))
        with open_admin(config.kafka) as admin:
            topics = ensure_topics(admin, wanted_topics(config.topics))
        announce(f"{len(topics)} topics, {config.topics.predictions} with {config.topics.partitions} partitions")
        _write_baselines(scenario, folder)
        announce(
            f"baselines of {HISTORY:,} earlier synthetic events, one also of the traffic of three weeks, one of labels"
        )
        paths = enumerate(zip([path, *others], ports, strict=True), 1)
        workers = tuple(_worker(number, each, port) for number, (each, port) in paths)
        for worker in workers:
            stack.enter_context(worker)
            announce(f"{worker.name}, in a process of its own, on {worker.address}")
        yield Site(path, config, broker, store, workers)


def _write_config(folder: Path, broker: Server, store: Server, number: int, port: int) -> Path:
    """The configuration of a worker; they differ in `worker.http` alone, as all are on one machine."""
    path = folder / ("driftline.yaml" if number == 1 else f"driftline-{number}.yaml")
    values = {"broker": broker.address, "store": store.address, "http": f"127.0.0.1:{port}"}
    values |= {"model": MODEL, "stopping": STOPPING, "labelled": LABELLED}
    path.write_text(_CONFIG.format(**values))
    return path


def _write_baselines(scenario: Scenario, folder: Path) -> None:
    """Write the past events to history.jsonl, and the baselines built from them."""
    first = time.time_ns() // 1_000_000 - HISTORY * _PAST_STEP
    times = [first + i * _PAST_STEP for i in range(HISTORY)]
    history = messages(scenario.history(), [f"past-{i}" for i in range(HISTORY)], times)
    (folder / "history.jsonl").write_bytes(b"\n".join(history) + b"\n")
    about = {"model": MODEL, "version": "1", "source": ["history.jsonl"], "created_by": "driftline demo"}
    events = [parse_event(message) for message in history]
    baseline = build_baseline(events, about).with_derived()
    rates = scenario.traffic(time.time_ns() // 1_000_000)
    labelled = [
        replace(event, extras={LABEL: label}) for event, label in zip(events, scenario.past_labels(), strict=True)
    ]
    others = (
        replace(baseline, about={**baseline.about, "model": STOPPING}, rates=rates),
        replace(baseline, about={**baseline.about, "model": LABELLED}, outcomes=outcomes_of(labelled)),
    )
    for each in (baseline, *others):
        (folder / f"{each.model}.driftline").write_bytes(encode_baseline(each))


def _worker(number: int, config: Path, port: int) -> Server:
    # -P: do not import a folder named `driftline` in the directory where the demo was started.
    command = [sys.executable, "-P", "-m", "driftline", "worker", "--config", str(config)]
    return Server(f"driftline worker {number}", command, port, config.parent / f"worker-{number}.log", _is_healthy)


def _is_healthy(port: int) -> bool:
    return _get(port, "/health") is not None


def _get(port: int, path: str) -> str | None:
    """A page of the worker; None without an answer. Not with urllib, which may use a proxy even for loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _parse_metrics(page: str, predictions: str) -> WorkerMetrics:
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]

    def total(name: str) -> int:
        return round(sum(each.value for each in samples if each.name == name))

    return WorkerMetrics(
        read=total("driftline_events_total"),
        lag=total("driftline_lag_records"),
        partitions=sum(
            each.name == "driftline_lag_records" and each.labels["topic"] == predictions for each in samples
        ),
        incidents=total("driftline_incidents_open"),
    )
