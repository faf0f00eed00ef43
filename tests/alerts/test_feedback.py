"""How many pages came, beside how many are allowed, and of how many people say that they were real."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from driftline.stream.alerts.feedback import (
    LONGEST,
    Feedback,
    FeedbackError,
    page_counts,
    read_feedback,
    write_feedback,
)
from driftline.stream.config.load import parse_config

NOW = datetime(2026, 3, 31, tzinfo=UTC)
CONFIG = parse_config("{defaults: {false_pages: 1 per month}, models: {rate: {false_alarms_per_event: 1.0e-7}}}")


def alert(incident: str, days: float, model: str = "fraud", **changed: Any) -> bytes:
    """An alert that fired `days` days ago."""
    at = (NOW - timedelta(days=days)).isoformat()
    data = {
        "id": f"{incident}-1", "incident_id": incident, "alert_key": model, "component": model, "status": "firing",
        "emitted_at": at, "starts_at": at, "labels": {"model": model}, "mode": "live", **changed,
    }  # fmt: skip
    return orjson.dumps({"specversion": "1.0", "type": "driftline.alert.v1", "id": data["id"], "data": data})


def said(incident: str, real: bool) -> dict[str, Feedback]:
    return {incident: Feedback(incident, "fraud", real, "ann", NOW.timestamp())}


def shown(*lines: bytes, dropped: bool = False, feedback: dict[str, Feedback] | None = None) -> list[str]:
    return [*map(str, page_counts(CONFIG, [(lines, dropped)], feedback or {}, NOW))]


def test_pages_of_the_last_thirty_days_are_counted_beside_those_allowed_and_what_people_say_of_them() -> None:
    lines = [alert("a", 1), alert("b", 3), alert("c", 29), alert("d", 31), alert("e", 2, model="rate")]
    assert shown(*lines, feedback=said("a", real=True) | said("b", real=False) | said("d", real=False)) == [
        "fraud: 3 pages in 30 days, 1 false one allowed; of these, 1 is said to be real, 1 false",
        "rate: 1 page in 30 days",
    ]


def test_only_beginnings_of_live_incidents_of_models_are_pages() -> None:
    lines = [
        alert("a", 1),
        alert("a", 0.5, status="updated"),
        alert("b", 1, mode="replay"),
        alert("c", 1, model="predictions", labels={"topic": "predictions"}),
        b"no alert",
    ]
    assert shown(*lines) == ["fraud: 1 page in 30 days, 1 false one allowed"]


def test_where_older_alerts_were_dropped_the_time_of_the_others_is_all_that_is_known() -> None:
    assert shown(alert("a", 1), alert("b", 15), dropped=True) == ["fraud: 2 pages in 15 days, 0.5 false ones allowed"]


def test_feedback_is_read_as_it_was_written() -> None:
    feedback = said("a", real=True)["a"]
    assert read_feedback(write_feedback(feedback)) == feedback
    with pytest.raises(FeedbackError):
        read_feedback(b"{}")


def test_a_comment_that_is_no_unicode_is_stored_in_printable_characters() -> None:
    feedback = Feedback("a", "fraud", False, "an\udce4", 0.0, "a caf\udce9\nand a bell\x07")
    stored = read_feedback(write_feedback(feedback))
    assert (stored.by, stored.comment) == (r"an\udce4", "a caf\\udce9\nand a bell\\x07")


def test_a_long_comment_is_cut() -> None:
    assert LONGEST == 1000
    for comment in ("x" * 1001, "\udce9" * 999):
        stored = read_feedback(write_feedback(Feedback("a", "fraud", True, "ann", 0.0, comment))).comment
        assert (len(stored), stored[-1]) == (1000, "…")
    assert read_feedback(write_feedback(Feedback("a", "fraud", True, "ann", 0.0, "x" * 1000))).comment == "x" * 1000
