"""The numbers of a model's alerts, which go on when the model is forgotten. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from driftline.stream.judge.incidents import Step
from driftline.stream.judge.lifecycle import end
from driftline.stream.judge.state import ModelState


def forget(state: ModelState) -> tuple[ModelState, list[Step]]:
    """What is remembered of a model that is forgotten, and the ends of its open incidents.

    That is nothing or, if there were alerts, the number of the newest: relays skip those that they have seen.
    """
    panes = [pane for judge in state.judges for pane in judge.newest]
    traffic = state.traffic and state.traffic.incident
    incidents = [*state.incidents.values(), *([traffic] if traffic else [])]
    at = max([pane.last_ts for pane in panes] or [each.entered for each in incidents], default=0)
    state, steps = with_numbers(state, end(incidents, at))
    return (ModelState(state.consumed, last_seq=state.last_seq) if state.last_seq else ModelState()), steps


def with_numbers(state: ModelState, steps: Sequence[Step]) -> tuple[ModelState, list[Step]]:
    """The state after these steps, and the steps with their numbers."""
    if not steps:
        return state, []
    numbered = [replace(step, seq=state.last_seq + i) for i, step in enumerate(steps, 1)]
    return replace(state, last_seq=state.last_seq + len(steps)), numbered
