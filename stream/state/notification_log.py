"""The notification log: what each receiver of the relay was sent, and what it has open, in Redis. It outlives relays.

NS is the namespace (the workers' consumer group), TARGET a receiver, KEY an alert_key.

| key                       | type   | lives   | holds                                                                |
|---------------------------|--------|---------|----------------------------------------------------------------------|
| NS:relay:TARGET:seq:KEY   | string | 30 days | the highest seq of the topic that is settled                         |
| NS:relay:TARGET:desk      | hash   | 400 d   | the notifications: fields case:INCIDENT, page:NAME, told:KEY (the    |
|                           |        |         | highest seq sent), and the epoch of the relay that may write them,   |
|                           |        |         | with the number of its last write                                    |
| NS:relay:TARGET:entries   | hash   | 30 days | the entries that Alertmanager holds, by identity                     |

A key lives for so long after its last write. Kafka forgets the offsets of a consumer group that is gone after 7 days;
a log that forgot sooner would have the relay page again for everything still open. What a silence holds back is in the
notifications alone, since the offsets behind it are committed; so the notifications outlive any silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from driftline.stream.paging.notifications import Notifications, OpenIncident, Page
from driftline.stream.paging.receivers.alertmanager import Entry
from driftline.stream.state.client import Client, StoreError, call_redis
from driftline.stream.state.fencing import NEXT_EPOCH, FencedError, fenced
from driftline.stream.state.scripts import Argument, Script

log = logging.getLogger(__name__)

# s: of a seq and of Alertmanager's entries; of the notifications. The latter is more than the longest silence, see
# `stream.cli.silence`.
_LIFE, _NOTIFICATIONS_LIFE = 30 * 86_400, 400 * 86_400

# KEYS: seq. ARGV: seq, life. A relay that was thought dead may write late: the number never falls.
_SETTLE = Script("""
local settled = redis.call('GET', KEYS[1])
if not settled or tonumber(settled) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
""")

# KEYS: notifications. ARGV: life.
_TAKE_OVER = Script(f"""
local epoch = {NEXT_EPOCH}
redis.call('EXPIRE', KEYS[1], ARGV[1])
return epoch
""")

# KEYS: notifications. ARGV: epoch, life, number of this write, number of fields to write, these with their values, then
# those to remove. A write that has been made already changes nothing.
_SAVE = fenced("""
local last_write = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
if last_write == tonumber(ARGV[3]) then return {'ok'} end
if last_write ~= ARGV[3] - 1 then return {'lost'} end
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('HSET', KEYS[1], 'revision', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {'ok'}
""")

# KEYS: notifications. ARGV: epoch, life, number of this write, then all fields with their values.
_WRITE_ANEW = fenced("""
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'revision', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {'ok'}
""")


_INCIDENT, _PAGE = msgspec.json.Decoder(OpenIncident), msgspec.json.Decoder(Page)
_ENTRY = msgspec.json.Decoder(Entry)
# What decoding raises for bytes that this version did not write.
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass
class Ownership:
    """The right of one relay to write the notifications. revision: the number of its last write."""

    epoch: int
    revision: int


@dataclass(frozen=True)
class NotificationLog:
    """What one receiver was sent. Every call raises StoreError, and RedisUnreachableError after 10 seconds."""

    client: Client
    namespace: str
    receiver: str

    async def settled_seq(self, alert_key: str) -> int:
        """The highest seq settled under this key, -1 if none is."""
        found = await call_redis(self.client.get, self._seq_key(alert_key))
        return -1 if found is None else int(found)

    async def settle(self, alert_key: str, seq: int) -> None:
        """Record that alerts up to this seq need not be sent any more."""
        await _SETTLE.run(self.client, [self._seq_key(alert_key)], seq, _LIFE)

    async def take_over(self) -> tuple[Notifications, Ownership]:
        """The notifications, and the ownership under which alone they may be written from now on."""
        epoch = await _TAKE_OVER.run(self.client, [self._notifications_key], _NOTIFICATIONS_LIFE)
        try:
            stored = await call_redis(self.client.hgetall, self._notifications_key)
            return _decoded(stored), Ownership(epoch, int(stored.get(b"revision", 0)))
        except _UNREADABLE as error:
            raise _unreadable(self._notifications_key, error) from None

    async def save(self, ownership: Ownership, before: Notifications, after: Notifications) -> bool:
        """Write what has changed, in one step. Raises FencedError if another relay has taken over.

        Returns whether Redis had lost earlier writes, as in a power cut; then all is written anew.
        """
        old, new = _fields(before), _fields(after)
        written = {name: value for name, value in new.items() if old.get(name) is not value}
        if not written and old.keys() == new.keys():
            return False
        removed = [name for name in old if name not in new]
        write = ownership.epoch, _NOTIFICATIONS_LIFE, ownership.revision + 1
        status = await self._write(_SAVE, *write, len(written), *_arguments(written), *removed)
        if has_lost := status == b"lost":
            log.warning(
                "%s: Redis has lost what was noted last of its notifications; they are written anew", self.receiver
            )
            status = await self._write(_WRITE_ANEW, *write, *_arguments(new))
        if status != b"ok":
            raise FencedError(
                f"another relay sends alerts to {self.receiver} now, or its notifications have vanished from Redis"
            )
        ownership.revision += 1
        return has_lost

    async def _write(self, script: Script, *arguments: Argument) -> bytes:
        status, *_ = await script.run(self.client, [self._notifications_key], *arguments)
        return bytes(status)

    async def entries(self) -> dict[str, Entry]:
        """The entries that Alertmanager holds."""
        found = await call_redis(self.client.hgetall, self._entries_key)
        try:
            return {name.decode(): _ENTRY.decode(entry) for name, entry in found.items()}
        except _UNREADABLE as error:
            raise _unreadable(self._entries_key, error) from None

    async def save_entries(self, entries: Mapping[str, Entry], removed: Iterable[str] = ()) -> None:
        """Write entries, and remove others."""
        names = list(removed)
        if entries:
            await call_redis(self.client.hset, self._entries_key, mapping=_encoded(entries))
        if names:
            await call_redis(self.client.hdel, self._entries_key, *names)
        await call_redis(self.client.expire, self._entries_key, _LIFE)

    async def ping(self) -> None:
        """Check that Redis answers."""
        await asyncio.wait_for(call_redis(self.client.get, self._seq_key("")), 10)

    def _seq_key(self, alert_key: str) -> str:
        return f"{self.namespace}:relay:{self.receiver}:seq:{alert_key}"

    @property
    def _notifications_key(self) -> str:
        return f"{self.namespace}:relay:{self.receiver}:desk"

    @property
    def _entries_key(self) -> str:
        return f"{self.namespace}:relay:{self.receiver}:entries"


def _unreadable(key: str, error: BaseException) -> StoreError:
    return StoreError(
        f"the key {key} in Redis can't be read: {error}. A newer Driftline may have written it: run that version; or "
        "delete the key, then close what is open in the pager by hand"
    )


def _encoded(entries: Mapping[str, Entry]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(entry) for name, entry in entries.items()}


def _arguments(fields: Mapping[str, OpenIncident | Page | int]) -> list[str | bytes]:
    return [each for name, value in fields.items() for each in (name, msgspec.json.encode(value))]


def _fields(notifications: Notifications) -> dict[str, OpenIncident | Page | int]:
    """The fields of the hash. A part that did not change is the same object before and after."""
    return {
        **{f"case:{name}": incident for name, incident in notifications.incidents.items()},
        **{f"page:{name}": page for name, page in notifications.pages.items()},
        **{f"told:{key}": seq for key, seq in notifications.sent_seqs.items()},
    }


def _decoded(fields: Mapping[bytes, bytes]) -> Notifications:
    """The notifications in a hash. Raises MsgspecError or ValueError."""
    parts: dict[str, dict[str, bytes]] = {"case": {}, "page": {}, "told": {}}
    for name, value in fields.items():
        kind, _, rest = name.decode().partition(":")
        parts.get(kind, {})[rest] = value
    incidents = {name: _INCIDENT.decode(value) for name, value in parts["case"].items()}
    pages = {name: _PAGE.decode(value) for name, value in parts["page"].items()}
    order = {name: (incident.read_at, incident.position) for name, incident in incidents.items()}
    return Notifications(
        dict(sorted(incidents.items(), key=lambda each: order[each[0]])),
        dict(sorted(pages.items(), key=lambda each: order.get(each[0], (0.0, ())))),
        {key: int(value) for key, value in parts["told"].items()},
    )
