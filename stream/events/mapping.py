"""The event mapping: where each part of an event is found in a message, and how its time and its rows are read.

The default is Driftline's own schema. Dotted paths describe other shapes:

    {"request": {"id": "a", "at": 1767225600000},            id: request.id    ts: request.at
     "endpoint": "fraud", "inputs": {"row": {...}}}          model: endpoint   features: inputs.row

    {"user": 7, "timestamp": "2026-01-01", "x1": 0.5, ...}   id: user          ts: timestamp
                                                             model: =churn     features: rest

A path leads through objects by key; a key may contain spaces, but no dot. The features are all that their object holds
but the other parts: so `features: rest`, the whole message, leaves out what `id`, `ts` and the others name. With
`rows`, one message holds many events (`stream.events.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal, NamedTuple

from driftline.detectors.arrays import IntArray
from driftline.stream.events.times import TimeRule, Unit

#: Instead of a path, for `id` and `ts`: the topic, partition and offset of the record, and its Kafka timestamp.
RECORD = "$record"
#: Instead of a path, for `model`: the name of the topic.
TOPIC = "$topic"
#: Instead of a path, for `features`: the whole message.
REST = "rest"
#: Begins a constant, for `model`: `=fraud`.
CONSTANT = "="

Preset = Literal["kserve-v1", "kserve-v2", "seldon", "sagemaker", "debezium", "instances"]
# Fields that describe well-known messages; what is given beside a preset wins.
PRESETS: dict[Preset, dict[str, Any]] = {
    "kserve-v1": {
        "ts": "time", "model": "inferenceservicename", "rows": True,
        "features": "data.instances", "prediction": "data.predictions",
    },
    "kserve-v2": {
        "ts": "time", "model": "inferenceservicename", "rows": True,
        "features": "data.inputs", "prediction": "data.outputs",
    },
    "seldon": {"rows": True, "features": "request.data", "prediction": "response.data"},
    "sagemaker": {
        "id": "eventMetadata.eventId", "ts": "eventMetadata.inferenceTime", "rows": True,
        "features": "captureData.endpointInput", "prediction": "captureData.endpointOutput",
    },
    "debezium": {"id": RECORD, "ts": "ts_ms", "features": "after"},
    "instances": {"rows": True, "features": "instances", "prediction": "predictions"},
}  # fmt: skip

_READ = ("id", "ts", "model", "version", "features", "prediction", "score")
# Parts that are read only where they are asked for. They may share a path with one that is read, and are no features.
_UNREAD = ("label", "weight", "tags")
_PARTS = (*_READ, *_UNREAD)
_RECORD_PARTS = {"id": (RECORD,), "ts": (RECORD,), "model": (TOPIC,)}


class Origin(NamedTuple):
    """Where a message comes from. timestamp: Kafka's, epoch milliseconds; None for a file."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None = None


class Origins(NamedTuple):
    """Where the messages of a batch come from: (n,) offsets of a partition and, from a topic, (n,) Kafka timestamps."""

    topic: str
    partition: int
    offsets: IntArray
    timestamps: IntArray | None = None

    def at(self, position: int) -> Origin:
        """Where one message comes from."""
        stamp = None if self.timestamps is None else int(self.timestamps[position])
        return Origin(self.topic, self.partition, int(self.offsets[position]), stamp)


@dataclass(frozen=True, slots=True)
class EventMapping:
    """Where the parts of an event are. Raises ValueError, "part: rule", if the fields contradict each other.

    id … tags: dotted paths, or one of the words above. unit, format, zone: how times are read, see `TimeRule`. nulls:
    texts that mean that a value is missing. rows: whether a message holds many events. names: of the features in
    blocks that hold none. names_at: the path at which the message holds them instead.

    The mapping does not change the names of signals: "features.amount", "prediction", "score".
    """

    id: str = "id"
    ts: str = "ts"
    model: str = "model"
    version: str = "version"
    features: str = "features"
    prediction: str = "prediction"
    score: str = "score"
    label: str = "label"
    weight: str = "weight"
    tags: str = "tags"
    unit: Unit = "auto"
    format: str | None = None
    zone: str = "UTC"
    nulls: tuple[str, ...] = ()
    rows: bool = False
    names: tuple[str, ...] = ()
    names_at: str | None = None

    def __post_init__(self) -> None:
        _ = self.time_rule
        paths = {part: path for part in _PARTS if (path := self.path(part)) is not None}
        for part, path in paths.items():
            if not all(path) or (part != "features" and not path):
                raise ValueError(f"{part}: expected a dotted path such as 'request.id', got {getattr(self, part)!r}")
        read = [(part, path) for part, path in paths.items() if part in _READ]
        for (part, path), (other, outer) in permutations(read, 2):
            if path[: len(outer)] == outer and (other != "features" or path == outer):
                raise ValueError(
                    f"{part}: the path {'.'.join(path)!r} lies inside that of {other}, {'.'.join(outer)!r}"
                )
        if self.model == CONSTANT:
            raise ValueError("model: expected a name after '=', as in '=fraud'")
        if self.rows and self.features == REST:
            raise ValueError("features: `rest` is one row; with `rows`, name the path of the rows")
        for part in ("names", "names_at"):
            if getattr(self, part) and not self.rows:
                raise ValueError(f"{part}: has no effect without `rows`")
        if self.names and self.names_at:
            raise ValueError("names_at: has no effect beside `names`")

    def path(self, part: str) -> tuple[str, ...] | None:
        """The keys that lead to a part, none for the whole message; None if it is not in the message itself."""
        text: str = getattr(self, part)
        if text in _RECORD_PARTS.get(part, ()) or (part == "model" and text.startswith(CONSTANT)):
            return None
        return () if part == "features" and text == REST else tuple(text.split("."))

    @property
    def constant_model(self) -> str | None:
        """The name of the model if the mapping states it."""
        return self.model[len(CONSTANT) :] if self.model.startswith(CONSTANT) else None

    @property
    def monitored(self) -> dict[str, tuple[str, ...]]:
        """The paths of the parts that hold signals, by the first part of their names."""
        return {part: self.path(part) or () for part in ("features", "prediction", "score")}

    def extra_path(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The path of the part that holds a value that is no signal, and the keys in it: of "tags.land", land.

        Raises ValueError unless the name is "version", "label", "weight" or "tags.…".
        """
        part, *keys = name.split(".")
        if part not in ("version", *_UNREAD) or bool(keys) != (part == "tags"):
            raise ValueError(f"{name}: expected version, label, weight or the name of a tag, such as tags.land")
        return self.path(part) or (), tuple(keys)

    @property
    def left_out(self) -> tuple[tuple[str, ...], ...]:
        """Paths, from the features' object on, of the parts that lie in it and so are no features."""
        home = self.path("features") or ()
        paths = (self.path(part) or () for part in _PARTS if part != "features")
        return tuple(path[len(home) :] for path in paths if len(path) > len(home) and path[: len(home)] == home)

    def leads_into(self, key: str) -> bool:
        """Whether the path of some part begins with this key."""
        return any((self.path(part) or ())[:1] == (key,) for part in _PARTS)

    @property
    def time_rule(self) -> TimeRule:
        """How times are read. Raises ValueError for an unknown zone."""
        return TimeRule(self.unit, self.format, self.zone)


def value_at(document: Mapping[str, Any], path: Iterable[str]) -> Any:
    """The value to which the keys of a path lead in a parsed message; None if there is none."""
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


NATIVE = EventMapping()
