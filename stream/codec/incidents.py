"""The incidents of a model as bytes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import msgspec

from driftline.stream.codec.frames import frame, unframe
from driftline.stream.judge.incidents import Incident

# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_INCIDENTS = msgspec.msgpack.Decoder(tuple[Incident, ...])


def pack_incidents(part: tuple[Incident, ...]) -> bytes:
    """The frame of the part `incidents`."""
    return frame(b"I", part, _version_of(part))


def unpack_incidents(part: bytes) -> dict[str, Incident]:
    """The incidents in a part `incidents`, by scope. Raises FormatError."""
    return {each.scope: each for each in unframe(b"I", part, _INCIDENTS)}


def _version_of(incidents: Sequence[Incident]) -> int:
    """The least version whose readers know tracks and segments, 2, or outcomes and courses, 3, if there are any."""
    findings = [*chain.from_iterable((*each.drifts, *each.recovered) for each in incidents)]
    if any(each.outcome for each in findings) or any(each.course is not msgspec.UNSET for each in incidents):
        return 3
    return 2 if any(each.track or each.segment for each in findings) else 1
