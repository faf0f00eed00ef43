"""The event mapping: the path of each part of an event in the JSON object.

The default is Driftline's own schema. Dotted paths describe other shapes:

    {"request": {"id": "a", "at": 1767225600000},            id: request.id    ts: request.at
     "endpoint": "fraud", "inputs": {"row": {...}}}          model: endpoint   features: inputs.row

A path leads through objects by key, so it cannot reach into an array, JSON inside a string or a message header, nor use
a key that contains a dot.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import permutations


@dataclass(frozen=True, slots=True)
class EventMapping:
    """The dotted path of each part of an event. Raises ValueError if one is empty, or equal to or inside another.

    The mapping does not change the names of signals: "features.amount", "prediction", "score".
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
        """The paths of the parts that hold signals, by the first part of their names."""
        return {"features": self.features, "prediction": self.prediction, "score": self.score}


NATIVE = EventMapping()
