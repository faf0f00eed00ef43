"""The store: the workers' state in Redis or Valkey, kept so that no event is lost and none counted twice.

NS is the namespace (the consumer group), T a topic, P one of its partitions, M a model. Keys that must change together
share a hash tag, so they lie in one slot of a cluster. No key has a time to live; only its owner writes it. (Beside
these, `stream.state.unwatched` keeps what people may read, which has one.)

| key                    | type   | owner             | holds                                                         |
|------------------------|--------|-------------------|---------------------------------------------------------------|
| NS:{sketch/T/P}        | hash   | sketcher of P     | claim; start, end, ends: the runs sealed last; with ticks:    |
|                        |        |                   | progress up to start, tick: "TIME AT CAME" of the last one    |
| NS:{judge/T/P}         | hash   | judge of panes P  | claim; next: offset to resume at; sent: see outbox            |
| NS:{judge/T/P}:models  | set    | judge of panes P  | the names of the models below                                 |
| NS:{judge/T/P}:seen    | hash   | judge of panes P  | when the newest pane of each was appended, epoch ms           |
| NS:{judge/T/P}:marks   | hash   | judge of panes P  | the ticks received, joined, by "topic/partition"              |
| NS:{judge/T/P}:refs    | hash   | judge of panes P  | by model, the record of what it is compared with              |
| NS:{judge/T/P}:topics  | hash   | judge of panes P  | what is known of the messages of topics: T, and T/fields      |
| NS:{judge/T/P}:outbox  | list   | judge of panes P  | alerts not yet published, oldest first; `sent` came before    |
| NS:{judge/T/P}:open    | hash   | judge of panes P  | the newest alert of each open incident, by its id             |
| NS:{judge/T/P}:told    | list   | judge of panes P  | the newest alerts of all incidents, newest first              |
| NS:{judge/T/P}:model:M | hash   | judge of panes P  | the state of a model in parts, see `stream.codec.state`       |
|         …:timeline:M   | hash   | judge of panes P  | what is closed of its timelines, in parts                     |
| NS:learned:M           | string | judge of model M  | the baseline it learned, for the sketchers: a file's bytes    |
| NS:learned             | set    | judges            | the names of those models                                     |
| NS:forgotten           | string | judges            | how often a learned baseline was dropped, for the sketchers   |
| NS:bound               | hash   | the first worker  | facts that all of the above depend on, see `Store.bind`       |

A claim is version, epoch and claimed, see `stream.state.level`, which also keeps what workers say of themselves.

Every write to a partition is one script, so it happens wholly or not at all. It carries its writer's epoch and the
position it continues from, and is refused if another worker holds a newer epoch (`FencedError`) or if the stored
position differs (`StateMismatchError`: Redis has lost writes). A write repeated after a lost answer changes nothing.

A script checks before it writes, because Redis does not undo what a script did before an error. When Redis is out of
memory it refuses a script's first write if that may need more, but no later one: so a commit begins with one that may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Any

from driftline.stream.codec.levels import FIRST, NEWEST
from driftline.stream.codec.state import StateDelta, move_consumed
from driftline.stream.panes.pane import Source
from driftline.stream.state.client import Client, StoreError, call_redis
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.partition_scripts import (
    CLAIM,
    COMMIT,
    MOVE_JUDGE,
    MOVE_SKETCH,
    NOTE_TICK,
    OUTBOX,
    PUBLISHED,
    SEAL,
)
from driftline.stream.state.scripts import Argument, Script
from driftline.stream.state.values import DecidedAlert, OutboxAlert, Seal

# The newest version of a partition's hash that is read. From 2 on it is one more than the group's level, so that a
# worker that can do less refuses to take over. 1: a seal had one run, or the rule said where its runs end.
_NEWEST_VERSION = NEWEST + 1
#: Alerts kept for each partition of the panes topic, beside those of open incidents. An alert has 1 to 60 kB, so they
#: take 6 MB at most and mostly half of one; with half of them, a night in which 20 models drift would leave nothing of
#: the night before. The alerts topic has them all.
RECENT_ALERTS = 100

# Heads in one script: one is some 100 bytes to some kB, and Lua unpacks no more than 8000 values.
_HEADS_AT_ONCE = 500


class StateMismatchError(StoreError):
    """The stored position is not what this worker wrote last, so Redis has lost writes: restart from what is stored."""


class NewerError(StoreError):
    """A partition belongs to workers of a newer Driftline: nothing was written."""


def version_of(level: int) -> int:
    """The version of the hashes of a group's partitions at a level."""
    return level + 1


