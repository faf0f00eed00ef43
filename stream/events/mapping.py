"""The shape of events: under which path of the JSON object each part of an event lies.

The default is Driftline's own schema. Other shapes are described by dotted paths:

    {"request": {"id": "a", "at": 1767225600000},            id: request.id    ts: request.at
     "endpoint": "fraud", "inputs": {"row": {...}}}          model: endpoint   features: inputs.row

A path walks through objects by key, so it cannot reach what lies in an array, in JSON inside a string, in a message
header or under a key with a dot in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import permutations


@dataclass(frozen=True, slots=True)
class EventMapping:
    """Dotted path of each part of an event. ValueError where one is empty or lies at, or inside, another.

    Whatever the mapping, signals are called "features.amount", "prediction", "score".
    """

    id: str = "id"
    ts: str = "ts"
    model: str = "model"
    version: str = "version"
    features: str = "features"
    prediction: str = "prediction"
    score: str = "score"

    def __post_init__(self) -> None:
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        for part, path in paths.items():
            if not all(path.split(".")):
                raise ValueError(f"{part}: expected a dotted path such as 'request.id', got {path!r}")
        for (part, path), (other, outer) in permutations(paths.items(), 2):
            if f"{path}.".startswith(f"{outer}."):
                raise ValueError(f"{part}: the path {path!r} lies inside that of {other}, {outer!r}")

    @property
    def monitored(self) -> dict[str, str]:
        """Paths of the parts that hold signals; a signal's name starts with one of these keys."""
        return {"features": self.features, "prediction": self.prediction, "score": self.score}


NATIVE = EventMapping()
