"""The demo: real servers and real workers on synthetic traffic; planted faults are compared with pages. Edge.

this process                             child processes, on loopback
┌────────────────────────────┐           ┌────────────────┐      ┌──────────────────┐
│ Scenario ─► TrafficSender ─┼─ events ─►│ broker         │◄────►│ driftline worker │
│ Screen   ◄─ AlertWatcher ◄─┼─ alerts ──│ (Tansu)        │      │  1 and 2         │◄──► store (Valkey)
│                          ◄─┼───────────┼─── /metrics ───┼──────┤                  │
│ WorkerOutage ──────────────┼───────────┼─── SIGKILL ────┼─────►│        2         │
└────────────────────────────┘           └────────────────┘      └──────────────────┘
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgspec
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.demo.scenario import BLOCK, OUTAGE, RATE, Phase, Scenario
from driftline.stream.demo.screen import Screen, print_invitation, print_verdict
from driftline.stream.demo.servers import Server, ServerError
from driftline.stream.demo.site import Site, WorkerMetrics, open_site
from driftline.stream.demo.verdict import Downtime, PlantedFault, ReceivedAlert, Verdict, compare
from driftline.stream.kafka.client import client_options
from driftline.stream.kafka.produce import Sender, open_producer

# The exit code that shells give a process ended by SIGINT.
INTERRUPTED = 130
# Events sent before the scenario's clock starts, once each worker has its partitions.
_WARM_UP_EVENTS = 5 * BLOCK
# s for that: ten for both workers to join the group, times ten for a busy machine.
_WARM_UP_TIMEOUT = 100.0
# s between two scrapes of the workers' metrics, each of which costs them 5 ms, but four times as many as the last one
# took: where a busy machine lets the answer wait for seconds, traffic goes on meanwhile.
_SCRAPE_INTERVAL, _SCRAPE_SHARE = 0.5, 4
# ms to wait for the last alerts after the last event.
_LAST_WAIT_MS = 300
_ALERTS = msgspec.json.Decoder(IncidentAlert)


@dataclass
class TrafficSender:
    """Sends a scenario's events and labels block by block.

    sent: number of events of its first model. times: when each block was sent, epoch ms, by its first event.
    """

    scenario: Scenario
    sender: Sender
    labels: Sender
    sent: int = 0
    times: dict[int, int] = field(default_factory=dict)

    def send_block(self) -> None:
        """Send the next block with the current time, keyed by event ids, so that it spreads over all partitions."""
        self.times[self.sent] = now = _now()
        number = self.sent // BLOCK
        payments = (f"payment-{index}" for index in range(self.sent, self.sent + BLOCK))
        ids = [*payments, _refund(number), f"card-{number}"]
        for id_, message in zip(ids, self.scenario.messages(number, ids, now), strict=False):
            self.sender.send(id_.encode(), message)
        for label in self.scenario.labels(number, _refund, now):
            self.labels.send(None, label)
        self.sent += BLOCK

    def planted(self) -> list[PlantedFault]:
        """The faults, all of which have begun."""
        last = self.times[self.sent - BLOCK]
        return [
            PlantedFault(fault, start, self.times[start], self.times.get(end, last), end in self.times)
            for fault, start, end in self.scenario.faults
        ]


@dataclass
class AlertWatcher:
    """Reads the alerts topic and the workers' metrics. received: all alerts so far. metrics: the latest of each."""

    site: Site
    consumer: KafkaConsumer
    received: list[ReceivedAlert] = field(default_factory=list)
    metrics: Sequence[WorkerMetrics | None] = ()
    _next_scrape: float = 0.0

    def alerts(self, sent: int, wait_ms: int = 0) -> list[ReceivedAlert]:
        """The alerts since the last call; waits up to `wait_ms` for one. sent: number of events sent so far."""
        fetched = self.consumer.poll(timeout_ms=wait_ms)
        records = [record for each in fetched.values() for record in each]
        new = [ReceivedAlert(_ALERTS.decode(record.value).data, _now(), sent) for record in records]
        self.received += new
        return new

    def scrape(self) -> Sequence[WorkerMetrics | None]:
        """The latest metrics of each worker, None of one that never answered. Raises ServerError if one has ended."""
        began = time.monotonic()
        if began >= self._next_scrape:
            before = self.metrics or [None] * len(self.site.workers)
            states = zip(self.site.workers, self.site.metrics(), before, strict=True)
            self.metrics = [new or (old if worker.process else None) for worker, new, old in states]
            now = time.monotonic()
            self._next_scrape = now + max(_SCRAPE_INTERVAL, _SCRAPE_SHARE * (now - began))
        return self.metrics


