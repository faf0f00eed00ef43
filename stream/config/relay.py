"""The section `relay`: its receivers, how long it retries, and how it groups incidents.

No field holds a secret: each `…_env` names an environment variable.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from driftline.stream.config.fields import Address, Duration, Real, Section, Whole, duration_field
from driftline.stream.config.incidents import Severity

# An underscore is required: no routing key or URL has the form of this name, so one pasted by mistake is refused.
EnvName = Annotated[str, Field(pattern="^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$", examples=["PAGERDUTY_ROUTING_KEY"])]
ReceiverUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(?:/[^\s@]*)?$", examples=["http://localhost:9093"])]

MinSeverity = Annotated[
    Severity,
    Field(
        description="Incidents below this severity are not sent here unless they rise to it; those that were sent are "
        "resolved here, too. info: all are sent."
    ),
]


class Grouping(Section):
    """When several incidents share a page: those of an outage, and those that follow from an upstream model."""

    group_wait: Duration = duration_field(
        "20s",
        "How long a new incident waits for others before it is sent. An upstream fault shows in all models within two "
        "panes, which end every 10 s (`panes.seconds`): with half of it, many are sent alone; drifts take minutes to "
        "show, so twice the time costs little. An outage that spreads more slowly, model by model, sends up to "
        "`outage_models` pages before it becomes one page. 0s: only incidents that have arrived already are grouped.",
    )
    outage_models: Whole | None = Field(
        5,
        ge=2,
        le=10_000,
        description="Number of models that must begin to drift within the window to share one page. With 2, chance "
        "makes outages; above the number of your models, there is never one. null: never.",
    )
    outage_window: Duration = duration_field(
        "10m",
        "Time within which models must begin to drift to form an outage; a later one joins if it begins within this of "
        "the latest. Models with little traffic need minutes to show a drift; over hours, unrelated drifts are "
        "grouped.",
    )


class PagerDuty(Section):
    """PagerDuty's Events API v2."""

    url: ReceiverUrl = Field(
        "https://events.pagerduty.com/v2/enqueue",
        description="URL of the Events API; accounts in Europe have https://events.eu.pagerduty.com/v2/enqueue.",
    )
    routing_key_env: EnvName = Field(
        "PAGERDUTY_ROUTING_KEY",
        description="Name of the environment variable that holds the integration's routing key.",
    )
    min_severity: MinSeverity = "info"


class Alertmanager(Section):
    """Prometheus Alertmanager, API v2."""

    urls: tuple[ReceiverUrl, ...] = Field(
        ("http://localhost:9093",),
        min_length=1,
        description="URLs of all Alertmanagers of a cluster, since they do not forward alerts to each other; an alert "
        "is delivered when one of them accepts it.",
    )
    authorization_env: EnvName | None = Field(
        None,
        description="Name of the environment variable that holds the header Authorization, such as `Bearer …`; "
        "null: none is sent.",
    )
    resend_seconds: Real = Field(
        60.0,
        ge=1,
        le=240,
        description="Seconds after which a firing alert is sent again, so that a restarted Alertmanager receives it. "
        "Over 240, an Alertmanager with the usual resolve_timeout of 5 minutes may consider it resolved.",
    )
    min_severity: MinSeverity = "info"


class Slack(Section):
    """A Slack channel, through an incoming webhook."""

    webhook_url_env: EnvName = Field(
        "SLACK_WEBHOOK_URL", description="Name of the environment variable that holds the webhook's URL."
    )
    min_severity: MinSeverity = "info"


class Webhook(Section):
    """Any service that accepts CloudEvents in structured mode over HTTP."""

    url_env: EnvName = Field("WEBHOOK_URL", description="Name of the environment variable that holds the URL.")
    signing_key_env: EnvName | None = Field(
        None,
        description="Name of the environment variable that holds the signing key (HMAC-SHA256 as in Standard Webhooks, "
        "with or without `whsec_`); null: requests are not signed.",
    )
    authorization_env: EnvName | None = Field(
        None, description="Name of the environment variable that holds the header Authorization; null: none is sent."
    )
    min_severity: MinSeverity = "info"


class Stdout(Section):
    """Standard output: one line of JSON per alert."""

    min_severity: MinSeverity = "info"


class Relay(Section):
    """The process `driftline relay`, which sends alerts to receivers."""

    http: Address = Field(
        "127.0.0.1:6067",
        description="Address of /health and /metrics. They need no password: "
        "listen beyond this machine only in a trusted network.",
    )
    timeout_seconds: Real = Field(
        10.0,
        ge=0.1,
        le=60,
        description="Seconds that a receiver may take to answer. Under 0.1 s none can; over 60, Kafka considers the "
        "waiting relay dead.",
    )
    longest_pause_seconds: Real = Field(
        60.0,
        ge=0.1,
        le=3600,
        description="Longest pause between two attempts, in seconds; pauses begin at up to 1 and double. A receiver's "
        "Retry-After is honoured. Over an hour, a recovered receiver is found too late.",
    )
    give_up_hours: Real = Field(
        24.0,
        ge=0.1,
        le=720,
        description="Hours after which an alert that a receiver neither accepts nor refuses becomes a dead letter. "
        "Under 0.1, a short outage loses pages; after 30 days, a page is of no use.",
    )
    heartbeat_url_env: EnvName | None = Field(
        None,
        description="Name of the environment variable that holds the URL of a dead man's switch, requested (GET) as "
        "long as the relay can deliver alerts; null: none.",
    )
    heartbeat_seconds: Real = Field(
        60.0,
        ge=1,
        le=3600,
        description="Seconds between two heartbeats. Under 1 they are a burden; over an hour, a dead relay is found "
        "too late.",
    )
    grouping: Grouping = Field(default_factory=Grouping, description="Which incidents share a page.")
    pagerduty: PagerDuty = Field(default_factory=PagerDuty, description="Receiver of `--to pagerduty`.")
    alertmanager: Alertmanager = Field(default_factory=Alertmanager, description="Receiver of `--to alertmanager`.")
    slack: Slack = Field(default_factory=Slack, description="Receiver of `--to slack`.")
    webhook: Webhook = Field(default_factory=Webhook, description="Receiver of `--to webhook`.")
    stdout: Stdout = Field(default_factory=Stdout, description="Receiver of `--to stdout`.")
