"""The AsyncAPI 3.0 document of all topics: their messages, who writes and reads them, and their settings. Pure.

Published for the default configuration as docs/asyncapi.yaml; `driftline schema asyncapi -c` prints that of another.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from driftline.stream.alerts.build import CONTENT_TYPE
from driftline.stream.config.sections import Config
from driftline.stream.schemas.json_schema import Schema, alert_parts, event_part, label_part
from driftline.stream.schemas.topics import Topic, kept_for, wanted_topics

# Version of the formats on the topics, not of the program: a new field raises the second number.
_VERSION = "1.0.0"
_BINDING = "0.5.0"  # of AsyncAPI's Kafka binding
_NUMBERS = ("retention.ms", "max.message.bytes")


class _Message(NamedTuple):
    """A kind of message. schema: name of the type of its value."""

    title: str
    summary: str
    content_type: str
    key: str
    schema: str
    headers: Schema | None = None


class _Channel(NamedTuple):
    """A topic. field: the configuration field that names it. messages: their names. suffix: what follows its name."""

    field: str
    messages: tuple[str, ...]
    summary: str
    suffix: str = ""


class _Operation(NamedTuple):
    """An operation on a channel. group: pattern of the consumer group, after the name of the workers' group."""

    action: str
    channel: str
    who: str
    summary: str
    group: str | None = None


def _headers(required: dict[str, str], optional: dict[str, str]) -> Schema:
    properties = {name: {"type": "string", "description": text} for name, text in (required | optional).items()}
    return {"type": "object", "properties": properties, "required": list(required)}


_DEAD_LETTER_HEADERS = _headers(
    {
        "reason": "Why the record could not be used.",
        "topic": "The topic it was on.",
        "partition": "Its partition there, in decimal digits.",
        "offset": "Its offset there, in decimal digits.",
        "counted": "`true`: its event still counts, with a special code for the value that the reason names; "
        "`false`: it does not.",
    },
    {
        "cut": "Length of key and value; only there if the dead letter holds just their beginnings.",
        "end": "Only there for a pane that was too large to be published, whose dead letter is empty: its events are "
        "those from `offset` up to here, in decimal digits.",
    },
)
_CLOUD_EVENT = {
    "type": "object",
    "properties": {"content-type": {"const": CONTENT_TYPE, "description": "Says that it is a structured CloudEvent."}},
    "required": ["content-type"],
}
_MESSAGES = {
    "prediction": _Message(
        "Prediction event",
        "One prediction of a model. Shapes other than this one are mapped by the configuration.",
        "application/json",
        "Any, or none: users key by user, request or model as they like.",
        "PredictionEvent",
    ),
    "label": _Message(
        "Label event",
        "The true outcome of a prediction. Workers read labels where `outcomes.labels` is `topic`.",
        "application/json",
        "Any.",
        "LabelEvent",
    ),
    "pane": _Message(
        "Pane",
        "The sketch of one model's events in one run of offsets.",
        "application/octet-stream",
        "The model's name.",
        "Pane",
    ),
    "tick": _Message(
        "Tick",
        "Up to which offset and time a partition of the predictions topic is read; from format level 2 on.",
        "application/octet-stream",
        "None: one goes to every partition.",
        "Tick",
    ),
    "reference": _Message(
        "Reference",
        "What a model is compared with from here on; from format level 2 on.",
        "application/octet-stream",
        "The model's name.",
        "Reference",
    ),
    "forget": _Message(
        "Request to forget",
        "A request to forget a model that learned its baseline.",
        "application/octet-stream",
        "The model's name.",
        "Forget",
    ),
    "alert": _Message(
        "Alert",
        "What has happened to an incident, as a CloudEvent 1.0 in structured mode.",
        CONTENT_TYPE,
        "The alert_key.",
        "AlertEvent",
        _CLOUD_EVENT,
    ),
    "deadLetter": _Message(
        "Dead letter",
        "A record that could not be used, as it came, with the reason in its headers.",
        "application/octet-stream",
        "The key of the record.",
        "Record",
        _DEAD_LETTER_HEADERS,
    ),
}


def _frame(kind: str, content: str) -> Schema:
    text = (
        f"Internal to the workers; it may change with any version. A frame as that of a pane, with the letter {kind}: "
    )
    return {"type": "string", "format": "binary", "description": text + content}