@dataclass(frozen=True)
class Store:
    """Everything stored under one namespace.

    replicas: on how many replicas' disks what must be durable is. Each call retries like `call_redis`; it may raise
    StoreError, and then RedisUnreachableError.
    """

    client: Client
    namespace: str
    replicas: int = 0

    async def claim_sketch(self, topic: str, partition: int, level: int = FIRST) -> SketchPartition:
        """Take over the sketching of a predictions partition; its earlier owners are fenced off. level: the group's.

        They stay so after a power cut of Redis, so this may wait for its disk: two owners might end an idle run at
        different offsets.
        """
        key = f"{self.namespace}:{{sketch/{topic}/{partition}}}"
        return SketchPartition(self, key, await self._claim(key, level, durable=True))

    async def claim_judge(self, topic: str, partition: int, level: int = FIRST) -> JudgePartition:
        """Take over the judging of a panes partition; its earlier owners are fenced off. level: the group's."""
        key = judge_key(self.namespace, topic, partition)
        epoch = await self._claim(key, level)
        stored = await call_redis(self.client.hget, key, "next")
        return JudgePartition(self, key, epoch, None if stored is None else int(stored))

    async def save_learned(self, model: str, baseline: bytes) -> None:
        """Pass the baseline that a model has learned to the sketchers."""
        await call_redis(self.client.set, f"{self._learned}:{model}", baseline)
        await call_redis(self.client.sadd, self._learned, model)

    async def drop_learned(self, model: str) -> None:
        """Take the baseline that a model has learned from the sketchers."""
        await call_redis(self.client.delete, f"{self._learned}:{model}")
        await call_redis(self.client.srem, self._learned, model)
        await call_redis(self.client.incr, f"{self.namespace}:forgotten")

    async def dropped_learned(self) -> int:
        """How often a learned baseline was dropped: if it has changed, those that were loaded may be gone."""
        return int(await call_redis(self.client.get, f"{self.namespace}:forgotten") or 0)

    async def learned_models(self) -> set[str]:
        """The models that have learned a baseline."""
        return {model.decode() for model in await call_redis(self.client.smembers, self._learned)}

    async def load_learned(self, model: str) -> bytes | None:
        """The baseline that a model has learned, None if it has none yet."""
        found: bytes | None = await call_redis(self.client.get, f"{self._learned}:{model}")
        return found

    async def bound(self) -> dict[str, str]:
        """The facts that stored offsets depend on, by name."""
        found = await call_redis(self.client.hgetall, self.bound_key)
        return {name.decode(): fact.decode() for name, fact in found.items()}

    async def bind(self, facts: Mapping[str, str]) -> dict[str, str]:
        """Record facts that stored offsets depend on, unless others are recorded already; returns the recorded ones."""
        for name, fact in facts.items():
            await call_redis(self.client.hsetnx, self.bound_key, name, fact)
        return await self.bound()

    async def rebind(self, facts: Mapping[str, str]) -> None:
        """Replace facts that stored offsets depend on, after the offsets were moved."""
        await call_redis(self.client.hset, self.bound_key, mapping=dict(facts))

    async def positions(self) -> dict[tuple[str, int], int]:
        """Up to where each partition that has an owner or had one was read, by topic and number. Takes no epoch."""
        return await self._offsets("sketch", "end") | await self._offsets("judge", "next")

    async def last_seals(self) -> dict[tuple[str, int], int]:
        """Where the runs begin that were sealed last, by topic and partition: their panes may not be published yet."""
        return await self._offsets("sketch", "start")

    async def _offsets(self, stage: str, field: str) -> dict[tuple[str, int], int]:
        """A field of each partition of a stage."""
        keys = await self.partition_keys(stage)
        return {place: int(await call_redis(self.client.hget, key, field) or 0) for place, key in keys.items()}

    async def partition_keys(self, stage: str = "sketch|judge") -> dict[tuple[str, int], str]:
        """The key of each partition that has an owner or had one, by topic and number."""
        pattern = re.compile(re.escape(f"{self.namespace}:{{") + rf"(?:{stage})/([^/]+)/(\d+)}}")
        matches = [match for key in await self.keys() if (match := pattern.fullmatch(key))]
        return {(match[1], int(match[2])): match[0] for match in matches}

    async def keys(self) -> list[str]:
        """Every key of this namespace, sorted."""
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", self.namespace) + ":*"

        async def scan() -> list[str]:
            return sorted([key.decode() async for key in self.client.scan_iter(match=pattern, count=1000)])

        found: list[str] = await call_redis(scan)
        return found

    async def _claim(self, key: str, level: int, durable: bool = False) -> int:
        versions = version_of(level), _NEWEST_VERSION
        return int((await self.run(CLAIM, [key], *versions, NEWEST, durable=durable))[0])

    @property
    def bound_key(self) -> str:
        """The key of the facts that stored offsets depend on."""
        return f"{self.namespace}:bound"

    @property
    def _learned(self) -> str:
        return f"{self.namespace}:learned"

    async def run(self, script: Script, keys: Sequence[str], *args: Argument, durable: bool = False) -> list[Any]:
        """What a script answers after "ok". durable: return once its writes are on disk.

        Raises FencedError or StateMismatchError if the script refuses.
        """
        if durable:
            answer: list[Any] = await script.run_durably(self.client, keys, *args, replicas=self.replicas)
        else:
            answer = await script.run(self.client, keys, *args)
        status, *rest = answer
        if status != b"ok":
            raise _refusal(status.decode(), keys[0], rest[0].decode())
        return rest


