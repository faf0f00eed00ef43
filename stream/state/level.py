"""The format level of a group in Redis, and which workers can do which: `stream.codec.levels` says what levels are.

NS is the namespace (the consumer group), WORKER a random name of a worker's process.

| where                            | holds                                                                        |
|----------------------------------|------------------------------------------------------------------------------|
| `level` in NS:bound              | the group's level; without it, the first                                     |
| `version` in a partition's hash  | one more than the level at which it was claimed, or to which it was raised   |
| `claimed` in a partition's hash  | "EPOCH LEVEL": of the newest claim, the highest level that its worker can do |
| NS:workers, lives 1 h            | hash, by WORKER: when it wrote, its host and version, and its level          |

A version without levels writes no `claimed`: where that names another epoch than the partition has, a worker of such a
version has claimed it since. It refuses a partition of version 3 before it writes anything.

Reports are observation only, valid for a minute; a worker that holds a partition is known by its claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from driftline.stream.codec.levels import FIRST, NEWEST
from driftline.stream.state.client import StoreError, call_redis
from driftline.stream.state.scripts import Script
from driftline.stream.state.store import Store, version_of

#: s for which a worker's report is valid: as many as a worker that died is still counted for.
VALID = 60.0
#: s between two reports of a worker; three may fail before it is taken for dead.
REPORT_EVERY = 15.0
# s that the key lives after the last report.
_LIFE = 3600

# KEYS: bound. ARGV: level. Returns the level of a group that is bound already, '' if it has none.
_BEGIN = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'level', ARGV[1]) end
return {'ok', redis.call('HGET', KEYS[1], 'level') or ''}
""")
# ARGV: version, level, '1' to fence off an owner that cannot do it. It writes each time, as what is durable must.
_RAISE = Script("""
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'claimed', 'version')
local epoch, level = string.match(stored[2] or '', '^(%d+) (%d+)$')
local able = epoch == stored[1] and tonumber(level) >= tonumber(ARGV[2])
if not able and ARGV[3] ~= '1' then return {'unable', stored[1] or ''} end
redis.call('HSET', KEYS[1], 'version', math.max(tonumber(stored[3] or 0), tonumber(ARGV[1])))
if not able then redis.call('HINCRBY', KEYS[1], 'epoch', 1) end
return {'ok'}
""")
# KEYS: bound. ARGV: level.
_SET = Script("""
redis.call('HSET', KEYS[1], 'level', ARGV[1])
return {'ok'}
""")


class LevelError(StoreError):
    """A group's level does not allow what was wanted; the message says why and what helps."""


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker says of itself. at: when, s since the epoch. level: the highest that it can do."""

    at: float
    host: str
    version: str
    level: int


class Claim(NamedTuple):
    """A partition of a topic, and the highest level that the worker can do that has claimed it last."""

    topic: str
    partition: int
    level: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a group's level is and who can do which, as of `at`, s since the epoch.

    workers: valid reports, by host. claims: every partition that was ever claimed, by topic and number.
    """

    at: float
    level: int
    workers: list[WorkerReport]
    claims: list[Claim]

    def older(self, level: int = NEWEST) -> list[str]:
        """One line for each worker and each partition's owner that can do less than a level."""
        owners = [
            f"topic {each.topic}, partition {each.partition}: taken over last by a worker that can do level "
            f"{each.level} at most"
            for each in self.claims
            if each.level < level
        ]
        return owners + [
            f"a worker of version {each.version} on {each.host} can do level {each.level} at most"
            for each in self.workers
            if each.level < level
        ]


_REPORT = msgspec.json.Decoder(WorkerReport)


def level_of(bound: Mapping[str, str]) -> int:
    """The level among the facts that a group is bound to."""
    return int(bound.get("level", FIRST))


