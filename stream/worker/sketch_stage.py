"""The worker's first stage turns the records of a predictions partition into panes on the panes topic.

    take over: epoch, seal ──► sketch ──► send dead letters ──► runs end: seal them ──► publish their panes ──► ...

Rule 1: a run is sealed before its panes are published. So the next owner of the partition publishes the same runs again
and resumes after them.
Rule 2: the next seal waits until all panes of the last one are acknowledged.
Rule 3: a dead letter is sent before the run that holds its record is sealed, and so at least once.
Rule 4: takeovers, fetches and the closing of idle runs exclude each other.
Rule 5: a tick goes to every partition of the panes topic, once all panes of the runs that it speaks of are acknowledged
and its time is in Redis. So it overtakes none, and the next owner resumes at that time.
Rule 6: the log does not say where an idle run ends. So its seal is on Redis's disk before its panes are published, and
it is closed only after this worker has read all that the log held when it took over. If Redis loses other seals, the
pane rule finds their runs again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import attrgetter
from typing import Any, Self

from msgspec import structs

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.levels import LOG_IN_PANES, NEWEST, OUTCOMES, SLOTS_IN_PANES, TICKS
from driftline.stream.codec.panes import PaneMessage, pack_progress, unpack_progress
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.events.limits import MessageLimits
from driftline.stream.events.mapping import EventMapping
from driftline.stream.kafka.dead_letters import pane_dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.outcomes.halves import LabelHalves
from driftline.stream.panes.coverage import Coverage, Unwatched, unwatched, without_baseline
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.label_sketcher import LabelSketcher
from driftline.stream.panes.pane import Pane, Run
from driftline.stream.panes.sketcher import Sketched, Sketcher, pane_rule
from driftline.stream.panes.source_clock import SourceClock
from driftline.stream.panes.tick import Progress, Tick
from driftline.stream.panes.tracks import events_in
from driftline.stream.schemas.topics import PANE_BYTES
from driftline.stream.sources.schemas import SchemaLoader
from driftline.stream.state.store import Store
from driftline.stream.state.values import ResumePosition
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.intake import Intake, dead_letters
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.owned_partition import OwnedPartition
from driftline.stream.worker.ticks import TickFacts, new_fields, tick_records

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
_VALUE = attrgetter("value")
# s between two checks whether models that warm up have learned their baseline.
_CHECK_LEARNED_EVERY = 1.0
# Bytes of a pane; the rest is for its key and for what Kafka adds.
_LARGEST = PANE_BYTES - (64 << 10)


@dataclass(frozen=True)
class SketchSettings:
    """What the stage takes from the configuration: two topics, where runs end, and how to read an event.

    limits: of each message. max_rejected: share of the messages. for_model: the configuration of a model. is_labelled:
    of which models outcomes are counted; None: of none. waits: of which models events wait for labels; None: of none.
    """

    predictions: str
    panes: str
    rule: PaneRule
    mapping: EventMapping
    limits: MessageLimits
    max_rejected: float
    for_model: Callable[[str], ModelConfig]
    is_labelled: Callable[[str], bool] | None
    waits: Callable[[str], bool] | None

    @classmethod
    def of(cls, config: Config) -> Self:
        topics, mapping = config.topics, config.mapping.event_mapping()
        limits, rejected = config.limits.of_messages(), config.worker.max_rejected
        read = pane_rule(config), mapping, limits, rejected
        labels = config.labelled_by("event"), config.labelled_by("topic")
        return cls(topics.predictions, topics.panes, *read, config.for_model, *labels)

    @classmethod
    def of_labels(cls, config: Config) -> Self:
        """Those of the stage that reads labels, whose topic takes the place of the predictions'."""
        mapping = config.mapping.labels.event_mapping()
        return replace(cls.of(config), predictions=config.topics.labels, mapping=mapping)


