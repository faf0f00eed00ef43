"""The demo: real servers and a real worker on made-up traffic; what was planted is compared with what was paged. Edge.

this process                             child processes, on loopback
┌────────────────────────────┐           ┌────────────────┐      ┌──────────────────┐
│ Scenario ──► Feed 2000/s ──┼─ events ─►│ broker         │◄────►│ driftline worker │
│ Screen   ◄── Watch       ◄─┼─ alerts ──│ (Tansu)        │      │                  │◄──► store (Valkey)
│                          ◄─┼───────────┼─── /metrics ───┼──────┤                  │
└────────────────────────────┘           └────────────────┘      └──────────────────┘
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.demo.scenario import BLOCK, RATE, Phase, Scenario, messages
from driftline.stream.demo.screen import Screen, print_invitation, print_verdict
from driftline.stream.demo.servers import ServerError
from driftline.stream.demo.site import Figures, Site, open_site
from driftline.stream.demo.verdict import Arrival, Planted, Verdict, compare
from driftline.stream.kafka.client import client_options
from driftline.stream.kafka.produce import Sender, open_producer

# What shells say of a process ended by SIGINT.
INTERRUPTED = 130
# Events fed before the clock starts: once the worker has read them, it has its partitions.
_WARM_UP = 5 * BLOCK
# s for that: two to import Faust, three to join the group. Ten times as much on a busy machine, and it never will.
_PATIENCE = 50.0
# s between two scrapes of the worker's figures, which cost it 5 ms each.
_SCRAPE = 0.5
# ms for what is still on its way at the end.
_LAST_LOOK = 300
_ALERTS = msgspec.json.Decoder(IncidentAlert)


@dataclass
class TrafficSender:
    """Sends a scenario's events, block by block. begun: the phases so far, each with its first event's time."""

    scenario: Scenario
    sender: Sender
    sent: int = 0
    started_phases: list[tuple[Phase, int]] = field(default_factory=list)

    def send_block(self) -> None:
        """Send the next block, as events of this moment, keyed by their ids: over all partitions."""
        now, phase = _now(), self.scenario.phase(self.sent)
        if self.sent == phase.start:
            self.started_phases.append((phase, now))
        ids = [f"payment-{index}" for index in range(self.sent, self.sent + BLOCK)]
        columns = self.scenario.block(self.sent // BLOCK)
        for id_, message in zip(ids, messages(columns, ids, [now] * BLOCK), strict=True):
            self.sender.send(id_.encode(), message)
        self.sent += BLOCK

    def planted(self) -> list[Planted]:
        """The faults that have come and gone."""
        return [
            Planted(phase.fault, phase.start, began, ended)
            for (phase, began), (_, ended) in pairwise(self.started_phases)
            if phase.fault
        ]


@dataclass
class AlertWatcher:
    """Sees the alerts on their topic and the worker's figures."""

    site: Site
    consumer: KafkaConsumer
    arrivals: list[Arrival] = field(default_factory=list)
    figures: Figures | None = None
    _scraped: float = 0.0

    def alerts(self, sent: int, patience: int = 0) -> list[Arrival]:
        """Those that have come since the last look, after waiting `patience` ms for one."""
        fetched = self.consumer.poll(timeout_ms=patience)
        records = [record for each in fetched.values() for record in each]
        new = [Arrival(_ALERTS.decode(record.value).data, _now(), sent) for record in records]
        self.arrivals += new
        return new

    def scrape(self) -> Figures | None:
        """The latest figures. ServerError if the worker has ended."""
        if time.monotonic() - self._scraped > _SCRAPE:
            self._scraped = time.monotonic()
            self.figures = self.site.figures() or self.figures
        return self.figures


def run(seed: int, keep: bool, console: Console) -> int:
    """Run the demo; its exit code. ServerError, KafkaUnreachableError or TopicsError if it can't run."""
    scenario = Scenario(seed)
    screen = Screen(console, scenario)
    screen.begin()
    try:
        with _ending_well(), open_site(scenario, screen.done) as site, _undisturbed_cleaning():
            verdict = _play(site, scenario, screen)
            print_verdict(console, verdict)
            if keep:
                print_invitation(console, site)
                _wait_for_interrupt(site)
        return verdict.exit_code
    except KeyboardInterrupt:
        console.print("stopped: servers, worker and their files are gone")
        return INTERRUPTED


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does, cleaning up."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _undisturbed_cleaning() -> Iterator[None]:
    """After the block, an impatient second Ctrl-C changes nothing."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play(site: Site, scenario: Scenario, screen: Screen) -> Verdict:
    kafka, topics = site.config.kafka, site.config.topics
    with open_producer(kafka, topics.predictions) as producer, _alerts_consumer(site) as consumer:
        traffic, watcher = TrafficSender(scenario, Sender(producer, topics.predictions)), AlertWatcher(site, consumer)
        _warm_up(traffic, watcher)
        screen.done("the worker reads")
        with screen.live():
            _feed_all(traffic, watcher, screen)
        return compare(traffic.planted(), watcher.arrivals)


@contextmanager
def _alerts_consumer(site: Site) -> Iterator[KafkaConsumer]:
    """A reader of the alerts topic from its beginning, in no group."""
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
    """Feed the first events and wait until the worker has read them."""
    while traffic.sent < _WARM_UP:
        traffic.send_block()
    deadline = time.monotonic() + _PATIENCE
    while (figures := watcher.scrape()) is None or figures.read < traffic.sent:
        if time.monotonic() > deadline:
            raise ServerError(f"the worker read nothing for {_PATIENCE:.0f} s:\n{watcher.site.worker.log_tail()}")
        time.sleep(_SCRAPE / 2)


def _feed_all(traffic: TrafficSender, watcher: AlertWatcher, screen: Screen) -> None:
    """Feed the rest of the scenario as time goes on, and show what comes of it."""
    start, announced = time.monotonic() - traffic.sent / RATE, 0
    while traffic.sent < traffic.scenario.events:
        wait = start + traffic.sent / RATE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        traffic.send_block()
        for phase, _ in traffic.started_phases[announced:]:
            screen.phase(phase)
        announced = len(traffic.started_phases)
        _show(traffic, watcher, screen)
    _show(traffic, watcher, screen, _LAST_LOOK)


def _show(traffic: TrafficSender, watcher: AlertWatcher, screen: Screen, patience: int = 0) -> None:
    for arrival in watcher.alerts(traffic.sent, patience):
        screen.alert(arrival)
    screen.show(traffic.sent, watcher.scrape())


def _wait_for_interrupt(site: Site) -> None:
    try:
        while True:
            site.figures()
            time.sleep(_SCRAPE)
    except KeyboardInterrupt:
        return


def _now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
