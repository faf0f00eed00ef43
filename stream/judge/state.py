"""The state of one model: what is remembered of it between panes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Finding, Incident
from driftline.stream.panes.pane import Pane, Source

# Buckets a row of the histogram keeps: windows follow each other in steps of a quarter of their length or finer, so the
# best suffix is missed by an eighth at most; with 2 the miss doubles, with 8 the judge's cost does.
BUCKETS = 4


@dataclass(frozen=True, slots=True)
class ModelState:
    """All that is remembered of a model between panes.

    consumed: per partition of each topic, the end of the last pane judged. sample: the model's first events,
    until they become its baseline. learned: the baseline made of them. judge: None until the first pane is judged.
    last_seq: number of the newest alert. superseded: incidents against a replaced baseline, closed with the next pane.
    values: those of the sample, see `values_of`. clock: how late it was at the last check, epoch ms; 0 without ticks.
    """

    consumed: Mapping[Source, int] = field(default_factory=dict)
    sample: tuple[Event, ...] = ()
    learned: Baseline | None = None
    judge: JudgeState | None = None
    last_seq: int = 0
    superseded: tuple[Incident, ...] = ()
    values: int = 0
    clock: int = 0


@dataclass(frozen=True, slots=True)
class JudgeState:
    """What the judge remembers of one model.

    reference_start, past_start: per signal (S,), the position, in events seen, before which no window against the
    reference, or no past, begins. seen: events added to `history` since the beginning. pending: panes not evaluated
    yet, since together they have fewer than `clock` events. incidents: by scope, see `stream.judge.incidents`.
    """

    reference_start: IntArray
    past_start: IntArray
    seen: int = 0
    history: ExponentialHistogram[Pane[Sketch]] = ExponentialHistogram(BUCKETS)
    pending: Pane[Sketch] | None = None
    incidents: Mapping[str, Incident] = field(default_factory=dict)

    @property
    def drifts(self) -> list[Finding]:
        """The findings of all signals that drift."""
        return [each for incident in self.incidents.values() for each in incident.drifts]