class SketchStage:
    """Sketches the partitions assigned to this worker.

    baselines: those given in the configuration, by model, without the signals that are not watched. schemas: None if
    the configuration names no source of them. level: the group's format level, which may rise while the stage works.
    log: which log of its topic is read, see `continuity.log_of`. facts: of the topics; without them no tick
    is sent. tick_every: s between two ticks of a partition: even those of hundreds of partitions are fewer than panes.
    """

    level: int = NEWEST
    log: str = ""
    tick_every: float = 10.0
    facts: TickFacts | None = None

    def __init__(
        self,
        settings: SketchSettings,
        baselines: Mapping[str, Baseline],
        store: Store,
        publish: Publish,
        metrics: Metrics,
        schemas: SchemaLoader | None = None,
    ) -> None:
        self._settings, self._baselines, self._store, self._publish = settings, baselines, store, publish
        self._versions: Versions = {}
        self._schemas = schemas
        self._coverage, self.intake = Coverage(), Intake(settings.mapping, settings.max_rejected)
        self._metrics, self._partitions = metrics, dict[int, OwnedPartition]()
        self._warming_up, self._checked = set[str](), 0.0
        self._learned, self._digests, self._dropped = dict[str, Baseline](), dict[str, bytes](), 0
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; returns where to resume each: at the start of the last sealed run, or at 0."""
        await self.release()
        async with self._busy:
            ordered = sorted(partitions)
            # All at once, because each may wait for Redis's disk.
            owned = await asyncio.gather(*map(self._take_over, ordered))
            self._partitions = dict(zip(ordered, owned, strict=True))
            return {
                p: ResumePosition(each.sketcher.cutter.start, each.sealed or 0) for p, each in self._partitions.items()
            }

    def logs_begin(self, begins: Mapping[int, int]) -> None:
        """Take note of where the logs of partitions begin: what lay before was removed, and will not come."""
        for number, partition in self._partitions.items():
            partition.read_to = max(partition.read_to, begins.get(number, 0))

    async def exchange(
        self,
        settings: SketchSettings,
        baselines: Mapping[str, Baseline],
        versions: Versions = NO_VERSIONS,
    ) -> None:
        """Go on with a configuration and its baselines, each model from its next run on.

        versions: of versions, by model; only once the group's level allows them and the judges know them.
        """
        async with self._busy:
            known = {*self._baselines, *self._versions, *baselines, *versions}
            self._settings, self._baselines, self._versions = settings, baselines, versions
            for model in known:
                own = {"": baselines[model]} if model in baselines else {}
                for sketcher in self._sketchers:
                    sketcher.exchange(model, own | dict(versions.get(model, {})))

    async def release(self) -> None:
        """Give up all partitions, once the fetch in work is done."""
        async with self._busy:
            for each in self._partitions.values():
                each.abandon_closing()
            self._partitions = {}

    async def _take_over(self, partition: int) -> OwnedPartition:
        record = await self._store.claim_sketch(self._settings.predictions, partition, self.level)
        seal = await record.read_seal()
        start, ends = (seal.start, seal.ends) if seal else (0, ())
        sketcher = self._sketcher(Cutter(self._settings.rule, partition, start, ends))
        progress = unpack_progress(seal.progress) if seal and seal.progress else Progress()
        clock = SourceClock(self._settings.rule.slot_ms or 0, *(seal.tick if seal and seal.tick else ()))
        end = seal.end if seal else None
        return OwnedPartition(record, sketcher, end, replace(progress, read_to=start), clock, end or 0, read_to=start)

    def _sketcher(self, cutter: Cutter) -> Sketcher | LabelSketcher:
        """The core of the stage for a partition."""
        settings, schemas = self._settings, None if self._schemas is None else self._schemas.schemas
        learned = {model: each for model, each in self._learned.items() if model not in self._versions}
        known, read = {**learned, **self._baselines}, (settings.mapping, schemas, self._coverage, settings.limits)
        return Sketcher(settings.predictions, cutter, known, *read, dict(self._versions), *self._labels)

    @property
    def _labels(self) -> tuple[Callable[[str], bool] | None, Callable[[str], bool] | None]:
        """Of which models outcomes are counted, and of which events wait for labels; None: of none."""
        settings = self._settings
        return (settings.is_labelled, settings.waits) if self.level >= OUTCOMES else (None, None)

    async def sketch(self, fetch: Fetch) -> None:
        """Sketch fetched records; on return, the runs that ended in them are sealed and published.

        If that is given up (cancelled), the partition is given up with it: its open run holds the records already.
        """
        async with self._busy:
            try:
                await self._sketch(self._partitions[fetch.tp.partition], fetch)
            except asyncio.CancelledError:
                self._partitions.pop(fetch.tp.partition).abandon_closing()
                raise

    async def _sketch(self, partition: OwnedPartition, fetch: Fetch) -> None:
        if not fetch.records:
            partition.read_to = fetch.position
            return
        await self._load_learned()
        if self._schemas is not None:
            await self._schemas.load(map(_VALUE, fetch.records))
        if isinstance(partition.sketcher, Sketcher):
            # The configuration may have been loaded again, or the level raised, since the partition was taken over.
            partition.sketcher.ask(*self._labels)
        sketched = partition.push(fetch)
        self._count(fetch, sketched)
        self.intake.add(sketched, list(map(_VALUE, fetch.records)))
        await self._publish(dead_letters(fetch, sketched))
        await self._seal_and_publish(partition, sketched.runs)
        partition.last_fetch = time.monotonic()

    def _count(self, fetch: Fetch, sketched: Sketched) -> None:
        """Count what became of a fetch."""
        self._metrics.sketched(fetch, sketched)

    def review_coverage(self) -> list[Unwatched]:
        """The fields that no signal watches, in the events that this worker has sampled; /metrics and /health get them.

        The fields of models without a baseline are those that will be watched, so only their arrays are named.
        """
        found = list[Unwatched]()
        for model in sorted(self._coverage.sampled):
            chosen, baseline = self._settings.for_model(model), self._newest(model)
            if baseline is not None:
                found += unwatched(baseline, chosen.signals, self._coverage)
            else:
                detail = f"it has no baseline yet, which is learned from its first {chosen.learn_events:,} events"
                found += without_baseline(model, detail, self._coverage)
        self.intake.unwatched = found = sorted(found, key=lambda each: not each.is_change)
        self._metrics.set_unwatched(found)
        return found

    async def close_idle(self) -> None:
        """Close the runs that have been idle for as long as a pane may last; publish those whose seal is on disk."""
        if self._settings.rule.slot_ms is None:
            return
        async with self._busy:
            for partition in self._partitions.values():
                if partition.is_idle(self._settings.rule.slot_ms / 1000):
                    partition.close(self._progress(partition))
                elif partition.closing is not None and partition.closing.sealed.done():
                    await self._publish_closing(partition)

    async def _publish_closing(self, partition: OwnedPartition) -> None:
        """Publish the panes of the run closed by the idle timeout, if there is one, once it is sealed."""
        if partition.closing is not None:
            await partition.closing.sealed
            await self._publish_panes(partition, [partition.closing.run])
            partition.closing = None

    async def _seal_and_publish(self, partition: OwnedPartition, runs: Sequence[Run]) -> None:
        again = [run for run in runs if run.end <= (partition.sealed or 0)]
        new = runs[len(again) :]
        await self._publish_panes(partition, again)
        if new:
            await self._publish_closing(partition)
            ends = (run.end for run in new)
            await partition.record.seal(new[0].start, *ends, progress=self._progress(partition))
            partition.sealed = new[-1].end
            await self._publish_panes(partition, new)

    async def _publish_panes(self, partition: OwnedPartition, runs: Sequence[Run]) -> None:
        await self._publish(self._pane_records(runs))
        partition.published(runs)

    def _progress(self, partition: OwnedPartition) -> bytes:
        """What a seal stores of a partition's progress."""
        return pack_progress(partition.progress) if self.level >= TICKS else b""

    def asked_for_ends(self, ends: Mapping[int, int], asked: int) -> None:
        """Take note of where the logs of partitions ended when Kafka was asked, epoch ms."""
        for number, end in ends.items():
            if number in self._partitions:
                self._partitions[number].asked_for_end(end, asked)

    async def send_ticks(self) -> None:
        """Send the ticks that are due."""
        if self.level < TICKS or self.facts is None:
            return
        async with self._busy:
            for number, partition in self._partitions.items():
                if time.monotonic() - partition.ticked >= self.tick_every:
                    partition.ticked = time.monotonic()
                    await self._send_tick(number, partition, self.facts)

    async def _send_tick(self, number: int, partition: OwnedPartition, facts: TickFacts) -> None:
        settings, at = self._settings, partition.advance()
        if at is not None:
            await partition.record.note_tick(at, partition.clock.at, partition.clock.came)
            known, fields = partition.read_so_far, new_fields(self.intake.unwatched)
            counts = known.read_to, at, known.read, known.rejected
            idle = partition.clock.is_idle
            tick = Tick(settings.predictions, number, facts.predictions, *counts, fields, self.log, idle)
            await self._publish(tick_records(settings.panes, tick, facts.panes))
            self._metrics.sent_tick()
        elif partition.is_empty and self.level >= OUTCOMES:
            tick = Tick(settings.predictions, number, facts.predictions, 0, 0, log=self.log, idle=True)
            await self._publish(tick_records(settings.panes, tick, facts.panes))

    def _pane_records(self, runs: Sequence[Run]) -> list[OutgoingRecord]:
        """The panes of runs, keyed by model. A pane too large for the topic becomes a dead letter."""
        panes, dead_letters, last = list[OutgoingRecord](), list[OutgoingRecord](), dict[str, int]()
        for run in runs:
            for model, pane in run.panes.items():
                record = self._pane_record(run, model, last.get(model, 0))
                if len(record.value or b"") > _LARGEST:
                    dead_letters.append(self._too_large(record, pane))
                else:
                    panes.append(record)
                    last[model] = run.end
        self._metrics.published_panes(len(panes))
        self._metrics.dead_lettered(len(dead_letters))
        return [*panes, *dead_letters]

    def _pane_record(self, run: Run, model: str, previous_end: int) -> OutgoingRecord:
        pane, baseline, versions = run.panes[model], run.baselines.get(model, ""), run.versions.get(model, {})
        # Events of a model with a baseline had waited for their seal while it came.
        keeps_events = not baseline and not isinstance(pane.content, LabelHalves)
        if keeps_events and self._baseline(model) is None and model not in self._versions:
            self._warming_up.add(model)
        log = self.log if self.level >= LOG_IN_PANES else ""
        pane = pane if self.level >= SLOTS_IN_PANES else structs.replace(pane, slots=())
        message = PaneMessage.of(model, baseline, self._settings.predictions, pane, previous_end, log, versions)
        return OutgoingRecord(self._settings.panes, model.encode(), message.to_bytes())

    def _too_large(self, record: OutgoingRecord, pane: Pane[Any]) -> OutgoingRecord:
        events = events_in(pane.content)
        reason = (
            f"a pane of {events} events takes {len(record.value or b'')} bytes, and topic {record.topic} "
            f"takes {_LARGEST}: lower panes.events, or give the model a baseline"
        )
        return pane_dead_letter(record, self._settings.predictions, pane.ranges[0], reason)

    def _baseline(self, model: str) -> Baseline | None:
        return self._baselines.get(model) or self._learned.get(model)

    def _newest(self, model: str) -> Baseline | None:
        """The baseline that tells which fields are new: of versions, that of the last in the configuration."""
        versions = self._versions.get(model)
        return [*versions.values()][-1] if versions else self._baseline(model)

    async def _load_learned(self) -> None:
        """Load, once a second, the baselines that models have learned since their events were last published.

        Drop those of models that were forgotten; their events are published again until they have learned another.
        """
        if time.monotonic() - self._checked < _CHECK_LEARNED_EVERY or not (self._warming_up or self._learned):
            return
        self._checked = time.monotonic()
        await self._drop_forgotten()
        # The next pane of a model that still warms up adds it again; a name that never comes back is not kept.
        seen, self._warming_up = self._warming_up, set()
        for model in sorted(seen & await self._store.learned_models() if seen else ()):
            content = await self._store.load_learned(model)
            if content is not None:
                # Unpacking a wide one takes a second.
                self._learned[model] = await asyncio.to_thread(decode_baseline, content)
                self._digests[model] = sha256(content).digest()
        self._pass_on_learned()

    async def _drop_forgotten(self) -> None:
        """Drop the learned baselines of models that were forgotten, and of those that have learned another since."""
        dropped = await self._store.dropped_learned()
        for model in sorted(self._learned) if dropped != self._dropped else ():
            content = await self._store.load_learned(model)
            if content is None or sha256(content).digest() != self._digests[model]:
                del self._learned[model], self._digests[model]
                self._warming_up |= set() if content is None else {model}
                for each in self._sketchers if model not in self._versions else ():
                    each.remove_baseline(model)
        self._dropped = dropped

    def _pass_on_learned(self) -> None:
        for each in self._sketchers:
            for model, baseline in self._learned.items():
                given = model in self._baselines or model in self._versions
                if not given and each.baselines.get(model) is not baseline:
                    each.add_baseline(baseline)

    @property
    def _sketchers(self) -> list[Sketcher]:
        """Those that count events."""
        return [each.sketcher for each in self._partitions.values() if isinstance(each.sketcher, Sketcher)]
