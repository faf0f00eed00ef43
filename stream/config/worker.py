"""The section `worker`: the process `driftline worker`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from driftline.stream.config.fields import Address, Group, Real, RuleError, Section, Whole


class Worker(Section):
    """The process `driftline worker`."""

    group: Group = Field("driftline", description="Consumer group. The workers of a group share the partitions.")
    http: Address = Field(
        "127.0.0.1:6066",
        description="Address of /health and /metrics. They need no password: "
        "listen beyond this machine only in a trusted network.",
    )
    log: Literal["text", "json"] = Field("text", description="Format of log lines: text for people, json for machines.")
    watchdog_seconds: Whole = Field(
        120,
        ge=10,
        le=86_400,
        description="Seconds without progress while records are waiting, after which the worker exits so that it is "
        "restarted; also those that a rebalance (after 30 of its own) or a takeover of partitions takes. Up to twice "
        "session_seconds, a start that waits for partitions looks like a stall; over a day, it helps nobody.",
    )
    session_seconds: Whole = Field(
        10,
        ge=6,
        le=1800,
        description="Seconds without a heartbeat after which Kafka gives a worker's partitions to others. "
        "Brokers accept 6 to 1800 by default.",
    )
    unknown_models: Whole = Field(
        1000,
        ge=0,
        le=100_000,
        description="Models that learned their baseline, remembered in each partition of the panes topic; panes of "
        "further ones become dead letters (see also limits.newcomers, and `driftline models forget`). 0: only models "
        "with a baseline file. Without a bound, a model name that changes with every event would fill Redis.",
    )
    max_rejected: Real = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the messages of the last five minutes that may be rejected; above it, /health says "
        "`degraded`, with the commonest reason. A log of several producers may hold one in a hundred; more is a wrong "
        "release or mapping.",
    )

    @model_validator(mode="after")
    def _watchdog_outlasts_a_rebalance(self) -> Self:
        if self.watchdog_seconds > 2 * self.session_seconds:
            return self
        if "watchdog_seconds" in self.model_fields_set:
            raise RuleError(f"must be more than twice session_seconds, {self.session_seconds}", "watchdog_seconds")
        raise RuleError(f"must be less than half of watchdog_seconds, {self.watchdog_seconds}", "session_seconds")
