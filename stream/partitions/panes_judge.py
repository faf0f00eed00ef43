"""Judges one partition of the panes topic: each of its messages, and when it was appended, changes what is remembered.

    Remembered ──► Changes ──messages, in the order of the log──► Changes ──► Remembered, alerts

The worker and the replay of the panes topic judge by this alone. What a message needs of baselines is loaded before:
`needs` says what. Raising FormatError or NoRoomError, a message becomes a dead letter, and has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

from driftline.detectors.summaries.shape import Shape
from driftline.stream.alerts.build import build_alert, build_topic_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ForgetMessage, PaneMessage, ReferenceMessage, check_order
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.numbers import forget
from driftline.stream.judge.schema import ALL_READ, REPORTER, Unread
from driftline.stream.judge.state import ModelState
from driftline.stream.outcomes.halves import LabelHalves
from driftline.stream.panes.pane import Pane, Source
from driftline.stream.panes.tick import Tick
from driftline.stream.panes.tracks import events_in
from driftline.stream.partitions.monitors import Monitors
from driftline.stream.partitions.remembered import Changes

Message = PaneMessage | ForgetMessage | ReferenceMessage | Tick


class Job(NamedTuple):
    """What judging one model takes. The caller may run it, in a thread, before it asks for the next job.

    run: computes the result, once; the judge calls it if nobody has. takes_long: seconds, to learn a baseline, derive
    thresholds or join labels.
    """

    run: Callable[[], tuple[ModelState, list[Step]]]
    takes_long: bool = False


@dataclass
class PanesJudge:
    """Judges messages of a partition; `changes` holds what they change."""

    monitors: Monitors
    changes: Changes

    def needs(self, message: Message) -> list[str]:
        """Hashes of the baselines that have to be known before a message is judged, those of its model's record first.

        A pane may name one that cannot be found; what it counts may still be of use.
        """
        if isinstance(message, ReferenceMessage):
            return [] if self._yields(message) else [*message.baselines.values()]
        if not isinstance(message, PaneMessage):
            return []
        record, state = self.changes.reference(message.model), self.changes.state_of(message.model)
        learned = {track: state.seen_by(track).learned for track in message.baselines}
        own = {track: each.content_hash for track, each in learned.items() if each is not None}
        counted_in = (hash_ for track, hash_ in message.baselines.items() if hash_ != own.get(track))
        return [*(record.baselines.values() if record else ()), *counted_in]

    def judge(self, message: Message, at: int) -> Iterator[Job]:
        """Judge a message, job by job; between two, the caller may do other work. at: when it was appended, epoch ms.

        Raises FormatError or NoRoomError.
        """
        if isinstance(message, PaneMessage):
            yield from self._judge(message, at)
        elif isinstance(message, Tick):
            yield from self._tick(message, at)
        elif isinstance(message, ForgetMessage):
            self._forget_asked(message.model, at)
        else:
            self._refer(message, at)

    def _judge(self, message: PaneMessage, at: int) -> Iterator[Job]:
        model, changes = message.model, self.changes
        self.monitors.baselines.check(changes.reference(model))
        kept, state = self._monitor(model), changes.state_of(model)
        monitor = kept.with_former(self._former(message, kept, state))
        source = Source(message.run.partition, "" if message.topic == self._topic else message.topic)
        consumed = state.consumed.get(source, 0)
        pane, counted_in = self._open(message, monitor, state, consumed)
        if isinstance(pane.content, LabelHalves):
            yield from self._learn(kept, state, pane, source.topic)
            return
        is_new = message.run.start >= consumed
        needs_room = is_new and not monitor.is_configured
        if needs_room:
            self._check_room(monitor, state, pane, at)
        until = changes.marks.complete_to(self._topic)
        judge = partial(monitor.judge, state, pane, source.topic, self._time, counted_in, until)
        job = Job(cache(judge), monitor.takes_long(state, pane, self._time))
        yield job
        after, steps = job.run()
        if needs_room:
            self._make_room(monitor, state, after, at)
        changes.states[model] = after
        self.monitors.keep(kept)
        if is_new:
            changes.seen[model] = at
            changes.events[model] += events_in(pane.content)
        self._decide(monitor, steps, at, message.topic)

    def _learn(self, monitor: Monitor, state: ModelState, pane: Pane[Any], topic: str) -> Iterator[Job]:
        """Take the labels of a pane. Raises FormatError if they can have no prediction: anybody may name a model.

        A worker that was not asked for labels passes over them: were they dead letters, so would those after them be.
        """
        if not (monitor.is_configured or state.has_history):
            raise FormatError(f"labels of {monitor.model!r}, of which there are neither predictions nor a baseline")
        job = Job(cache(partial(monitor.judge, state, pane, topic)))
        yield job
        self.changes.states[monitor.model], _ = job.run()
        self.monitors.keep(monitor)

    def _open(
        self, message: PaneMessage, monitor: Monitor, state: ModelState, consumed: int
    ) -> tuple[Pane[Any], dict[str, Signals]]:
        """The pane of a message, and the signals of its sketches by track. Raises FormatError if it is of no use."""
        counted_in = {track: self._signals(message, monitor, state, track) for track in message.baselines}
        check_order(message, consumed)
        layouts = {track: Shape(signals) for track, signals in counted_in.items()}
        return message.pane(layouts.get(""), layouts), counted_in

    def _tick(self, tick: Tick, at: int) -> Iterator[Job]:
        """Let it become later for the models of this partition."""
        changes, monitors, before_it = self.changes, self.monitors, self.changes.marks
        unread = self._judge_schema(tick, at)
        ticks, until = self._time, changes.marks.completed_since(before_it, self._topic)
        labels = self.monitors.rules.labels
        joined = changes.marks.joined_since(before_it, self._topic, labels) if labels else 0
        for model in changes.models:
            if not monitors.baselines.has(changes.reference(model)):
                continue
            monitor, state = self._monitor(model), changes.state_of(model)
            monitors.keep(monitor)
            judge = partial(monitor.tick, state, ticks, until, unread, joined)
            job = Job(cache(judge), monitor.tick_takes_long(state, joined))
            yield job
            after, steps = job.run()
            if after is not state:
                changes.states[model] = after
                self._decide(monitor, steps, at)

    def _judge_schema(self, tick: Tick, at: int) -> Unread:
        """Take a tick into the marks, and judge what it says of its topic; returns what could not be read of that."""
        changes, place, judge = self.changes, (tick.topic, tick.partition), self.monitors.rules.schema
        before, changes.marks = changes.marks.ticks.get(place), changes.marks.after(tick)
        if tick.topic == judge.topic and tick.time:  # an empty partition tells nothing of the topic, nor how late it is
            changes.schema, steps = judge.judge(changes.schema, before, changes.marks.ticks[place], self._time)
            if changes.before.number == REPORTER:
                changes.alerts += (build_topic_alert(judge, step, mode="live", emitted_at=at) for step in steps)
        return changes.schema.unreadable if changes.schema else ALL_READ

    def _refer(self, record: ReferenceMessage, at: int) -> None:
        """Compare a model with what a record says, from its next pane on."""
        if self._yields(record):
            return
        self.monitors.baselines.check(record)
        changes, model = self.changes, record.model
        changes.references[model] = record
        if record.baselines and model in changes.roster:
            changes.roster.forget(model)
        elif not record.baselines and (state := changes.state_of(model)).has_history:
            # It may never come again, and only a model on the roster gives way, or is forgotten on request.
            changes.roster.note(model, at, len(state.sample), state.learned is not None, state.values)
            changes.seen[model] = at

    def _yields(self, record: ReferenceMessage) -> bool:
        return record.yields_to(self.changes.reference(record.model))

    def _forget_asked(self, model: str, at: int) -> None:
        """Forget a model because somebody asked for it."""
        if self._monitor(model).is_configured:
            raise FormatError(f"model {model!r} is not forgotten: the configuration gives it a baseline")
        if model in self.changes.roster:
            self.changes.roster.forget(model)
            self._forget(model, at)

    def _forget(self, model: str, at: int) -> None:
        changes = self.changes
        changes.states[model], steps = forget(changes.state_of(model))
        changes.seen[model] = None
        changes.forgotten.append(model)
        self._decide(self._monitor(model), steps, at)
        self.monitors.drop(model)

    def _check_room(self, monitor: Monitor, state: ModelState, pane: Pane[Any], at: int) -> None:
        """Raises NoRoomError if the model is to learn its baseline from a pane, and may not."""
        if monitor.learns_from(state, pane, self._time):
            # Learning takes a second, and can fail. So nobody is forgotten before, but a model without room is refused.
            self.changes.roster.copy().make_room(monitor.model, events_in(pane.content), at, learns=True)

    def _make_room(self, monitor: Monitor, before: ModelState, after: ModelState, at: int) -> None:
        """Enter a model without a given baseline into the roster; forget those that give way. Raises NoRoomError.

        What comes of a run that began while it had one needs no room.
        """
        model, roster, learned = monitor.model, self.changes.roster, after.learned is not None
        if before.learned is None and not monitor.former:
            events, values = len(after.sample) - len(before.sample), after.values - before.values
            for each in roster.make_room(model, events, at, learned, values):
                self._forget(each, at)
        roster.note(model, at, len(after.sample), learned, after.values)

    def _former(self, message: PaneMessage, monitor: Monitor, state: ModelState) -> dict[str, Baseline]:
        """The baselines of a pane's sketches whose tracks have no reference any more: of runs that began before."""
        hashes, known = message.baselines, self.monitors.baselines
        without = sorted(hashes.keys() - monitor.baselines(state).keys())
        found = {track: known.get(message.model, hashes[track]) for track in without}
        return {track: each for track, each in found.items() if each is not None}

    def _signals(self, message: PaneMessage, monitor: Monitor, state: ModelState, track: str) -> Signals:
        """The signals of a pane's sketch of a track. Raises FormatError if they are not known."""
        hash_, baseline, own = message.baselines[track], monitor.baselines(state).get(track), state.seen_by(track)
        known = (each for each in (baseline, own.learned) if each is not None)
        found = next((each for each in known if each.content_hash == hash_), None)
        found = found or self.monitors.baselines.get(message.model, hash_)
        if found is None and baseline is not None and own.judge is not None and own.judge.baseline == hash_:
            return own.judge.signals
        if found is None:
            raise FormatError(f"a pane of {message.model!r} against another baseline than its judge knows")
        return found.watched

    def _decide(self, monitor: Monitor, steps: Sequence[Step], at: int, topic: str = "") -> None:
        """Add the alerts of steps. topic: of the events, by default the predictions topic."""
        topic = topic or self._topic
        self.changes.alerts += (build_alert(monitor, step, mode="live", topic=topic, emitted_at=at) for step in steps)

    def _monitor(self, model: str) -> Monitor:
        return self.monitors.of(model, self.changes.reference(model))

    @property
    def _topic(self) -> str:
        return self.monitors.rules.predictions

    @property
    def _time(self) -> int:
        return self.changes.marks.time_of(self._topic)