_BYTES: dict[str, Schema] = {
    "Pane": {
        "type": "string",
        "format": "binary",
        "description": "Internal to the workers; it may change with any version. A frame: the letter P, the version of "
        "the frame in one byte (2 if it holds what 1 does not, such as events by time, else 1), the CRC-32 of the "
        "rest, started with the version less one, in four, then in msgpack the model, the baseline's content hash, the "
        "predictions topic, and the pane: first and last time, run of offsets, and counts by code.",
    },
    "Tick": _frame(
        "T",
        "the predictions topic, the partition, how many it has, the offset and the time (epoch ms) up to which it is "
        "read, and its records so far: how many were read, and refused by cause.",
    ),
    "Reference": _frame(
        "R", "the model, the generation of the configuration, and the content hash of the baseline of each version."
    ),
    "Forget": _frame("F", "the model."),
    "Record": {"description": "The bytes of the record's value, which may be anything, or nothing."},
}
_CHANNELS = {
    "predictions": _Channel("predictions", ("prediction",), "Prediction events, read by the workers' first stage."),
    "labels": _Channel(
        "labels", ("label",), "Label events, read by the workers' first stage where `outcomes.labels` is `topic`."
    ),
    "panes": _Channel(
        "panes",
        ("pane", "tick", "reference", "forget"),
        "Between the two stages of the workers; internal: panes, ticks, the baselines in effect, and requests to "
        "forget a model.",
    ),
    "alerts": _Channel("alerts", ("alert",), "All alerts; `driftline relay` delivers them to receivers."),
    "predictionsDeadLetters": _Channel(
        "predictions", ("deadLetter",), "Predictions that are no events, or have an invalid value.", ".dlq"
    ),
    "labelsDeadLetters": _Channel("labels", ("deadLetter",), "Labels that are none.", ".dlq"),
    "panesDeadLetters": _Channel(
        "panes", ("deadLetter",), "Panes that are damaged, made with another baseline, or of another log.", ".dlq"
    ),
    "alertsDeadLetters": _Channel(
        "alerts", ("deadLetter",), "Alerts that a receiver refuses, or did not accept in time.", ".dlq"
    ),
}
_OPERATIONS = {
    "sendPredictions": _Operation("send", "predictions", "user", "Services that run models publish their predictions."),
    "sendLabels": _Operation("send", "labels", "user", "Services that learn the true outcome publish it."),
    "receiveAlerts": _Operation("receive", "alerts", "user", "Any reader of alerts, in a consumer group of its own."),
    "sketch": _Operation("receive", "predictions", "worker", "Workers count events into panes.", ""),
    "sendPanes": _Operation(
        "send",
        "panes",
        "worker",
        "Workers publish panes once their run is sealed, ticks, and what models are compared with. "
        "`driftline models forget` publishes requests to forget.",
    ),
    "judge": _Operation("receive", "panes", "worker", "Workers judge panes, all of a model by one worker.", ""),
    "sendAlerts": _Operation("send", "alerts", "worker", "Workers publish the alerts that they decide, at least once."),
    "rejectPredictions": _Operation(
        "send", "predictionsDeadLetters", "worker", "Workers put aside records that are no events."
    ),
    "rejectPanes": _Operation("send", "panesDeadLetters", "worker", "Workers put aside records that are no panes."),
    "relayAlerts": _Operation(
        "receive",
        "alerts",
        "relay",
        "Relays deliver alerts, with one consumer group for each receiver.",
        "-relay-[a-z]+",
    ),
    "rejectAlerts": _Operation(
        "send", "alertsDeadLetters", "relay", "Relays put aside alerts that a receiver does not accept."
    ),
}
_WHO = {
    "user": "Yours: the services that run models, and all readers of alerts.",
    "worker": "`driftline worker`",
    "relay": "`driftline relay`",
}


def document(config: Config) -> dict[str, Any]:
    """The document of a configuration, as plain data."""
    topics = {topic.name: topic for topic in wanted_topics(config.topics)}
    addresses = {name: f"{getattr(config.topics, each.field)}{each.suffix}" for name, each in _CHANNELS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Driftline",
            "version": _VERSION,
            "description": "The topics of Driftline, which pages a team when the live traffic of a machine-learning "
            "model has really changed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(config),
        "channels": {name: _channel(each, topics[addresses[name]]) for name, each in _CHANNELS.items()},
        "operations": {name: _operation(each, config.worker.group) for name, each in _OPERATIONS.items()},
        "components": {
            "messages": {name: _message(name, each) for name, each in _MESSAGES.items()},
            "schemas": {
                "PredictionEvent": event_part(),
                "LabelEvent": label_part(),
                **alert_parts("#/components/schemas/{name}"),
                **_BYTES,
            },
            "tags": {name: {"name": name, "description": text} for name, text in _WHO.items()},
        },
    }


def _servers(config: Config) -> dict[str, Any]:
    protocol = "kafka-secure" if config.kafka.security_protocol.endswith("SSL") else "kafka"
    hosts = config.kafka.bootstrap.split(",")
    return {f"broker{i}": {"host": host, "protocol": protocol} for i, host in enumerate(hosts, 1)}


def _channel(channel: _Channel, topic: Topic) -> dict[str, Any]:
    settings: dict[str, Any] = {"cleanup.policy": [topic.settings["cleanup.policy"]]}
    settings |= {name: int(topic.settings[name]) for name in _NUMBERS if name in topic.settings}
    kafka = {"topic": topic.name, "partitions": topic.partitions, "replicas": topic.replication}
    return {
        "address": topic.name,
        "description": f"{channel.summary} As made by `driftline topics create`: {kept_for(topic.settings)}.",
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in channel.messages},
        "bindings": {"kafka": {**kafka, "topicConfiguration": settings, "bindingVersion": _BINDING}},
    }


def _operation(operation: _Operation, group: str) -> dict[str, Any]:
    channel, messages = operation.channel, _CHANNELS[operation.channel].messages
    described: dict[str, Any] = {
        "action": operation.action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": operation.summary,
        "tags": [{"$ref": f"#/components/tags/{operation.who}"}],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{each}"} for each in messages],
    }
    if operation.group is not None:
        pattern = {"type": "string", "pattern": f"^{re.escape(group)}{operation.group}$"}
        described["bindings"] = {"kafka": {"groupId": pattern, "bindingVersion": _BINDING}}
    return described


def _message(name: str, message: _Message) -> dict[str, Any]:
    return {
        "name": name,
        "title": message.title,
        "summary": message.summary,
        "contentType": message.content_type,
        **({"headers": message.headers} if message.headers else {}),
        "payload": {"$ref": f"#/components/schemas/{message.schema}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": message.key}, "bindingVersion": _BINDING}},
    }


def document_text(config: Config) -> str:
    """The document as YAML, as it is published."""
    return yaml.dump(document(config), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Writes repeated values in full, since few tools for AsyncAPI know YAML's references."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 # PyYAML's signature
        return True