@dataclass
class WorkerOutage:
    """Kills the last worker in its turn, and starts it again a minute later by the wall clock. downtime: so far."""

    site: Site
    phase: Phase
    downtime: Downtime = field(default_factory=Downtime)
    _is_launched: bool = False

    def advance(self, sent: int, metrics: Sequence[WorkerMetrics | None]) -> Phase | None:
        """Do what is due after `sent` events; returns what has begun, the outage or the time after it, or None."""
        now, worker = _now(), self.site.workers[-1]
        if self.downtime.killed is None:
            return self._kill(worker, now) if sent >= self.phase.start else None
        if not self._is_launched:
            if now - self.downtime.killed >= OUTAGE.seconds * 1000:
                worker.launch()
                self._is_launched = True
        elif self.downtime.back is None and metrics and (last := metrics[-1]) and last.partitions:
            self.downtime = replace(self.downtime, back=now)
            return Phase(None, sent, sent, OUTAGE)
        return None

    def _kill(self, worker: Server, now: int) -> Phase:
        worker.kill()
        self.downtime = Downtime(now)
        return self.phase


def run(seed: int, keep: bool, console: Console) -> Verdict | None:
    """Run the demo; returns its verdict, None if it was stopped.

    Raises ServerError, KafkaUnreachableError or TopicsError if it can't run.
    """
    scenario = Scenario(seed)
    screen = Screen(console, scenario)
    screen.begin()
    try:
        with _interrupted_by_signals(), open_site(scenario, screen.done) as site, _undisturbed_cleanup():
            verdict = _play(site, scenario, screen)
            print_verdict(console, verdict)
            if keep:
                print_invitation(console, site)
                _wait_for_interrupt(site)
        return verdict
    except KeyboardInterrupt:
        console.print("stopped: servers, workers and their files are gone")
        return None


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does, with cleanup."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _undisturbed_cleanup() -> Iterator[None]:
    """Ignore Ctrl-C after the block, so that a second one does not interrupt the cleanup."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play(site: Site, scenario: Scenario, screen: Screen) -> Verdict:
    kafka, topics = site.config.kafka, site.config.topics
    with open_producer(kafka, topics.predictions) as producer, _alerts_consumer(site) as consumer:
        senders = Sender(producer, topics.predictions), Sender(producer, topics.labels)
        traffic, watcher = TrafficSender(scenario, *senders), AlertWatcher(site, consumer)
        outage = WorkerOutage(site, scenario.outage)
        _warm_up(traffic, watcher)
        screen.done(f"{len(site.workers)} workers read events")
        with screen.live():
            _send_all(traffic, watcher, outage, screen)
        return compare(traffic.planted(), outage.downtime, watcher.received)


@contextmanager
def _alerts_consumer(site: Site) -> Iterator[KafkaConsumer]:
    """A consumer of the alerts topic from its beginning, without a group."""
    consumer = KafkaConsumer(
        **client_options(site.config.kafka),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
    )
    try:
        consumer.assign([TopicPartition(site.config.topics.alerts, 0)])
        yield consumer
    finally:
        consumer.close()


def _warm_up(traffic: TrafficSender, watcher: AlertWatcher) -> None:
    """Wait until each worker has partitions, send the first events, and wait until these are read."""
    _wait(watcher, lambda each: all(worker and worker.partitions for worker in each))
    while traffic.sent < _WARM_UP_EVENTS:
        traffic.send_block()
    _wait(watcher, lambda each: sum(worker.read for worker in each if worker) >= traffic.sent)


def _wait(watcher: AlertWatcher, until: Callable[[Sequence[WorkerMetrics | None]], bool]) -> None:
    deadline = time.monotonic() + _WARM_UP_TIMEOUT
    while not until(watcher.scrape()):
        if time.monotonic() > deadline:
            logs = "\n".join(each.log_tail() for each in watcher.site.workers)
            raise ServerError(f"the workers were not ready after {_WARM_UP_TIMEOUT:.0f} s:\n{logs}")
        time.sleep(_SCRAPE_INTERVAL / 2)


def _send_all(traffic: TrafficSender, watcher: AlertWatcher, outage: WorkerOutage, screen: Screen) -> None:
    """Send the rest of the scenario at its rate, with a worker's outage, and show alerts and metrics."""
    start, news = time.monotonic() - traffic.sent / RATE, traffic.scenario.news
    while traffic.sent < traffic.scenario.events:
        wait = start + traffic.sent / RATE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        while news and news[0].start <= traffic.sent:
            screen.phase(news.pop(0))
        if changed := outage.advance(traffic.sent, watcher.scrape()):
            screen.phase(changed)
        traffic.send_block()
        _show(traffic, watcher, screen)
    _show(traffic, watcher, screen, _LAST_WAIT_MS)


def _show(traffic: TrafficSender, watcher: AlertWatcher, screen: Screen, wait_ms: int = 0) -> None:
    for alert in watcher.alerts(traffic.sent, wait_ms):
        screen.alert(alert)
    screen.show(traffic.sent, watcher.scrape())


def _wait_for_interrupt(site: Site) -> None:
    try:
        while True:
            site.metrics()
            time.sleep(_SCRAPE_INTERVAL)
    except KeyboardInterrupt:
        return


def _refund(number: int) -> str:
    """The id of the refund of a block."""
    return f"refund-{number}"


def _now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
