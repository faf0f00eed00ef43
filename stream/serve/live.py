"""What a group of workers knows now, read again and again from Redis and Kafka for everyone who looks.

    Redis  ─ every second: alerts of open and past incidents ─┐
           ─ every 5 s and more: models, fields, workers     ─┼─► Now ─► pages, JSON, `driftline top`
    Kafka  ─ every 10 s: where the logs end                  ─┘

However many people look, the servers are asked once. Nothing is written. A server that does not answer leaves what was
known before, with its error and since when.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from driftline.stream.alerts.feedback import Feedback
from driftline.stream.alerts.find import FoundAlert, ListedIncident, find
from driftline.stream.alerts.read import AlertError, read_alert
from driftline.stream.codec.frames import FormatError
from driftline.stream.config.sections import Config
from driftline.stream.kafka.admin import TopicsError, describe_topics, open_admin
from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.kafka.logs import Log, read_logs
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.results.timelines import Span
from driftline.stream.schemas.topics import wanted_topics
from driftline.stream.sources.topic_history import open_history
from driftline.stream.state.client import StoreError, connect
from driftline.stream.state.feedback import FeedbackStore
from driftline.stream.state.incident_index import IncidentIndex, IndexedAlerts
from driftline.stream.state.level import GroupLevel, Standing
from driftline.stream.state.models import ModelIndex, StoredModel
from driftline.stream.state.store import Store
from driftline.stream.state.timelines import ReadTimeline, TimelineIndex
from driftline.stream.state.unwatched import UnwatchedReports

log = logging.getLogger(__name__)

# s between two readings. An incident shows within one of them; models and positions are read whole, and nobody waits
# for them; Kafka needs a connection for each reading.
_ALERTS_EVERY, _MODELS_EVERY, _LOGS_EVERY = 1.0, 5.0, 10.0
# After a reading that succeeded, the next one waits for this many times what it took, if that is more: of many models,
# it must not take all of a processor from who looks. One that failed has mostly waited for a server, and what is shown
# is old: so the next one does not wait longer for it.
_SHARE = 4
# s that a reading may take before it counts as failed: ten times what it takes on a busy machine, of models for 5,000.
_ALERTS_PATIENCE, _MODELS_PATIENCE, _LOGS_PATIENCE = 5.0, 60.0, 10.0
# s after which pages are shown although not everything was read yet.
_FIRST = _ALERTS_PATIENCE + 1.0
# Searches of the whole alerts topic that may wait for another one.
_SEARCHES = 4

# A topic and one of its partitions.
Place = tuple[str, int]


class Failure(NamedTuple):
    """What cannot be read, since when, s since the epoch, and why."""

    since: float
    reason: str


class TooManySearchesError(RuntimeError):
    """As many searches of the alerts topic wait as may."""


class Lag(NamedTuple):
    """Records of a topic that are not yet done with, and of how many partitions. done: what that means."""

    topic: str
    done: str
    records: int
    partitions: int


class DeadLetters(NamedTuple):
    """How many dead letters a topic holds."""

    topic: str
    records: int


@dataclass(frozen=True)
class Now:
    """What is known.

    at: when Redis answered last, s since the epoch; 0: never. began: whether a worker has judged anything yet. alerts:
    as published, those of open incidents first; unreadable: how many are left out, of another version. recent: of each
    partition, the newest ones, newest first, and whether older ones were dropped. feedback: by incident. standing: the
    workers and the level; None if not known. failures: by what cannot be read.
    """

    at: float = 0.0
    began: bool = False
    alerts: tuple[bytes, ...] = ()
    recent: tuple[tuple[list[bytes], bool], ...] = ()
    unreadable: int = 0
    feedback: Mapping[str, Feedback] = field(default_factory=dict)
    incidents: Sequence[ListedIncident] = ()
    models: Sequence[StoredModel] = ()
    unwatched: Sequence[Unwatched] = ()
    standing: Standing | None = None
    lags: Sequence[Lag] = ()
    dead_letters: Sequence[DeadLetters] = ()
    failures: Mapping[str, Failure] = field(default_factory=dict)

    @property
    def open(self) -> list[ListedIncident]:
        """The open incidents, the worst first."""
        return [each for each in self.incidents if each.open]

    @property
    def past(self) -> list[ListedIncident]:
        """The resolved incidents that Redis still has, the newest first."""
        ended = [each for each in self.incidents if not each.open]
        return sorted(
            ended, key=lambda each: each.newest.ends_at.timestamp() if each.newest.ends_at else 0, reverse=True
        )


class Live:
    """Keeps `now` up to date while the context `reading` lasts."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.now = Now()
        self._changed = asyncio.Condition()
        self._turn = 0  # how often `now` has changed
        self._indexed: list[IndexedAlerts] | None = None
        self._searching, self._searches = asyncio.Lock(), 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read, until the context ends. It begins when everything was read once, or after some seconds."""
        client = connect(self.config.redis)
        self._store = Store(client, self.config.worker.group)
        jobs = (
            ("incidents", self._read_alerts, _ALERTS_EVERY, _ALERTS_PATIENCE),
            ("models", self._read_models, _MODELS_EVERY, _MODELS_PATIENCE),
            ("topics", self._read_logs, _LOGS_EVERY, _LOGS_PATIENCE),
        )
        first = [asyncio.Event() for _ in jobs]
        tasks = [asyncio.create_task(self._again(*job, event)) for job, event in zip(jobs, first, strict=True)]
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(event.wait() for event in first)), _FIRST)
            for (what, *_), event in zip(jobs, first, strict=True):
                if not event.is_set():  # what was never read must not look like what is empty
                    await self._fail(what, f"no answer within {_FIRST:g} s")
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.aclose()

    async def timeline(self, model: str, track: str, span: Span, of: str = "") -> ReadTimeline | None:
        """A part of the timeline of a model; None without one. of: as in `TimelineIndex.read`.

        Raises StoreError or FormatError.
        """
        index = TimelineIndex(self._store.client, self.config.worker.group, self.config.topics.panes)
        partition = next((each.partition for each in self.now.models if each.name == model), None)
        if partition is None:  # perhaps it is newer than what was read last
            partition = await index.partition_of(model)
        if partition is None:
            return None
        return await index.read(model, partition, track, span.length, span.by_day, of)

    async def changed(self, turn: int, patience: float) -> int:
        """Wait until something differs from what it was at a turn, or for some seconds; returns the turn now."""
        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self._turn != turn), patience)
            return self._turn

    async def explain(self, wanted: str) -> FoundAlert | None:
        """The alert or incident with an id; None if neither Redis nor the alerts topic has it.

        Raises AmbiguousIdError, TooManySearchesError, and KafkaUnreachableError or TopicsError if the topic cannot be
        searched.
        """
        if found := find(lambda: self.now.alerts, wanted):
            return found
        if self._searches > _SEARCHES:
            raise TooManySearchesError
        self._searches += 1
        try:
            async with self._searching:  # it reads the whole topic, so one at a time
                return await asyncio.to_thread(find, self._published, wanted)
        finally:
            self._searches -= 1

    def _published(self) -> Iterator[bytes | None]:
        """All alerts on the topic."""
        with open_history(self.config.kafka, self.config.topics.alerts, None, None) as history:
            for log in history.logs().values():
                for batch in log:
                    yield from batch.messages

    async def _again(
        self, what: str, read: Callable[[], Awaitable[Now]], every: float, patience: float, first: asyncio.Event
    ) -> None:
        """Read for ever. Whatever goes wrong is shown, and tried again."""
        while True:
            began, pause = time.monotonic(), every
            try:
                now = await asyncio.wait_for(read(), patience)
                failures = {name: each for name, each in now.failures.items() if name != what}
                await self._set(replace(now, failures=failures))
                pause = max(every, _SHARE * (time.monotonic() - began))
            except TimeoutError:
                await self._fail(what, f"no answer within {patience:g} s")
            except (StoreError, FormatError, AlertError, KafkaUnreachableError, TopicsError) as error:
                await self._fail(what, str(error))
            except Exception as error:
                log.exception("cannot read %s", what)
                await self._fail(what, f"{type(error).__name__}: {error}")
            first.set()
            await asyncio.sleep(pause)

    async def _fail(self, what: str, reason: str) -> None:
        known = self.now.failures.get(what)
        failure = Failure(known.since if known else time.time(), reason)
        await self._set(replace(self.now, failures={**self.now.failures, what: failure}))

    async def _set(self, now: Now) -> None:
        """Take what was read; whoever waits is woken if a page would look otherwise."""
        before, self.now = self.now, now
        if _seen(before) != _seen(now):
            async with self._changed:
                self._turn += 1
                self._changed.notify_all()

    async def _read_alerts(self) -> Now:
        config = self.config
        index = IncidentIndex(self._store.client, config.worker.group, config.topics.panes)
        indexed = await index.read()
        if indexed == self._indexed:
            return replace(self.now, at=time.time())
        known = [each._replace(open=_readable(each.open), recent=_readable(each.recent)) for each in indexed]
        incidents = sorted(await index.incidents(known), key=lambda each: each.rank)
        self._indexed = indexed
        alerts = tuple(line for kind in ("open", "recent") for each in known for line in getattr(each, kind))
        return replace(
            self.now,
            at=time.time(),
            began=bool(indexed),
            alerts=alerts,
            recent=tuple((each.recent, each.is_full) for each in known),
            unreadable=sum(len(each.open) + len(each.recent) for each in indexed) - len(alerts),
            incidents=incidents,
        )

    async def _read_models(self) -> Now:
        store, config = self._store, self.config
        models = await ModelIndex(store.client, store.namespace, config.topics.panes).read()
        self._indexed = None  # an incident may be recovering by now, which no alert says
        now = time.time()
        unwatched = await UnwatchedReports(store.client, store.namespace).read(now)
        standing = await GroupLevel(store).standing(now)
        feedback = await FeedbackStore(store.client, store.namespace).read()
        return replace(self.now, models=models, unwatched=unwatched, standing=standing, feedback=feedback)

    async def _read_logs(self) -> Now:
        positions, topics = await self._store.positions(), self.config.topics
        ends, dead = await asyncio.to_thread(self._ends, list(positions))
        lags = [_lag(topics.predictions, "counted", positions, ends), _lag(topics.panes, "judged", positions, ends)]
        return replace(self.now, lags=lags, dead_letters=dead)

    def _ends(self, places: list[Place]) -> tuple[dict[Place, Log], list[DeadLetters]]:
        """Where partitions end, and the dead letters there are."""
        names = [each.name for each in wanted_topics(self.config.topics) if each.name.endswith(".dlq")]
        with open_admin(self.config.kafka) as admin:
            found = describe_topics(admin, names)
        dead = [(name, part) for name in names if name in found for part in range(found[name].partitions)]
        logs = read_logs(self.config.kafka, [*places, *dead])
        held = {name: sum(log.end - log.begin for place, log in logs.items() if place[0] == name) for name in names}
        return logs, [DeadLetters(name, count) for name, count in held.items()]


def _seen(now: Now) -> Now:
    """What a page shows of it that does not pass with time."""
    standing = now.standing
    if standing is not None:  # workers report again and again
        standing = replace(
            standing, at=0.0, workers=[msgspec.structs.replace(each, at=0.0) for each in standing.workers]
        )
    return replace(now, at=0.0, standing=standing)


def _readable(alerts: Sequence[bytes]) -> list[bytes]:
    """The alerts that this version can read."""
    found = []
    for each in alerts:
        with suppress(AlertError):
            read_alert(each)
            found.append(each)
    return found


def _lag(topic: str, done: str, positions: Mapping[Place, int], logs: Mapping[Place, Log]) -> Lag:
    own = [place for place in positions if place[0] == topic]
    return Lag(topic, done, sum(max(logs[each].end - positions[each], 0) for each in own if each in logs), len(own))
