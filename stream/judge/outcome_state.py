"""What is remembered of the outcomes of one track of a model between panes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.stream.config.outcomes import MEAN_ERROR
from driftline.stream.judge.timeline import Timeline
from driftline.stream.panes.pane import Pane

# Buckets a row of the histogram keeps, as in that of the traffic.
_BUCKETS = 4


class OutcomeChange(Struct, frozen=True):
    """How a metric of outcomes changed, or misses its floor.

    metric, of: its name, and the class that it is about; "" for none. before: in the reference; of a floor, the floor.
    after: in the window. mix, coverage, concept: parts of after - before, by the mix of scores, as other predictions
    have labels than in the reference, and since labels no longer follow scores; 0 of a floor.
    """

    metric: str
    of: str
    before: float
    after: float
    mix: float = 0.0
    concept: float = 0.0
    coverage: float = 0.0

    @property
    def effect(self) -> float:
        """What the severity depends on: by how much a share is lower; of an error, by what share of itself it grew."""
        if self.metric not in ("error", MEAN_ERROR):
            return min(max(self.before - self.after, 0.0), 1.0)
        return min(max(self.after - self.before, 0.0) / self.before, 1.0) if self.before else 1.0


class OutcomesState(Struct, frozen=True):
    """The history of outcomes, in one layout, and what they are compared with.

    layout: see `Coding.name`. reference: hash of the outcomes of the baseline; "" without, then the first outcomes
    are `learned`, too, in the order in which they came. seen: outcomes added to `history` since the beginning. starts:
    by signal, the position in these before which no window of it begins. pending: panes that are not evaluated yet,
    since together they have too few outcomes. timeline: None while none is kept.
    """

    layout: str
    reference: str = ""
    seen: int = 0
    starts: Mapping[str, int] = field(default_factory=dict)
    history: ExponentialHistogram[Pane[OutcomeTable]] = ExponentialHistogram(_BUCKETS)
    pending: Pane[OutcomeTable] | None = None
    learned: tuple[OutcomeTable, ...] = ()
    timeline: Timeline | None = None

    def stored(self) -> OutcomesState:
        """The state once it is stored, without what was kept for that alone."""
        return replace(self, timeline=self.timeline.stored()) if self.timeline and self.timeline.unstored else self
