"""What a relay counts of itself, in Prometheus' words and types, collected when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.stream.relay.dispatcher import Dispatcher

_COUNTS = {
    "delivered": "Alerts that a target took",
    "refused": "Alerts that a target refused for good",
    "retried": "Tries after which an alert waits for the next one",
    "dead_letters": "Records and alerts that became dead letters",
}
_GAUGES = {
    "waiting": "Alerts that wait for a target",
    "silenced": "Incidents that were not told because they are silenced",
    "grouped": "Incidents that wait for others, or are told on the page of another",
}


class HeartbeatState(Protocol):
    """Knows how the relay is."""

    well: bool
    heard: float

    @property
    def couriers(self) -> Iterable[Dispatcher]:
        """One for each target."""


def registry_of(pulse: HeartbeatState) -> CollectorRegistry:
    """The metrics of a relay."""
    registry = CollectorRegistry()
    registry.register(_Relay(pulse))
    return registry


class _Relay(Collector):
    def __init__(self, pulse: HeartbeatState) -> None:
        self._pulse = pulse

    def describe(self) -> Iterable[Metric]:
        """Nothing: else it would be collected before the relay runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        couriers = list(self._pulse.couriers)
        for name, help in _COUNTS.items():
            counter = CounterMetricFamily(f"driftline_relay_{name}", help, labels=["target"])
            for courier in couriers:
                counter.add_metric([courier.name], courier.counts[name])
            yield counter
        held = {courier.name: courier.held() for courier in couriers}
        for name, help in _GAUGES.items():
            yield _gauge(name, help, {target: figures[name] for target, figures in held.items()})
        oldest = {courier.name: courier.oldest_wait() for courier in couriers}
        yield _gauge("oldest_waiting_seconds", "Since the first try of what waits longest for a target", oldest)
        yield GaugeMetricFamily(
            "driftline_relay_well", "1 while Kafka and Redis answer and every target takes alerts", self._pulse.well
        )
        yield GaugeMetricFamily(
            "driftline_relay_heartbeat_timestamp_seconds", "When the last heartbeat was sent", self._pulse.heard
        )


def _gauge(name: str, help: str, figures: dict[str, float]) -> Metric:
    gauge = GaugeMetricFamily(f"driftline_relay_{name}", help, labels=["target"])
    for target, figure in figures.items():
        gauge.add_metric([target], figure)
    return gauge
