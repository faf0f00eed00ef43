"""A hash in Redis that one owner at a time may write, and that its owner writes anew when Redis has lost some of it.

Redis loses its last writes in a power cut (`appendfsync everysec`). So the owner keeps all fields in memory, and the
guard, a hash in the same slot of a cluster or the hash itself, holds the number of the last write beside the epoch:

    save ──► guard has another epoch ────────► FencedError, another owner has taken over
         ──► its number is the one before ───► the fields that have changed are written
         ──► it is any other ────────────────► lost: nothing is written until `write_anew`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.fencing import NEXT_EPOCH, FencedError, fenced
from driftline.stream.state.scripts import Argument, Script

# In all scripts, KEYS: guard, hash. A key that is missing has no life to prolong.
_PROLONG = "for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end"

# ARGV: nothing, life.
_TAKE_OVER = Script(f"""
local epoch = {NEXT_EPOCH}
{_PROLONG}
return epoch
""")

# ARGV: epoch, life, number of this write, number of fields to write, these with their values, then those to remove. A
# write that has been made already changes nothing.
_SAVE = fenced(f"""
local last_write = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
if last_write == tonumber(ARGV[3]) then return {{'ok'}} end
if last_write ~= ARGV[3] - 1 then return {{'lost'}} end
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('HSET', KEYS[1], 'revision', ARGV[3])
{_PROLONG}
return {{'ok'}}
""")

# ARGV: epoch, life, number of this write, then all fields with their values.
_WRITE_ANEW = fenced(f"""
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'revision', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
{_PROLONG}
return {{'ok'}}
""")


@dataclass
class OwnedHash:
    """A hash and its guard, by their keys. Calls raise StoreError, and RedisUnreachableError after 10 seconds.

    life: seconds after its last write for which it is kept. written: the fields as last written, each a value that is
    stored as JSON and never changed in place. revision: the number of the last write.
    """

    client: Client
    key: str
    guard: str
    life: int
    epoch: int = 0
    revision: int = 0
    written: Mapping[str, Any] = field(default_factory=dict)

    async def take_over(self) -> dict[bytes, bytes]:
        """The fields, which this owner alone may write from now on. Raises ValueError for a guard of another kind."""
        self.epoch = await _TAKE_OVER.run(self.client, [self.guard, self.key], "", self.life)
        self.revision = int(await call_redis(self.client.hget, self.guard, "revision") or 0)
        found: dict[bytes, bytes] = await call_redis(self.client.hgetall, self.key)
        return found

    def differs(self, fields: Mapping[str, Any]) -> bool:
        """Whether these fields are others than those written."""
        return self.written.keys() != fields.keys() or bool(self._changed(fields))

    async def save(self, fields: Mapping[str, Any]) -> bool:
        """Let the hash hold these fields, in one step. Raises FencedError if another owner has taken over.

        Returns False, and writes nothing, if Redis has lost earlier writes: see `write_anew`.
        """
        changed = self._changed(fields)
        removed = [name for name in self.written if name not in fields]
        if await self._write(_SAVE, len(changed), *_arguments(changed.items()), *removed) == b"lost":
            return False
        self.revision, self.written = self.revision + 1, fields
        return True

    async def write_anew(self, fields: Mapping[str, Any]) -> None:
        """Let the hash hold these fields, whatever it holds. Raises FencedError if another owner has taken over."""
        await self._write(_WRITE_ANEW, *_arguments(fields.items()))
        self.revision, self.written = self.revision + 1, fields

    def _changed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if self.written.get(name) is not value}

    async def _write(self, script: Script, *arguments: Argument) -> bytes:
        write = self.epoch, self.life, self.revision + 1
        status, *_ = await script.run(self.client, [self.guard, self.key], *write, *arguments)
        if status == b"fenced":
            raise FencedError(f"another process writes {self.key} now, or it has vanished from Redis")
        return bytes(status)


def _arguments(fields: Iterable[tuple[str, Any]]) -> list[str | bytes]:
    return [each for name, value in fields for each in (name, msgspec.json.encode(value))]
