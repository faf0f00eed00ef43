"""The JSON Schemas (draft 2020-12) of the messages that users write and read. Pure; published in docs/.

alert    derived from the types of `stream.alerts.schema`
event    what `stream.events.parse` accepts, in Driftline's own shape; tests compare the two
label    the format of labels that come by themselves
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from driftline.stream.alerts.schema import Evidence, IncidentAlert, OutageEvidence
from driftline.stream.events.event import MAX_NAME
from driftline.stream.events.limits import DEFAULT_LIMITS
from driftline.stream.events.mapping import NATIVE
from driftline.stream.events.times import END_OF_EPOCH, MIN_EPOCH
from driftline.stream.judge.changes import Change, Histogram, Profile

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Years from 1969, since with an offset its last hours may be in 1970. The description says what no pattern can.
_RFC3339 = (
    "^(1969|19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?$"
)


def alert_schema() -> Schema:
    """The alert's schema."""
    parts = alert_parts("#/$defs/{name}")
    whole = parts.pop("AlertEvent")
    return {"$schema": DIALECT, **whole, "title": "Driftline alert", "$defs": parts}


def event_schema() -> Schema:
    """The prediction event's schema."""
    return {"$schema": DIALECT, "title": "Driftline prediction event", **event_part()}


def label_schema() -> Schema:
    """The label event's schema."""
    return {"$schema": DIALECT, "title": "Driftline label event", **label_part()}


def schema_text(schema: Schema) -> str:
    """A schema as it is published."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def alert_parts(reference: str) -> dict[str, Schema]:
    """The alert's types by name, AlertEvent being the outermost. reference: template of a `$ref`, with {name}."""
    _, components = msgspec.json.schema_components([IncidentAlert, OutageEvidence], ref_template=reference)
    # msgspec names a generic type after its parameter, too.
    text = json.dumps(components).replace("_Evidence_", "").replace("[Evidence]", "")
    parts: dict[str, Schema] = json.loads(text)
    data = parts["AlertData"]["properties"]
    kinds = [reference.format(name=each.__name__) for each in (Evidence, OutageEvidence)]
    data["evidence"] = {"description": data["evidence"]["description"], "anyOf": [{"$ref": kind} for kind in kinds]}
    return parts | {each.__name__: _always_whole(parts[each.__name__]) for each in (Change, Profile, Histogram)}


def _always_whole(part: Schema) -> Schema:
    """A type whose fields with a default are always written: those serve state that an older version stored."""
    properties, required = part["properties"], part.get("required", [])
    written = [name for name, field in properties.items() if name in required or "default" in field]
    return {
        **part,
        "properties": {name: _without_default(properties[name]) for name in properties},
        "required": written,
    }


def _without_default(field: Schema) -> Schema:
    return {name: value for name, value in field.items() if name != "default"}


def event_part() -> Schema:
    """The prediction event as a type."""
    parts = {
        NATIVE.id: _id("The event's id."),
        NATIVE.ts: _time("When the prediction was made."),
        NATIVE.model: _model("The model's name."),
        NATIVE.version: {
            "description": f"The model's version: a number, or a text of at most {MAX_NAME} characters. Anything else "
            "counts as none."
        },
        NATIVE.features: {
            "description": 'The features by name. Nested values are named with dots: {"geo": {"lat": 1}} is '
            f"`features.geo.lat`. Names over {MAX_NAME} characters are not monitored. A value of any type counts: "
            "numbers, texts and booleans as themselves, null as missing, everything else as invalid.",
            "type": ["object", "null"],
        },
        NATIVE.prediction: {"description": "What the model predicts."},
        NATIVE.score: {"description": "The model's score."},
        "label": {"description": "The true outcome, if it is known already; read where `outcomes.labels` is `event`."},
        "tags": {"description": "Segments of the event: texts by name. Not read yet."},
        "weight": {"description": "How much the event counts. Not read yet."},
    }
    some = [{"properties": {name: {"not": {"type": "null"}}}, "required": [name]} for name in NATIVE.monitored]
    most = DEFAULT_LIMITS
    return {
        "description": "One prediction of a model. At least one of features, prediction and score is required. At most "
        f"{most.message_bytes} bytes of UTF-8, {most.depth} objects or arrays in each other and {most.signals} names "
        "of signals, unless `limits` in the configuration says otherwise. Also refused are times that the calendar "
        "does not have, or before 1970 or after 9999, and ids and models with lone surrogates. Some other forms of "
        "time are read, too. Other fields are ignored.",
        "type": "object",
        "properties": parts,
        "required": [NATIVE.id, NATIVE.ts, NATIVE.model],
        "anyOf": some,
    }


def label_part() -> Schema:
    """The label event as a type."""
    parts = {
        "id": _id("Id of the event that the label belongs to."),
        "model": _model("Name of the model that made the prediction."),
        "label": {"description": "The true outcome.", "type": ["string", "number", "boolean"]},
        "ts": _time("When the outcome became known."),
    }
    return {
        "description": "The true outcome of a prediction. `driftline performance` and `driftline replay` read them "
        "with `--labels`, workers where `outcomes.labels` is `topic`.",
        "type": "object",
        "properties": parts,
        "required": list(parts),
    }


def _id(description: str) -> Schema:
    return {"description": description, "anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}


def _model(description: str) -> Schema:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    return {"description": description, "anyOf": [text, {"type": "number"}]}


def _time(description: str) -> Schema:
    return {
        "description": f"{description} RFC 3339 (without an offset it is UTC), or the epoch time "
        "in seconds, milli-, micro- or nanoseconds, told apart by their size.",
        "anyOf": [
            {"type": "string", "pattern": _RFC3339},
            {"type": "number", "minimum": MIN_EPOCH, "exclusiveMaximum": END_OF_EPOCH},
        ],
    }
