"""Silences in Redis, beside the workers' state, so that every relay of a group reads the same ones.

| key          | type | lives                   | holds                                                    |
|--------------|------|-------------------------|----------------------------------------------------------|
| NS:silences  | hash | until the last one ends | silences by id, see `stream.paging.silences`             |

There is one key, because relays read it every few seconds, and a scan for many keys would walk through all of the
workers' state. An ended silence is ignored at once, and removed when somebody next adds or lists silences.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from driftline.stream.paging.silences import ActiveSilences, Silence, SilenceError, read_silence, write_silence
from driftline.stream.state.client import Client, RedisUnreachableError, StoreError, call_redis
from driftline.stream.state.scripts import Script

log = logging.getLogger(__name__)

# s between two reads: how late a silence begins. Half of it nobody would notice; at ten times, people would think that
# silences do not work.
_INTERVAL = 3.0

# KEYS: silences. ARGV: id, silence, end in epoch seconds. The key lives until the last silence ends.
_ADD = Script("""
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('EXPIRETIME', KEYS[1]) < tonumber(ARGV[3]) then redis.call('EXPIREAT', KEYS[1], ARGV[3]) end
""")


@dataclass(frozen=True)
class SilenceStore:
    """The silences of a group. Every call raises StoreError, and RedisUnreachableError after 10 seconds."""

    client: Client
    namespace: str

    async def add(self, silence: Silence) -> None:
        """Store a silence."""
        end = math.ceil(silence.ends_at.timestamp())
        await _ADD.run(self.client, [self._key], silence.id, write_silence(silence), end)
        await self.remove_ended()

    async def end(self, name: str) -> bool:
        """Remove a silence. Returns whether there was one with this id."""
        return bool(await call_redis(self.client.hdel, self._key, name))

    async def read(self, now: datetime) -> tuple[list[Silence], dict[str, str]]:
        """The silences that have not ended, by their start; and by id, why others can't be read."""
        found, unreadable = list[Silence](), dict[str, str]()
        for name, stored in (await call_redis(self.client.hgetall, self._key)).items():
            try:
                found.append(read_silence(stored))
            except SilenceError as error:
                unreadable[name.decode(errors="replace")] = str(error)
        return sorted((each for each in found if now < each.ends_at), key=lambda each: each.starts_at), unreadable

    async def remove_ended(self) -> None:
        """Remove ended silences, but keep those that can't be read, so that somebody sees them."""
        now, stored = datetime.now(UTC), await call_redis(self.client.hgetall, self._key)
        current, unreadable = await self.read(now)
        kept = {each.id for each in current} | unreadable.keys()
        if ended := [name for name in stored if name.decode(errors="replace") not in kept]:
            await call_redis(self.client.hdel, self._key, *ended)

    @property
    def _key(self) -> str:
        return f"{self.namespace}:silences"


@dataclass
class SilenceCache:
    """The silences as a relay knows them, read again every few seconds. One that can't be read silences nothing."""

    store: SilenceStore
    _silences: list[Silence] = field(default_factory=list)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def active(self) -> ActiveSilences:
        """The silences in force now."""
        now = datetime.now(UTC)
        return ActiveSilences([silence for silence in self._silences if silence.active(now)])

    async def read(self) -> None:
        """Read the silences again. Raises RedisUnreachableError."""
        before = self._unreadable
        try:
            self._silences, self._unreadable = await self.store.read(datetime.now(UTC))
        except RedisUnreachableError:
            raise
        except StoreError as error:  # such as a key of another type
            self._silences, self._unreadable = [], {"": str(error)}
        for name, reason in sorted(self._unreadable.items() - before.items()):
            log.error("the silence %r silences nothing: %s", name, reason)

    async def watch(self) -> None:
        """Read the silences every few seconds until `stop` is called. Raises RedisUnreachableError."""
        while not self._stopping.is_set():
            await self.read()
            try:
                await asyncio.wait_for(self._stopping.wait(), _INTERVAL)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End `watch` soon."""
        self._stopping.set()