@dataclass(frozen=True)
class SketchPartition:
    """One partition of the predictions topic, owned under `epoch`."""

    store: Store
    key: str
    epoch: int

    async def read_seal(self) -> Seal | None:
        """The runs sealed last, None before the first seal."""
        names = "start", "end", "ends", "progress", "tick"
        start, end, ends, progress, tick = await call_redis(self.store.client.hmget, self.key, *names)
        if end is None:
            return None
        offsets = tuple(map(int, (end if ends is None else ends).split()))
        return Seal(int(start), offsets, progress or b"", None if tick is None else _tick_of(tick))

    async def seal(self, start: int, *ends: int, durable: bool = False, progress: bytes = b"") -> None:
        """Seal the runs from `start` on that end at `ends`. progress: see `Seal`; b"": leave it as it is.

        durable: return once the seal is on Redis's disk, which `appendfsync everysec` delays by up to a second.
        Raises FencedError, or StateMismatchError if the last sealed run does not end at `start`.
        """
        if not ends or any(end <= before for before, end in pairwise((start, *ends))) or start < 0:
            raise ValueError(f"no runs of an offset and more each from {start} to {ends}")
        more = ("progress", progress) if progress else ()
        all_ends = " ".join(map(str, ends))
        await self.store.run(SEAL, [self.key], self.epoch, start, ends[-1], all_ends, *more, durable=durable)

    async def note_tick(self, time: int, at: int, came: int) -> None:
        """Store the time of a tick, when that was so, and when events came last, before it is sent; all epoch ms.

        Raises FencedError.
        """
        await self.store.run(NOTE_TICK, [self.key], self.epoch, f"{time} {at} {came}")

    async def move(self, offset: int) -> None:
        """Let the next owner go on at another offset, as after no run. Raises FencedError."""
        await self.store.run(MOVE_SKETCH, [self.key], self.epoch, offset)


