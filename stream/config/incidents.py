"""The section `incidents`: which drifts share an incident, how long they must last, and how severe they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from driftline.stream.config.fields import Duration, Real, Section, duration_field

Severity = Literal["critical", "error", "warning", "info"]
FindingClass = Literal["data-drift", "prediction-drift", "data-quality", "absence", "schema", "outcomes"]
LinkUrl = Annotated[str, Field(pattern=r"^https?://[^\s<>|]{1,2000}$", examples=["https://wiki.example.com/fraud"])]

Owner = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", examples=["payments on call, #payments"])]


class SeverityRule(Section):
    """One rule of the severity table: the findings that it covers, and their severity."""

    of: FindingClass | None = Field(
        None,
        description="data-drift: a feature's distribution; prediction-drift: the model's prediction or score; "
        "data-quality: missing values, NaN, infinities, wrong types; absence: the model's traffic; schema: "
        "what messages of the topic look like, by `defaults`; outcomes: how often the model is right; null: "
        "any of them.",
    )
    effect: Real = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest effect covered: the Jensen-Shannon distance between before and after, 0 for equal, 1 for "
        "nothing in common; for data-quality, between the shares of such values. A shift by one σ has 0.4, the loss of "
        "half of the values 0.56, of all of them 1. For absence, the share of the traffic that is missing, or that "
        "came on top: 1 where it stopped. For schema, the share of the messages that is rejected. For outcomes, by how "
        "much the share of right predictions is lower: 0.2 for 20 points; of a floor, by how much it is missed; of a "
        "regression, by what share of itself its error is larger, 1 at most.",
    )
    scale: Real | None = Field(
        None,
        ge=1,
        le=1e9,
        description="Lowest factor covered by which all values look multiplied or divided, as mean and σ change alike: "
        "100 when cents come instead of euros; null: any. Below 10, a good season looks like another unit.",
    )
    severity: Severity = Field(description="Severity of the finding; an incident has that of its worst finding.")


class Incidents(Section):
    """How alarms become pages. Durations are of event time."""

    page_per: Literal["model", "signal"] = Field(
        "model",
        description="What makes one incident, and so one page: all drifting signals of a model, or each by itself.",
    )
    hold: Duration = duration_field(
        "0s",
        "How long a drift must last before it is reported. By default it is reported at once, since the "
        "thresholds keep false alarms rare; a longer time avoids pages for drifts that end by themselves.",
    )
    recovery: Duration = duration_field(
        "5m",
        "How long all signals must have recovered before an incident is resolved. If it is shorter than the lag "
        "between the partitions of a topic, slow partitions may reopen what fast ones have closed.",
    )
    cooldown: Duration = duration_field(
        "1h",
        "How long an incident is remembered after its end: a new one within this time must have recovered for as long "
        "to be resolved, so that a recurring drift pages at most twice in this time; 0s: it pages each time.",
    )
    severity: tuple[SeverityRule, ...] = Field(
        (
            SeverityRule(of="data-quality", effect=0.9, severity="critical"),
            SeverityRule(of="data-drift", scale=10, severity="critical"),
            SeverityRule(of="data-quality", effect=0.5, severity="error"),
            SeverityRule(severity="warning"),
        ),
        min_length=1,
        description="The severity table: the first rule that covers a finding sets its severity; without a rule, it "
        "is info.",
    )
    runbook: LinkUrl | None = Field(None, description="URL of the runbook that every alert links to.")
    owner: Owner | None = Field(
        None, description="Who looks after the model, such as a team or a channel: named in every alert."
    )
