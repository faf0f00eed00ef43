"""The metrics of open incidents: how many, how severe, and what drifts by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Gauge

from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import Incident

# Signals in labels: a model may have thousands, and one cause can move them all.
_MOST: Final = 1000
_SEVERITIES: Final = get_args(Severity)


class IncidentMetrics:
    """The metrics of the incidents that are open in a worker's partitions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge(
            "driftline_incidents_open",
            "Incidents open in this worker's partitions, by severity",
            ["severity"],
            registry=registry,
        )
        self._drift = Gauge(
            "driftline_signal_drift",
            "How much the signals of open incidents have changed when that was found, from 0 to 1",
            ["model", "version", "signal"],
            registry=registry,
        )
        self._shown: set[tuple[str, str, str]] = set()
        self.set([])

    def set(self, incidents: Sequence[tuple[str, Incident]]) -> None:
        """Set the open incidents, each with its model; of those without one, signals are not shown."""
        counts = Counter(each.severity for _, each in incidents)
        for severity in _SEVERITIES:
            self._open.labels(severity).set(counts[severity])
        effects: dict[tuple[str, str, str], float] = {}
        for model, incident in incidents:
            for each in incident.drifts if model else ():
                place = model, each.track, each.signal
                effects[place] = max(each.effect, effects.get(place, 0.0))
        self._show(dict(sorted(effects.items())[:_MOST]))

    def _show(self, effects: dict[tuple[str, str, str], float]) -> None:
        for gone in self._shown - effects.keys():
            self._drift.remove(*gone)
        for place, effect in effects.items():
            self._drift.labels(*place).set(effect)
        self._shown = {*effects}
