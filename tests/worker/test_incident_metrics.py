"""What metrics say of open incidents."""

from __future__ import annotations

from functools import cache

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from driftline.stream.judge.incidents import Incident
from driftline.stream.worker import incident_metrics
from driftline.stream.worker.incident_metrics import IncidentMetrics
from tests.harness.labelled import baseline_of, configured, messages, ran


@cache
def incident() -> Incident:
    """Of outcomes, which fall."""
    log = messages(5000, seed=3, concept=lambda i: 0.8 * (i >= 3000))
    (found,) = ran(log, configured(), baseline_of(messages(4000, seed=1))).states["fraud"].open_incidents
    return found


def shown(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_open_incidents_are_counted_by_severity_and_their_signals_shown_until_they_are_over() -> None:
    metrics = IncidentMetrics(registry := CollectorRegistry())
    assert set(shown(registry, "driftline_incidents_open").values()) == {0.0}
    (drift,) = incident().drifts
    metrics.set([("fraud", incident()), ("", replace(incident(), severity="info"))])
    counts = {severity: n for (severity,), n in shown(registry, "driftline_incidents_open").items() if n}
    assert counts == {incident().severity: 1.0, "info": 1.0}
    assert shown(registry, "driftline_signal_drift") == {("fraud", "", "accuracy"): drift.effect}
    assert 0.1 < drift.effect < 1
    metrics.set([])
    assert shown(registry, "driftline_signal_drift") == {}
    assert set(shown(registry, "driftline_incidents_open").values()) == {0.0}


def test_a_cause_that_moves_very_many_signals_does_not_make_as_many_series() -> None:
    metrics = IncidentMetrics(registry := CollectorRegistry())
    (drift,) = incident().drifts
    most = incident_metrics._MOST
    many = tuple(replace(drift, signal=f"features.{i}") for i in range(most + 500))
    metrics.set([("fraud", replace(incident(), drifts=many))])
    assert len(shown(registry, "driftline_signal_drift")) == most