@dataclass(frozen=True)
class GroupLevel:
    """The level of one group. Each call may raise StoreError."""

    store: Store

    async def begin(self) -> int:
        """The group's level. One that has stored nothing yet begins at the newest.

        Raises LevelError if it is higher than this version can do.
        """
        # A version older than the facts has stored positions alone.
        if await self.store.bound() or await self.store.positions():
            return await self.read()
        (level,) = await self.store.run(_BEGIN, [self.store.bound_key], NEWEST)
        return _checked(self.store.namespace, int(level or FIRST))

    async def read(self) -> int:
        """The group's level. Raises LevelError if it is higher than this version can do."""
        return _checked(self.store.namespace, level_of(await self.store.bound()))

    async def standing(self, now: float) -> Standing:
        """What the level is and who can do which; it may be higher than this version can do. now: s since the epoch.

        A group that has stored nothing yet is at the newest, at which it will begin.
        """
        bound, keys = await self.store.bound(), await self.store.partition_keys()
        claims = [
            Claim(topic, partition, _able(await call_redis(self.store.client.hmget, key, "epoch", "claimed")))
            for (topic, partition), key in sorted(keys.items())
        ]
        valid = [each for each in (await self._reports()).values() if now - each.at <= VALID]
        level = level_of(bound) if bound or keys else NEWEST
        return Standing(now, level, sorted(valid, key=lambda each: (each.host, each.at)), claims)

    async def raise_to(self, level: int, fence: bool = False) -> None:
        """Raise the level, for workers to notice; those that can do less are refused from here on.

        fence: fence off the owners of partitions that can do less, which then exit; otherwise they raise LevelError.
        """
        # Before the level, so that nothing new is written while an older worker may still take over.
        partitions = sorted((await self.store.partition_keys()).items())
        # All at once, because each waits for Redis's disk.
        answers = await asyncio.gather(*(self._raise(key, level, fence) for _, key in partitions))
        for ((topic, partition), _), is_raised in zip(partitions, answers, strict=True):
            if not is_raised:
                raise LevelError(
                    f"topic {topic}, partition {partition}: a worker that cannot do level {level} has just taken it "
                    "over; nothing is lost, and the level is as it was"
                )
        await self.store.run(_SET, [self.store.bound_key], level, durable=True)

    async def _raise(self, key: str, level: int, fence: bool) -> bool:
        """Raise the level of one partition; whether its owner allows it."""
        store, arguments = self.store, (version_of(level), level, int(fence))
        answer = await _RAISE.run_durably(store.client, [key], *arguments, replicas=store.replicas)
        return bool(answer[0] == b"ok")

    async def report(self, worker: str, report: WorkerReport) -> None:
        """Write a worker's report, and remove those that are no longer valid."""
        for other, each in (await self._reports()).items():
            if report.at - each.at > VALID:
                await call_redis(self.store.client.hdel, self._workers, other)
        await call_redis(self.store.client.hset, self._workers, worker, msgspec.json.encode(report))
        await call_redis(self.store.client.expire, self._workers, _LIFE)

    async def withdraw(self, worker: str) -> None:
        """Remove the report of a worker that ends."""
        await call_redis(self.store.client.hdel, self._workers, worker)

    async def _reports(self) -> dict[str, WorkerReport]:
        """All reports by worker; those that cannot be read are left out."""
        reports = {}
        for worker, content in (await call_redis(self.store.client.hgetall, self._workers)).items():
            try:
                reports[worker.decode()] = _REPORT.decode(content)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue
        return reports

    @property
    def _workers(self) -> str:
        return f"{self.store.namespace}:workers"


def _able(stored: list[bytes | None]) -> int:
    """The highest level that a partition's last owner can do, from its epoch and its claim."""
    epoch, claimed = (each or b"" for each in stored)
    of, _, level = claimed.partition(b" ")
    return int(level) if level and of == epoch else FIRST


def _checked(namespace: str, level: int) -> int:
    if level > NEWEST:
        raise LevelError(
            f"the workers of {namespace} are at format level {level}, and this version can do {NEWEST} at most: upgrade"
        )
    return level
