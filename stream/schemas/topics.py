"""The settings that Driftline's topics should have, and in words how a topic differs from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftline.stream.config.sections import Topics
from driftline.stream.text.phrases import counted

HOUR_MS = 3_600_000
#: The largest pane, bytes. Only panes of events, of a model that is learning its baseline, are large: 250 events of
#: 2000 numbers take 9 MB; sketches take some kB. A broker accepts 1 MB by default.
PANE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, as it should be or as it is. settings: of Kafka's topic configuration, those that Driftline sets."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


def wanted_topics(topics: Topics) -> list[Topic]:
    """All topics of a configuration.

    Predictions, labels and panes have partitions to share the work. Alerts and dead letters are few, and one partition
    keeps their order. Alerts are kept for ever: they are the record of what was paged.
    """
    retention = {} if topics.retention_hours is None else {"retention.ms": str(topics.retention_hours * HOUR_MS)}
    inputs = (topics.predictions, topics.labels)
    shared = [(name, topics.partitions, retention) for name in inputs]
    shared.append((topics.panes, topics.partitions, {"max.message.bytes": str(PANE_BYTES), **retention}))
    dead_letters = [(f"{name}.dlq", 1, retention) for name in (*inputs, topics.panes, topics.alerts)]
    return [
        Topic(name, partitions, topics.replication, {"cleanup.policy": "delete", **settings})
        for name, partitions, settings in (*shared, (topics.alerts, 1, {"retention.ms": "-1"}), *dead_letters)
    ]


def differences(found: Topic, wanted: Topic) -> list[str]:
    """How a topic differs from what is wanted, in words."""
    different = []
    if found.partitions != wanted.partitions:
        different.append(f"has {counted(found.partitions, 'partition')}, not {wanted.partitions}")
    if found.replication < wanted.replication:
        different.append(f"has {counted(found.replication, 'replica')}, not {wanted.replication}")
    if found.settings.get("cleanup.policy", "delete") != wanted.settings["cleanup.policy"]:
        different.append(f"its cleanup.policy is {found.settings['cleanup.policy']}: records vanish before their time")
    if {"retention.ms"} <= found.settings.keys() & wanted.settings.keys():
        kept, ought = kept_for(found.settings), kept_for(wanted.settings)
        different += [f"is {kept}, not {ought}"] if kept != ought else []
    return different


def pane_size_problem(panes: Topic) -> str:
    """Why this topic does not accept the largest pane, and what helps; "" if it does.

    Also "" if Kafka does not let this user see the topic's settings. A refused pane would end a worker.
    """
    most = int(panes.settings.get("max.message.bytes", PANE_BYTES))
    if most >= PANE_BYTES:
        return ""
    return f"topic {panes.name} takes records of {most} bytes at most: set its max.message.bytes to {PANE_BYTES}"


def kept_for(settings: Mapping[str, str]) -> str:
    """How long a topic keeps its records, in words."""
    retention = settings.get("retention.ms")
    if retention is None:
        return "kept as the broker says"
    if retention == "-1":
        return "kept for good"
    return f"kept for {int(retention) / HOUR_MS:g} h"
