"""Carrying over: what a model remembers, in the layout of another baseline. Pure.

A signal that both baselines judge alike keeps its counts and its starts. Any other signal of the new one counts as
missing in what came before, and begins after it: no window against the reference, and no past, reaches back there. A
pane that was counted in another baseline's layout is treated in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from msgspec.structs import replace

from driftline.detectors.arrays import BoolArray
from driftline.detectors.summaries.projection import Projection
from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.watched import Signals
from driftline.stream.judge.incidents import Finding, Resolution, Subject
from driftline.stream.judge.state import JudgeState
from driftline.stream.panes.pane import Pane


def projection(old: Signals, new: Signals) -> Projection:
    """The projection that keeps the signals which are judged alike."""
    known = {(each.name, each.hash): s for s, each in enumerate(old)}
    return Projection(Shape(old), Shape(new), [known.get((each.name, each.hash)) for each in new])


def projected(pane: Pane[Sketch], onto: Projection) -> Pane[Sketch]:
    """The pane in the new layout."""
    return replace(pane, content=onto.sketch(pane.content))


def carry_over(state: JudgeState, baseline: Baseline) -> JudgeState:
    """What was remembered against another baseline, in the layout of this one.

    Half hours of the week are forgotten: the other baseline may have counted them in another time zone.
    """
    onto = projection(state.signals, baseline.watched)
    sources = np.array([source or 0 for source in onto.sources])
    carried = replace(
        state,
        baseline=baseline.content_hash,
        signals=baseline.watched,
        reference_start=state.reference_start[sources],
        past_start=state.past_start[sources],
        history=state.history.map(lambda bucket: replace(projected(bucket, onto), slots=())),
        pending=state.pending and replace(projected(state.pending, onto), slots=()),
        timeline=state.timeline and state.timeline.end_era(),
        live_slopes=None,
    )
    return begin(carried, onto.absent, state.end)


def begin(state: JudgeState, signals: BoolArray, at: int) -> JudgeState:
    """The state in which some signals (S,) begin at a position, in events seen."""
    if not signals.any():
        return state
    return replace(
        state,
        reference_start=np.where(signals, at, state.reference_start),
        past_start=np.where(signals, at, state.past_start),
    )


def gone(drifts: Collection[Finding], old: Signals | None, baseline: Baseline) -> Mapping[Subject, Resolution]:
    """What of these drifts is not compared with its reference any more, and why.

    old: the signals of the baseline that was replaced; None: not known. baseline: the one in its place.
    """
    watched = {each.name: each.hash for each in baseline.watched}
    before = {each.signal: "" for each in drifts} if old is None else {each.name: each.hash for each in old}
    moved: Resolution = "accepted" if baseline.about.get("accepted") else "replaced"
    return {
        each.subject: moved if each.signal in watched else "unwatched"
        for each in drifts
        if each.signal in before and watched.get(each.signal) != before[each.signal]
    }
