"""The notification log: what each receiver of the relay was sent, and what it has open, in Redis. It outlives relays.

NS is the namespace (the workers' consumer group), TARGET a receiver, KEY an alert_key.

| key                            | type   | lives   | holds                                                           |
|--------------------------------|--------|---------|-----------------------------------------------------------------|
| NS:relay:TARGET:seq:KEY        | string | 30 days | the highest seq of the topic that is settled                    |
| NS:relay:TARGET:desk           | hash   | 400 d   | the notifications: fields case:INCIDENT, page:NAME, told:KEY    |
|                                |        |         | (the highest seq sent), ended:INCIDENT (its end was sent; epoch |
|                                |        |         | s), and its own guard                                           |
| NS:relay:TARGET:entries        | hash   | 400 d   | the entries that Alertmanager holds, by identity                |
| NS:relay:TARGET:guard:{ENTRIES}| hash   | 400 d   | the guard of the entries, whose whole key is ENTRIES            |

One rule holds for all of it: one relay at a time writes it and keeps in memory what it has written. What Redis loses of
that is noticed by the number of the last write (`stream.state.owned_hash`), and then all of it is written anew.

A key lives for so long after its last write. Kafka forgets the offsets of a consumer group that is gone after 7 days;
a log that forgot sooner would have the relay page again for everything still open. What a silence holds back is in the
notifications alone, since the offsets behind it are committed; so the notifications outlive any silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from driftline.stream.paging.notifications import Notifications, OpenIncident, Page
from driftline.stream.paging.receivers.alertmanager import Entry, read_entry
from driftline.stream.state.client import Client, StoreError, call_redis
from driftline.stream.state.owned_hash import OwnedHash
from driftline.stream.state.scripts import Script

log = logging.getLogger(__name__)

# s: of a seq; of the notifications and Alertmanager's entries. The latter is more than the longest silence, see
# `stream.cli.silence`.
_LIFE, _NOTIFICATIONS_LIFE = 30 * 86_400, 400 * 86_400

# KEYS: seq. ARGV: seq, life. A relay that was thought dead may write late: the number never falls.
_SETTLE = Script("""
local settled = redis.call('GET', KEYS[1])
if not settled or tonumber(settled) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
""")

_INCIDENT, _PAGE = msgspec.json.Decoder(OpenIncident), msgspec.json.Decoder(Page)
#: What reading raises for bytes that this version did not write.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass
class Ownership:
    """The right of one relay to write what one receiver was sent. settled: the highest seq it has settled, by KEY."""

    notifications: OwnedHash
    entries: OwnedHash
    settled: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NotificationLog:
    """What one receiver was sent. Every call raises StoreError, and RedisUnreachableError after 10 seconds."""

    client: Client
    namespace: str
    receiver: str

    async def take_over(self) -> tuple[Notifications, Ownership]:
        """The notifications, and the ownership under which alone they may be written from now on."""
        desk, entries, guard = (f"{self._prefix}:{name}" for name in ("desk", "entries", "guard"))
        own = Ownership(self._owned(desk, desk), self._owned(entries, f"{guard}:{{{entries}}}"))
        try:
            found = read_notifications(await own.notifications.take_over())
        except UNREADABLE as error:
            raise _unreadable(desk, error) from None
        try:
            held = read_entries(await own.entries.take_over())
        except UNREADABLE as error:
            raise _unreadable(entries, error) from None
        own.notifications.written, own.entries.written = notification_fields(found), held
        return replace(found, entries=held), own

    async def settled_seq(self, ownership: Ownership, alert_key: str) -> int:
        """The highest seq settled under this key, -1 if none is."""
        found = await call_redis(self.client.get, self._seq_key(alert_key))
        return max(-1 if found is None else int(found), ownership.settled.get(alert_key, -1))

    async def settle(self, ownership: Ownership, alert_key: str, seq: int) -> None:
        """Record that alerts up to this seq need not be sent any more."""
        ownership.settled[alert_key] = max(seq, ownership.settled.get(alert_key, -1))
        await _SETTLE.run(self.client, [self._seq_key(alert_key)], seq, _LIFE)

    async def save(self, ownership: Ownership, after: Notifications, always: bool = False) -> None:
        """Write what has changed. Raises FencedError if another relay has taken over.

        What Redis has lost of earlier writes, as in a power cut, is noticed then, and all is written anew. always:
        notice both even if nothing has changed.
        """
        # The entries come first: a page that is recorded as sent has its entries.
        parts = [(ownership.entries, after.entries), (ownership.notifications, notification_fields(after))]
        changed = [(part, fields) for part, fields in parts if always or part.differs(fields)]
        if all([await part.save(fields) for part, fields in changed]):
            return
        log.warning("%s: Redis has lost what was noted last of its notifications; they are written anew", self.receiver)
        for part, fields in parts:
            await part.write_anew(fields)
        for alert_key, seq in ownership.settled.items():
            await self.settle(ownership, alert_key, seq)

    async def ping(self) -> None:
        """Check that Redis answers."""
        await asyncio.wait_for(call_redis(self.client.get, self._seq_key("")), 10)

    def _owned(self, key: str, guard: str) -> OwnedHash:
        return OwnedHash(self.client, key, guard, _NOTIFICATIONS_LIFE)

    def _seq_key(self, alert_key: str) -> str:
        return f"{self._prefix}:seq:{alert_key}"

    @property
    def _prefix(self) -> str:
        return f"{self.namespace}:relay:{self.receiver}"


def _unreadable(key: str, error: BaseException) -> StoreError:
    return StoreError(
        f"the key {key} in Redis can't be read: {error}. A newer Driftline may have written it: run that version; or "
        "delete the key, then close what is open in the pager by hand"
    )


def notification_fields(notifications: Notifications) -> dict[str, OpenIncident | Page | float]:
    """The fields of the hash. A part that did not change is the same object before and after."""
    return {
        **{f"ended:{name}": at for name, at in notifications.ended.items()},
        **{f"case:{name}": incident for name, incident in notifications.incidents.items()},
        **{f"page:{name}": page for name, page in notifications.pages.items()},
        **{f"told:{key}": seq for key, seq in notifications.sent_seqs.items()},
    }


def read_notifications(fields: Mapping[bytes, bytes]) -> Notifications:
    """The notifications in the fields of their hash, without entries. Raises UNREADABLE."""
    parts: dict[str, dict[str, bytes]] = {"case": {}, "page": {}, "told": {}, "ended": {}}
    for name, value in fields.items():
        kind, _, rest = name.decode().partition(":")
        parts.get(kind, {})[rest] = value
    incidents = {name: _INCIDENT.decode(value) for name, value in parts["case"].items()}
    pages = {name: _PAGE.decode(value) for name, value in parts["page"].items()}
    order = {name: (incident.read_at, incident.position) for name, incident in incidents.items()}
    found = Notifications(
        dict(sorted(incidents.items(), key=lambda each: order[each[0]])),
        dict(sorted(pages.items(), key=lambda each: order.get(each[0], (0.0, ())))),
        {key: int(value) for key, value in parts["told"].items()},
        ended={name: float(value) for name, value in parts["ended"].items()},
    )
    found.check()
    return found


def read_entries(fields: Mapping[bytes, bytes]) -> dict[str, Entry]:
    """The entries in the fields of their hash, by identity. Raises UNREADABLE."""
    return {name.decode(): read_entry(entry) for name, entry in fields.items()}
