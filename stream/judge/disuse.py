"""When a version of a model is out of use. Pure."""

from __future__ import annotations

from typing import Any

from driftline.stream.judge.state import BUCKETS, ModelState, TrackState
from driftline.stream.panes.pane import Pane

# ms. A version is out of use when others have had events for a day without it, a day that begins half a day after its
# last event: even one that scores once a night has had some by then, and a silence of the whole model is no such day.
_PAUSE, _WITHOUT = 12 * 3_600_000, 24 * 3_600_000


def is_out_of_use(state: ModelState, ticks: int) -> bool:
    """Whether a track is out of use, as others have had events for long without it. state: as the track sees it.

    ticks: the largest time of a tick, epoch ms; what is later has a wrong clock.
    """
    if not (own := _times(state)):
        return False
    begin = max(own[-BUCKETS:]) + _PAUSE
    without = [min(time, ticks) for each in state.tracks.values() for time in _times(each) if time > begin]
    return bool(without) and max(without) - min(without) >= _WITHOUT


def _times(track: ModelState | TrackState) -> list[int]:
    """When a track had events, epoch ms, the newest last."""
    if track.judge is None:
        return [event.ts for event in track.sample]
    return [earliest(pane) for pane in (*track.judge.history, *track.judge.newest)]


def earliest(pane: Pane[Any]) -> int:
    """The time of the first event of a pane, epoch ms, as far as its ends say."""
    return min(pane.first_ts, pane.last_ts)
