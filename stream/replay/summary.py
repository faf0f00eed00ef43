"""The result of a replay as plain JSON data, for `driftline replay --json`. Pure."""

from __future__ import annotations

from typing import Any

from driftline.stream.events.rejections import Rejections
from driftline.stream.judge.incidents import Status
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.replay.pipeline import ModelCounts
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.verdict import Verdict


def summary(result: ReplayResult, verdict: Verdict) -> dict[str, Any]:
    """Everything that a replay says, apart from its alerts."""
    return {
        "verdict": verdict.outcome.value,
        "shortfalls": list(verdict.shortfalls),
        "events": {"read": result.read, "rejected": result.rejected.total, **_totals(result)._asdict()},
        "rejected": rejected_rows(result.rejected),
        "special_values": [
            {"place": place, "count": count, "example": result.examples[place]}
            for place, count in result.defects.most_common()
        ],
        "models": {
            model: {**counts._asdict(), "watched": list(result.watched.get(model, ()))}
            for model, counts in sorted(result.counts.items())
        },
        "labels": {model: counts._asdict() for model, counts in result.labels.items()},
        "unwatched": list(map(unwatched_row, result.unwatched)),
        "remarks": result.remarks,
        "incidents": _incidents(result),
    }


def rejected_rows(rejections: Rejections) -> list[dict[str, Any]]:
    """How often messages were rejected, by reason, the commonest first."""
    return [
        {
            "reason": each.place,
            "count": each.times,
            "example": each.example,
            "offset": each.offset,
            "remedy": each.remedy,
        }
        for each in rejections.causes()
    ]


def unwatched_row(each: Unwatched) -> dict[str, str]:
    """An unwatched field as plain JSON data."""
    return {"model": each.model, "field": each.field, "why": each.why.value, "detail": each.detail}


def _totals(result: ReplayResult) -> ModelCounts:
    return ModelCounts(*map(sum, zip(*result.counts.values(), strict=True))) if result.counts else ModelCounts()


def _incidents(result: ReplayResult) -> list[dict[str, Any]]:
    """The newest state of every incident, in order of their first alerts."""
    newest = {alert.data.incident_id: alert.data for alert in result.alerts}
    return [
        {
            "state": "resolved" if data.status is Status.RESOLVED else "open",
            "model": data.component,
            "severity": data.severity,
            "title": data.title,
            "starts_at": data.starts_at,
            "ends_at": data.ends_at,
            "incident_id": data.incident_id,
            "alert_id": data.id,
        }
        for data in newest.values()
    ]
