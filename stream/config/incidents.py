"""What can be configured of incidents: what is one page, how long things must last, and how severe they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from driftline.stream.config.fields import Duration, Real, Section, parse_duration

Severity = Literal["critical", "error", "warning", "info"]
FindingClass = Literal["data-drift", "prediction-drift", "data-quality"]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>|]{1,2000}$", examples=["https://wiki.example.com/fraud"])]


def _lasting(default: str, description: str) -> Any:
    """A field of a duration, whose default the schema tells as it is written."""
    return Field(parse_duration(default), description=description, json_schema_extra={"default": default})


class SeverityRule(Section):
    """One line of the table of severities: of what it speaks, and what that is worth."""

    of: FindingClass | None = Field(
        None,
        description="data-drift: a feature's distribution; prediction-drift: the model's prediction or score; "
        "data-quality: missing values, NaN, infinities, wrong types; null: any of them.",
    )
    effect: Real = Field(
        0.0,
        ge=0,
        le=1,
        description="From which effect on: the Jensen-Shannon distance between before and after, 0 equal, 1 nothing in "
        "common; of data-quality, between the shares of such values. A shift by one σ has 0.4, half of the values gone "
        "0.56, all of them 1.",
    )
    severity: Severity = Field(description="The finding's severity; an incident has that of its worst finding.")


class Incidents(Section):
    """From alarms to pages. Durations are of event time."""

    page_per: Literal["model", "signal"] = Field(
        "model", description="What is one incident, and so one page: all that drifts in a model, or each signal."
    )
    hold: Duration = _lasting(
        "0s",
        "How long a drift must last before it is told. By default it is told at once, as thresholds keep "
        "false alarms rare already; longer spares a page for what heals by itself.",
    )
    recovery: Duration = _lasting(
        "5m",
        "How long all signals must have recovered before an incident is resolved. Shorter than the lag between the "
        "partitions of a topic, slow ones may open what fast ones have closed.",
    )
    cooldown: Duration = _lasting(
        "1h",
        "How long an incident is remembered after its end: one that opens within this must have recovered for as long "
        "to be resolved, so that what comes and goes pages twice at most in this time; 0s: each time.",
    )
    severity: tuple[SeverityRule, ...] = Field(
        (
            SeverityRule(of="data-quality", effect=0.5, severity="error"),
            SeverityRule(severity="warning"),
        ),
        min_length=1,
        description="The table of severities: the first line that fits a finding says its severity; where none does, "
        "it is info.",
    )
    runbook: Url | None = Field(None, description="Page to follow when paged; every alert links to it.")
