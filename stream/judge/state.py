"""The state of one model: what is remembered of it between panes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.delays import Delays
from driftline.detectors.decision.traffic import Traffic
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.watched import Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Finding, Incident
from driftline.stream.judge.live_slopes import LiveSlopes
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.judge.timeline import Timeline
from driftline.stream.judge.waiting import Waiting
from driftline.stream.panes.pane import Pane, Source

# Buckets a row of the histogram keeps: windows follow each other in steps of a quarter of their length or finer, so the
# best suffix is missed by an eighth at most; with 2 the miss doubles, with 8 the judge's cost does.
BUCKETS = 4
#: A slot later than all others.
FOREVER: Final = 1 << 62


class ModelState(Struct, frozen=True):
    """All that is remembered of a model between panes.

    consumed: per partition of each topic, the end of the last pane judged. sample: the model's first events,
    until they become its baseline. learned: the baseline made of them. judge: None until the first pane is judged.
    last_seq: number of the newest alert. incidents: by scope, see `stream.judge.incidents`. values: those of the
    sample, see `values_of`. clock: how late it was at the last check, epoch ms; 0 without ticks. unreadable: there is a
    stored history, and nothing that says how to read it. traffic: None until the first tick, or if it is not judged.
    sample, learned, judge, values and outcomes are those of the track ""; tracks: the others by version, last the one
    that had events last. outcomes: None until one is counted. waiting: predictions and labels of all tracks that wait
    for each other; None without any.
    """

    consumed: Mapping[Source, int] = field(default_factory=dict)
    sample: tuple[Event, ...] = ()
    learned: Baseline | None = None
    judge: JudgeState | None = None
    last_seq: int = 0
    incidents: Mapping[str, Incident] = field(default_factory=dict)
    values: int = 0
    clock: int = 0
    unreadable: bool = False
    traffic: TrafficState | None = None
    tracks: Mapping[str, TrackState] = field(default_factory=dict)
    outcomes: OutcomesState | None = None
    waiting: Waiting | None = None

    @property
    def drifts(self) -> list[Finding]:
        """All that drifts."""
        return [each for incident in self.incidents.values() for each in incident.drifts]

    @property
    def has_history(self) -> bool:
        """Whether anything is remembered of its events; nothing is of a model that was forgotten."""
        return bool(self.judge or self.sample or self.learned or self.tracks)

    @property
    def open_incidents(self) -> list[Incident]:
        """The incidents that alerts have reported as open, that of its traffic among them."""
        of_traffic = self.traffic.incident if self.traffic else None
        incidents = (*self.incidents.values(), *([of_traffic] if of_traffic else []))
        return [each for each in incidents if each.reported]

    @property
    def elsewhere(self) -> int:
        """Events in the histories of `tracks`."""
        return sum(each.judge.end for each in self.tracks.values() if each.judge is not None)

    @property
    def seen(self) -> int:
        """Events in the histories of all tracks."""
        return self.elsewhere + (self.judge.end if self.judge else 0)

    @property
    def judges(self) -> list[JudgeState]:
        """The histories of all tracks that have one."""
        judges = (self.judge, *(each.judge for each in self.tracks.values()))
        return [each for each in judges if each is not None]

    @property
    def outcomes_by_track(self) -> dict[str, OutcomesState]:
        """The outcomes of all tracks that have any."""
        own = {"": self.outcomes, **{track: each.outcomes for track, each in self.tracks.items()}}
        return {track: outcomes for track, outcomes in own.items() if outcomes is not None}

    @property
    def newest(self) -> int:
        """Time of the last event, epoch ms; 0 before the first, and of a model that was forgotten."""
        samples = (self.sample, *(each.sample for each in self.tracks.values()))
        panes = (pane.last_ts for judge in self.judges for pane in judge.newest)
        return max([*panes, *(sample[-1].ts for sample in samples if sample)], default=0)

    def stored(self) -> ModelState:
        """The state once it is stored, without what was kept for that alone."""
        tracks = {name: each.stored() for name, each in self.tracks.items()}
        outcomes = self.outcomes and self.outcomes.stored()
        return replace(self, judge=self.judge and self.judge.stored(), outcomes=outcomes, tracks=tracks)

    def seen_by(self, track: str) -> ModelState:
        """The state as a track sees it: with its own sample, baseline and history, and all others among `tracks`."""
        if not track:
            return self
        own = TrackState(self.sample, self.learned, self.judge, self.values, self.outcomes)
        others = {"": own, **self.tracks}
        own = others.pop(track, TrackState())
        return replace(
            self,
            sample=own.sample,
            learned=own.learned,
            judge=own.judge,
            values=own.values,
            outcomes=own.outcomes,
            tracks=others,
        )

    def after_track(self, track: str, seen: ModelState) -> ModelState:
        """The state after events of a track. seen: what `seen_by` gave, after them."""
        if not track:
            return seen
        others = {name: each for name, each in self.tracks.items() if name != track}
        own = TrackState(seen.sample, seen.learned, seen.judge, seen.values, seen.outcomes)
        return replace(self, incidents=seen.incidents, clock=seen.clock, tracks={**others, track: own})


class TrackState(Struct, frozen=True):
    """What is remembered of one version of a model that is judged by itself; see `ModelState`."""

    sample: tuple[Event, ...] = ()
    learned: Baseline | None = None
    judge: JudgeState | None = None
    values: int = 0
    outcomes: OutcomesState | None = None

    def stored(self) -> TrackState:
        """The state once it is stored, without what was kept for that alone."""
        judge, outcomes = self.judge and self.judge.stored(), self.outcomes and self.outcomes.stored()
        return replace(self, judge=judge, outcomes=outcomes)


class TrafficState(Struct, frozen=True):
    """What is remembered of how many events a model has.

    begin: slot before which no window begins, the end of the last incident. closed: slots [first, end) of that, which
    are not learned. incident: the open one, or one within its cooldown, see `stream.judge.absence`. delays: by how much
    events come after their time was complete.
    """

    counts: Traffic
    begin: int = 0
    closed: tuple[int, int] = (0, 0)
    incident: Incident | None = None
    delays: Delays = Delays()

    @property
    def unlearned(self) -> tuple[tuple[int, int], ...]:
        """The slots [first, end) of incidents, which are not learned; all of them while events come too late."""
        drifts = self.incident.drifts if self.incident else ()
        late = [(0, FOREVER)] if self.delays.too_late else []
        return (self.closed, *((each.start, FOREVER) for each in drifts), *late)


class JudgeState(Struct, frozen=True):
    """What the judge remembers of one model: its history in the layout of one baseline.

    baseline: the baseline's content hash. signals: its signals. portable: whether these are stored with the history, so
    that it outlives its baseline; workers at level 1 do not read that. reference_start, past_start: per signal (S,),
    the position, in events seen, before which no window against the reference, or no past, begins. seen: events added
    to `history` since the beginning. pending: panes not evaluated yet, since together they have fewer than `clock`
    events. timeline: None while none is kept. live_slopes: None where none are used.
    """

    baseline: str
    signals: Signals
    reference_start: IntArray
    past_start: IntArray
    seen: int = 0
    history: ExponentialHistogram[Pane[Sketch]] = ExponentialHistogram(BUCKETS)
    pending: Pane[Sketch] | None = None
    portable: bool = False
    timeline: Timeline | None = None
    live_slopes: LiveSlopes | None = None

    def stored(self) -> JudgeState:
        """The state once it is stored, without what was kept for that alone."""
        return replace(self, timeline=self.timeline.stored()) if self.timeline and self.timeline.unstored else self

    @property
    def end(self) -> int:
        """Events seen, those of panes that are not evaluated yet included."""
        return self.seen + (self.pending.content.n if self.pending else 0)

    @property
    def panes(self) -> list[Pane[Sketch]]:
        """All of its panes, oldest first."""
        return [*self.history, *([self.pending] if self.pending else [])]

    @property
    def newest(self) -> list[Pane[Sketch]]:
        """The newest of its panes; none before the first."""
        return self.panes[-1:]
