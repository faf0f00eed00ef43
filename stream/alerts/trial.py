"""The page by which `driftline doctor` tries a receiver: an alert that says of itself that it is a test. Pure."""

from __future__ import annotations

from driftline.stream.alerts.build import cloud_event, iso
from driftline.stream.alerts.schema import AlertData, Evidence, IncidentAlert
from driftline.stream.judge.incidents import Status

#: The model that the page names; no real one is paged or resolved by it.
MODEL = "driftline-doctor"
_DESCRIPTION = "`driftline doctor --page` sent this test. No model drifts, and nothing has to be done."


def trial_alerts(topic: str, now_ms: int) -> tuple[IncidentAlert, IncidentAlert]:
    """A firing alert in mode test, and the one that resolves it. topic: predictions topic. now_ms: epoch ms."""
    incident = f"doctor-{now_ms}"
    return _alert(incident, 1, Status.FIRING, topic, now_ms), _alert(incident, 2, Status.RESOLVED, topic, now_ms)


def _alert(incident: str, seq: int, status: Status, topic: str, now_ms: int) -> IncidentAlert:
    resolved = status is Status.RESOLVED
    return cloud_event(
        AlertData(
            id=f"{incident}-{seq}",
            alert_key=MODEL,
            incident_id=incident,
            seq=seq,
            status=status,
            resolution="recovered" if resolved else None,
            severity="warning",
            title="TEST of driftline doctor is over" if resolved else "TEST by driftline doctor: nothing drifts",
            description=_DESCRIPTION,
            starts_at=iso(now_ms),
            ends_at=iso(now_ms) if resolved else None,
            emitted_at=iso(now_ms),
            source=f"/driftline/models/{MODEL}",
            component=MODEL,
            group=MODEL,
            kind="data-quality",
            labels={"model": MODEL},
            evidence=Evidence(baseline="", version=None, topic=topic, signals=[]),
            links=[],
            mode="test",
        )
    )
