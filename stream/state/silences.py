"""Where silences lie: in Redis, beside the workers' state, so that every relay of a group reads the same ones.

| key          | type | lives                   | holds                                                    |
|--------------|------|-------------------------|----------------------------------------------------------|
| NS:silences  | hash | until the last one ends | silences by id, see `stream.paging.silences`             |

One key, because it is read every few seconds, and a scan for many would walk through all of the workers' state. The
ones that have ended are ignored at once, and removed whenever somebody adds or lists.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from driftline.stream.paging.silences import Quiet, Silence, SilenceError, read_silence, write_silence
from driftline.stream.state.client import Client, RedisUnreachableError, StoreError, call_redis
from driftline.stream.state.scripts import Script

log = logging.getLogger(__name__)

# s between two readings: how late a silence begins. At half of it nobody would notice, at ten times people would
# think that it does not work.
_EVERY = 3.0

# KEYS: silences. ARGV: id, silence, end in epoch seconds. The key lives as long as the longest of them.
_ADD = Script("""
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('EXPIRETIME', KEYS[1]) < tonumber(ARGV[3]) then redis.call('EXPIREAT', KEYS[1], ARGV[3]) end
""")


@dataclass(frozen=True)
class SilenceStore:
    """The silences of a group. Any call may raise StoreError, and RedisUnreachableError after 10 seconds."""

    client: Client
    namespace: str

    async def add(self, silence: Silence) -> None:
        """Write one."""
        end = math.ceil(silence.ends_at.timestamp())
        await _ADD.run(self.client, [self._key], silence.id, write_silence(silence), end)
        await self.tidy()

    async def end(self, name: str) -> bool:
        """Remove one; whether it was there."""
        return bool(await call_redis(self.client.hdel, self._key, name))

    async def read(self, now: datetime) -> tuple[list[Silence], dict[str, str]]:
        """Those that have not ended, by their beginning; and of what can't be read the reasons, by id."""
        found, unreadable = list[Silence](), dict[str, str]()
        for name, stored in (await call_redis(self.client.hgetall, self._key)).items():
            try:
                found.append(read_silence(stored))
            except SilenceError as error:
                unreadable[name.decode(errors="replace")] = str(error)
        return sorted((each for each in found if now < each.ends_at), key=lambda each: each.starts_at), unreadable

    async def tidy(self) -> None:
        """Remove those that have ended; what can't be read is left, so that somebody sees it."""
        now, stored = datetime.now(UTC), await call_redis(self.client.hgetall, self._key)
        lasting, unreadable = await self.read(now)
        kept = {each.id for each in lasting} | unreadable.keys()
        if ended := [name for name in stored if name.decode(errors="replace") not in kept]:
            await call_redis(self.client.hdel, self._key, *ended)

    @property
    def _key(self) -> str:
        return f"{self.namespace}:silences"


@dataclass
class Silences:
    """The silences as a relay knows them, read again every few seconds. What can't be read silences nothing."""

    store: SilenceStore
    _known: list[Silence] = field(default_factory=list)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> Quiet:
        """Those that hold now."""
        moment = datetime.now(UTC)
        return Quiet([silence for silence in self._known if silence.active(moment)])

    async def read(self) -> None:
        """Learn which there are; RedisUnreachableError."""
        before = self._unreadable
        try:
            self._known, self._unreadable = await self.store.read(datetime.now(UTC))
        except RedisUnreachableError:
            raise
        except StoreError as error:  # the key holds something else, say
            self._known, self._unreadable = [], {"": str(error)}
        for name, reason in sorted(self._unreadable.items() - before.items()):
            log.error("the silence %r silences nothing: %s", name, reason)

    async def watch(self) -> None:
        """Read again and again until `stop` is called; RedisUnreachableError."""
        while not self._stopping.is_set():
            await self.read()
            try:
                await asyncio.wait_for(self._stopping.wait(), _EVERY)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
