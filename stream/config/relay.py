"""What can be configured of `driftline relay`: where pagers are, how patient it is, where secrets are found.

No field is a secret: each `…_env` names an environment variable.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from driftline.stream.config.fields import Address, Duration, Real, Section, Whole, parse_duration
from driftline.stream.config.incidents import Severity

# With an underscore, which no routing key and no URL has: one that is pasted here by mistake is refused.
EnvName = Annotated[str, Field(pattern="^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$", examples=["PAGERDUTY_ROUTING_KEY"])]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(?:/[^\s@]*)?$", examples=["http://localhost:9093"])]


MinSeverity = Annotated[
    Severity,
    Field(
        description="Incidents under this severity are not told here, unless they rise to it; what was told is "
        "resolved. info: all are told."
    ),
]


class Grouping(Section):
    """Several incidents on one page: those of an outage, and those that follow from a model upstream."""

    group_wait: Duration = Field(
        parse_duration("20s"),
        description="How long a new incident waits for others before it is told. One upstream fault is seen by all "
        "models within two panes, which end every 10 s (`panes.seconds`); at half of it, many are told alone; drifts "
        "take minutes to show, so twice it costs little. An outage that spreads slower than this, a model at a time, "
        "pages up to `outage_models` times before it is one page. 0s: only what has come already is told together.",
        json_schema_extra={"default": "20s"},
    )
    outage_models: Whole | None = Field(
        5,
        ge=2,
        le=10_000,
        description="From how many models on, drifting within the window, all of them are one page. With 2, chance "
        "makes outages; over the number of your models, there is none. null: never.",
    )
    outage_window: Duration = Field(
        parse_duration("10m"),
        description="Within which time models must begin to drift to be one outage; later ones join it when they come "
        "within this of the latest. Models with little traffic need minutes to show a drift; over hours, what has "
        "nothing in common comes together.",
        json_schema_extra={"default": "10m"},
    )


class PagerDuty(Section):
    """PagerDuty's Events API v2."""

    url: Url = Field(
        "https://events.pagerduty.com/v2/enqueue",
        description="Where events go; accounts in Europe have https://events.eu.pagerduty.com/v2/enqueue.",
    )
    routing_key_env: EnvName = Field(
        "PAGERDUTY_ROUTING_KEY",
        description="Name of the environment variable that holds the integration's routing key.",
    )
    min_severity: MinSeverity = "info"


class Alertmanager(Section):
    """Prometheus Alertmanager, API v2."""

    urls: tuple[Url, ...] = Field(
        ("http://localhost:9093",),
        min_length=1,
        description="Every Alertmanager of a cluster, since they do not pass alerts on; one that takes an alert is "
        "enough.",
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
        description="Seconds between two sendings of what fires, so that a restarted Alertmanager learns of it again. "
        "Over 240, a cluster's members with the usual resolve_timeout of 5 minutes may take it for resolved.",
    )
    min_severity: MinSeverity = "info"


class Slack(Section):
    """A Slack channel, through an incoming webhook."""

    webhook_url_env: EnvName = Field(
        "SLACK_WEBHOOK_URL", description="Name of the environment variable that holds the webhook's URL."
    )
    min_severity: MinSeverity = "info"


class Webhook(Section):
    """Any service that takes CloudEvents in structured mode over HTTP."""

    url_env: EnvName = Field("WEBHOOK_URL", description="Name of the environment variable that holds the URL.")
    signing_key_env: EnvName | None = Field(
        None,
        description="Name of the environment variable that holds the key of the signature (HMAC-SHA256, as Standard "
        "Webhooks has it, with or without `whsec_`); null: requests are not signed.",
    )
    authorization_env: EnvName | None = Field(
        None, description="Name of the environment variable that holds the header Authorization; null: none is sent."
    )
    min_severity: MinSeverity = "info"


class Stdout(Section):
    """Standard output: a line of JSON for each alert."""

    min_severity: MinSeverity = "info"


class Relay(Section):
    """The process `driftline relay`, which carries alerts to pagers."""

    http: Address = Field(
        "127.0.0.1:6067",
        description="Address of /health and /metrics. They ask for no password: "
        "listen beyond this machine only in a trusted network.",
    )
    timeout_seconds: Real = Field(
        10.0,
        ge=0.1,
        le=60,
        description="Seconds a service may take for an answer. Under 0.1 s none can; over 60, Kafka takes the relay "
        "for dead while it waits.",
    )
    longest_pause_seconds: Real = Field(
        60.0,
        ge=0.1,
        le=3600,
        description="Seconds between two tries at most; they begin at up to 1 and double. A service that names a time "
        "(Retry-After) gets it. Over an hour, a mended pager is found too late.",
    )
    give_up_hours: Real = Field(
        24.0,
        ge=0.1,
        le=720,
        description="Hours after which an alert that a service neither takes nor refuses becomes a dead letter. "
        "Under 0.1, a short outage loses pages; in 30 days nobody waits for one any more.",
    )
    heartbeat_url_env: EnvName | None = Field(
        None,
        description="Name of the environment variable that holds the URL of a dead man's switch, asked for (GET) while "
        "alerts would be delivered; null: none.",
    )
    heartbeat_seconds: Real = Field(
        60.0,
        ge=1,
        le=3600,
        description="Seconds between two heartbeats. Under 1 they are a load; over an hour, a dead relay is found too "
        "late.",
    )
    grouping: Grouping = Field(default_factory=Grouping, description="What is told on one page.")
    pagerduty: PagerDuty = Field(default_factory=PagerDuty, description="For `--to pagerduty`.")
    alertmanager: Alertmanager = Field(default_factory=Alertmanager, description="For `--to alertmanager`.")
    slack: Slack = Field(default_factory=Slack, description="For `--to slack`.")
    webhook: Webhook = Field(default_factory=Webhook, description="For `--to webhook`.")
    stdout: Stdout = Field(default_factory=Stdout, description="For `--to stdout`.")