@dataclass
class JudgePartition:
    """One partition of the panes topic, owned under `epoch`.

    next_offset: offset of the pane to resume at, None before the first commit.
    """

    store: Store
    key: str
    epoch: int
    next_offset: int | None

    async def models(self) -> list[str]:
        """The models whose state is stored here, sorted."""
        return sorted(model.decode() for model in await call_redis(self.store.client.smembers, f"{self.key}:models"))

    async def state_parts(self, model: str) -> dict[str, bytes]:
        """The parts of a model's state, for `stream.codec.state.restore_state`; {} if it has none."""
        stored = await call_redis(self.store.client.hgetall, self._model(model))
        return {name.decode(): part for name, part in stored.items()}

    async def seen(self) -> dict[str, int]:
        """When the newest pane of each model was appended, epoch ms; an earlier version has stored none."""
        stored = await call_redis(self.store.client.hgetall, f"{self.key}:seen")
        return {model.decode(): int(at) for model, at in stored.items()}

    async def marks(self) -> list[bytes]:
        """The ticks received, joined: a frame for each partition of a predictions topic."""
        return list((await call_redis(self.store.client.hgetall, f"{self.key}:marks")).values())

    async def references(self) -> dict[str, bytes]:
        """The record of what each model is compared with, where one has been on the panes topic."""
        stored = await call_redis(self.store.client.hgetall, f"{self.key}:refs")
        return {model.decode(): record for model, record in stored.items()}

    async def topics(self) -> dict[str, bytes]:
        """What is known of the messages of each topic of predictions, see `stream.codec.schema`."""
        stored = await call_redis(self.store.client.hgetall, f"{self.key}:topics")
        return {topic.decode(): state for topic, state in stored.items()}

    async def commit(
        self,
        next_offset: int,
        deltas: Mapping[str, StateDelta],
        alerts: Sequence[DecidedAlert] = (),
        seen: Mapping[str, int | None] = MappingProxyType({}),
        marks: Mapping[str, bytes] = MappingProxyType({}),
        references: Mapping[str, bytes] = MappingProxyType({}),
        topics: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Store what the panes before `next_offset` changed, by model, and the alerts they raised.

        seen: what has changed of `seen()`; None: the model is no longer there. marks: the same of `marks()`, by
        "topic/partition". references, topics: the same of `references()` and `topics()`.

        Raises FencedError or StateMismatchError if nothing was written.
        """
        if next_offset <= (self.next_offset if self.next_offset is not None else -1):
            raise ValueError(f"a commit must go forward from offset {self.next_offset}, not to {next_offset}")
        own = (f"{self.key}:{name}" for name in ("models", "outbox", "open", "told", "seen", "marks", "refs", "topics"))
        keys = [self.key, *own, *chain.from_iterable(map(self._keys_of, deltas))]
        start = "" if self.next_offset is None else self.next_offset
        lists: list[Sequence[str | bytes]] = [
            [item for each in alerts for item in (each.message, each.incident, "1" if each.resolved else "")],
            [item for model, at in seen.items() for item in (model, "" if at is None else str(at))],
            [item for place, mark in marks.items() for item in (place, mark)],
            [item for pair in references.items() for item in pair],
            [item for pair in topics.items() for item in pair],
            *chain.from_iterable(_lists(model, delta) for model, delta in deltas.items()),
        ]
        await self.store.run(COMMIT, keys, self.epoch, start, next_offset, RECENT_ALERTS, *_flat(lists))
        self.next_offset = next_offset

    async def move(self, next_offset: int, consumed: Mapping[Source, int]) -> None:
        """Let the next owner go on at another offset, and models at other ones of partitions of events.

        Models keep all else. Raises FencedError; moved in part, it may be moved again.
        """
        models = await self.models()
        for first in range(0, max(len(models), 1), _HEADS_AT_ONCE):
            some = models[first : first + _HEADS_AT_ONCE]
            heads = [move_consumed((await self.state_parts(model))["head"], consumed) for model in some]
            await self.store.run(MOVE_JUDGE, [self.key, *map(self._model, some)], self.epoch, next_offset, *heads)
        self.next_offset = next_offset

    async def outbox(self, limit: int = 100) -> list[OutboxAlert]:
        """The oldest alerts that are not confirmed as published, in order."""
        sent, *messages = await self.store.run(OUTBOX, [self.key, self._outbox], limit)
        return [OutboxAlert(int(sent) + i, message) for i, message in enumerate(messages, 1)]

    async def confirm_published(self, position: int) -> None:
        """Remove the alerts up to and including `position` from the outbox, since they are published.

        Raises FencedError, or StateMismatchError if the outbox has lost some of them.
        """
        await self.store.run(PUBLISHED, [self.key, self._outbox], self.epoch, position)

    @property
    def _outbox(self) -> str:
        return f"{self.key}:outbox"

    def _keys_of(self, model: str) -> tuple[str, str]:
        return self._model(model), timeline_key(self.key, model)

    def _model(self, model: str) -> str:
        return f"{self.key}:model:{model}"


def judge_key(namespace: str, topic: str, partition: int) -> str:
    """The key of the judge of a panes partition; its other keys begin with it."""
    return f"{namespace}:{{judge/{topic}/{partition}}}"


def timeline_key(judge: str, model: str) -> str:
    """The key of what is closed of a model's timelines. judge: see `judge_key`."""
    return f"{judge}:timeline:{model}"


def _lists(model: str, delta: StateDelta) -> list[Sequence[str | bytes]]:
    own, closed = (list[str | bytes](chain(*each.write.items())) for each in (delta, delta.timelines))
    return [[model] if delta.replace_all else [], own, delta.delete, closed, delta.timelines.delete]


def _flat(lists: Iterable[Sequence[str | bytes]]) -> list[int | str | bytes]:
    return [item for items in lists for item in (len(items), *items)]


def _tick_of(stored: bytes) -> tuple[int, int, int]:
    time, at, came = map(int, stored.split())
    return time, at, came


def _refusal(status: str, key: str, stored: str) -> StoreError:
    return {
        "fenced": FencedError(f"{key}: another worker took over, with epoch {stored}"),
        "mismatch": StateMismatchError(f"{key}: the stored position is {stored or 'none'}, so Redis has lost writes"),
        "newer": NewerError(
            f"{key}: written by a newer Driftline, in version {stored}; this one writes {_NEWEST_VERSION}: upgrade"
        ),
    }[status]
