"""What is remembered of a model between panes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Finding, Incident
from driftline.stream.panes.pane import Pane

# Buckets a row of the histogram keeps: windows follow each other in steps of a quarter of their length or finer, so the
# best suffix is missed by an eighth at most; with 2 the miss doubles, with 8 the judge's cost does.
BUCKETS = 4


@dataclass(frozen=True, slots=True)
class ModelState:
    """All that is remembered of a model.

    delivered: per partition of the predictions topic, the end of the last pane taken. sample: the model's first events
    while it has no baseline. learned: the baseline made of them. state: the judge's. alerts: so many were told. over:
    incidents of a former baseline, to be told with the next pane.
    """

    delivered: Mapping[int, int] = field(default_factory=dict)
    sample: tuple[Event, ...] = ()
    learned: Baseline | None = None
    state: JudgeState | None = None
    alerts: int = 0
    over: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeState:
    """What the judge remembers of one model.

    seen: events in the ladder since the beginning. rung: panes that wait for `clock` events to be together.
    base_floor, past_floor: per signal (S,), the position (in events seen) before which windows, or the past, are not
    looked at. incidents: by scope, see `stream.judge.incidents`.
    """

    base_floor: IntArray
    past_floor: IntArray
    seen: int = 0
    ladder: ExponentialHistogram[Pane[Sketch]] = ExponentialHistogram(BUCKETS)
    rung: Pane[Sketch] | None = None
    incidents: Mapping[str, Incident] = field(default_factory=dict)

    @property
    def drifts(self) -> list[Finding]:
        """Of all signals that drift."""
        return [each for incident in self.incidents.values() for each in incident.drifts]
