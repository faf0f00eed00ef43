"""The relay's Prometheus metrics, collected at each scrape.

Promise: a scrape only reads; names and labels stay, since dashboards and alerting rules use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.stream.ops.http import own_registry
from driftline.stream.relay.dispatcher import Dispatcher

_COUNTS = {
    "delivered": "Alerts that a receiver accepted",
    "refused": "Alerts that a receiver refused for good",
    "retried": "Failed tries after which an alert is retried",
    "dead_letters": "Records and alerts that became dead letters",
}
_GAUGES = {
    "waiting": "Alerts that wait for a receiver",
    "silenced": "Incidents held back because they are silenced",
    "grouped": "Incidents that wait for others, or are reported on another page than their own",
}


class HeartbeatState(Protocol):
    """The state of a relay: whether it is healthy, and when its last heartbeat was sent, in epoch s."""

    healthy: bool
    sent_at: float

    @property
    def dispatchers(self) -> Iterable[Dispatcher]:
        """One for each receiver."""


def registry_of(heartbeat: HeartbeatState) -> CollectorRegistry:
    """A registry with the metrics of a relay."""
    registry = own_registry()
    registry.register(_RelayCollector(heartbeat))
    return registry


class _RelayCollector(Collector):
    def __init__(self, heartbeat: HeartbeatState) -> None:
        self._heartbeat = heartbeat

    def describe(self) -> Iterable[Metric]:
        """Nothing: otherwise the registry would collect before the relay runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        dispatchers = list(self._heartbeat.dispatchers)
        for name, help in _COUNTS.items():
            counter = CounterMetricFamily(f"driftline_relay_{name}", help, labels=["target"])
            for dispatcher in dispatchers:
                counter.add_metric([dispatcher.name], dispatcher.counts[name])
            yield counter
        pending = {dispatcher.name: dispatcher.pending() for dispatcher in dispatchers}
        for name, help in _GAUGES.items():
            yield _gauge(name, help, {target: figures[name] for target, figures in pending.items()})
        oldest = {dispatcher.name: dispatcher.oldest_wait() for dispatcher in dispatchers}
        yield _gauge("oldest_waiting_seconds", "Since the first try of the alert that waits longest", oldest)
        yield GaugeMetricFamily(
            "driftline_relay_well",
            "1 while Kafka and Redis answer and every receiver accepts alerts",
            self._heartbeat.healthy,
        )
        yield GaugeMetricFamily(
            "driftline_relay_heartbeat_timestamp_seconds", "When the last heartbeat was sent", self._heartbeat.sent_at
        )


def _gauge(name: str, help: str, figures: dict[str, float]) -> Metric:
    gauge = GaugeMetricFamily(f"driftline_relay_{name}", help, labels=["target"])
    for target, figure in figures.items():
        gauge.add_metric([target], figure)
    return gauge
