"""Events of models without a baseline as bytes. Pure.

They are JSON, because only JSON holds everything that came as JSON: integers of any length, lone surrogates. Objects
and arrays among the values are emptied: what they hold is a signal of its own or not monitored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from driftline.stream.codec.frames import FormatError, Stored, envelope, open_envelope
from driftline.stream.events.columns import LABEL
from driftline.stream.events.event import Event


class _Events(Stored, frozen=True):
    """Events of one model. shapes: distinct lists of signal names. rows: id, ts, version, shape's index, values.

    labels: of each, if they were asked for.
    """

    model: str
    shapes: list[list[str]]
    rows: list[tuple[str, int, str | None, int, list[Any]]]
    labels: list[Any] = msgspec.field(default_factory=list)


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_EVENTS = msgspec.msgpack.Decoder(_Events)


def pack_events(events: Sequence[Event]) -> bytes:
    """The frame of one or more events of one model."""
    shapes: dict[tuple[str, ...], int] = {}
    rows = [
        [each.id, each.ts, each.version, shapes.setdefault(tuple(each.signals), len(shapes)), _emptied(each.signals)]
        for each in events
    ]
    labels = [_emptied(each.extras)[0] for each in events] if any(each.extras for each in events) else []
    content = [events[0].model, list(shapes), rows, *([labels] if labels else [])]
    return envelope(b"E", json.dumps(content, separators=(",", ":")).encode(), 3 if labels else 1)


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events in a frame of `pack_events`. Raises FormatError for anything else."""
    try:
        packed = msgspec.convert(json.loads(open_envelope(b"E", data)), _EVENTS.type)
        extras = [{LABEL: each} for each in packed.labels] or [{}] * len(packed.rows)
        return tuple(
            Event(id, ts, packed.model, version, dict(zip(packed.shapes[shape], values, strict=True)), extra)
            for (id, ts, version, shape, values), extra in zip(packed.rows, extras, strict=True)
        )
    except FormatError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise FormatError(f"expected events: {error}") from error


def _emptied(values: Mapping[str, Any]) -> list[Any]:
    return [type(value)() if isinstance(value, dict | list) else value for value in values.values()]
