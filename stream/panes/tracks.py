"""Tracks: the events of a model by what they are judged by, where its versions have baselines of their own.

A pane holds a sketch for each version with a baseline of its own that has events in it. The track "" is that of all
other versions; while these have no baseline, it holds their events, among which the judge finds more versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from driftline.detectors.summaries.sketch import Sketch

# Characters of a version that is judged by itself: it is a part of names in Redis.
_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Tracks:
    """The content of each track, sorted by its name; at least one."""

    parts: Mapping[str, Any]

    def __len__(self) -> int:
        """The number of events."""
        return sum(map(events_in, self.parts.values()))


def by_track(content: Any) -> Mapping[str, Any]:
    """The contents of a pane by track; of a model without versions, that of the track ""."""
    return content.parts if isinstance(content, Tracks) else {"": content}


def events_in(content: Any) -> int:
    """The number of events of a pane's content: a sketch, events, or tracks of them."""
    return content.n if isinstance(content, Sketch) else len(content)


def is_track(version: str | None) -> TypeGuard[str]:
    """Whether events of a version can be a track of their own: its name can be stored.

    >>> is_track("4.2"), is_track(None), is_track("")
    (True, False, False)
    """
    return (
        version is not None and 0 < len(version) <= _NAME and not any("\ud800" <= each <= "\udfff" for each in version)
    )
