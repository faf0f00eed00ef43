"""The ledger: what each target of the relay has been told, and what it has open, in Redis. It outlives relays.

NS is the namespace (the workers' consumer group), TARGET a pager, KEY an alert_key.

| key                       | type   | lives   | holds                                                                |
|---------------------------|--------|---------|----------------------------------------------------------------------|
| NS:relay:TARGET:seq:KEY   | string | 30 days | the highest seq of the topic that was settled                        |
| NS:relay:TARGET:desk      | hash   | 400 d   | what is open, held or told: fields case:INCIDENT, page:NAME,         |
|                           |        |         | told:KEY, and the epoch of the relay that may write it               |
| NS:relay:TARGET:entries   | hash   | 30 days | what Alertmanager holds, by identity                                 |

A key lives for so long after it was last written. Kafka forgets the offsets of a relay that is gone after 7 days; a
ledger that forgot sooner would have the relay page again for all that is still open. What a silence holds back is on
the desk alone, since the offsets behind it are committed; so the desk outlives any silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from driftline.stream.paging.notifications import Notifications, OpenIncident, Page
from driftline.stream.paging.receivers.alertmanager import Entry
from driftline.stream.state.client import Client, StoreError, call_redis
from driftline.stream.state.fencing import NEXT_EPOCH, FencedError, fenced
from driftline.stream.state.scripts import Script

# s. The second one is more than the longest silence, see `stream.cli.silence`.
_LIFE, _DESK_LIFE = 30 * 86_400, 400 * 86_400

# KEYS: seq. ARGV: seq, life. A relay that was thought dead may write late: the number never falls.
_TOLD = Script("""
local told = redis.call('GET', KEYS[1])
if not told or tonumber(told) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
""")

# KEYS: desk. ARGV: life.
_OPEN = Script(f"""
local epoch = {NEXT_EPOCH}
redis.call('EXPIRE', KEYS[1], ARGV[1])
return epoch
""")

# KEYS: desk. ARGV: epoch, life, number of fields to write, those with their values, then those to remove.
_SAVE = fenced("""
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {'ok'}
""")


@dataclass(frozen=True)
class NotificationLog:
    """What one target has been told. Any call may raise StoreError, and Unreachable after 10 seconds."""

    client: Client
    namespace: str
    target: str

    async def seq(self, alert_key: str) -> int:
        """The highest seq told under this key, -1 if none was."""
        found = await call_redis(self.client.get, self._seq(alert_key))
        return -1 if found is None else int(found)

    async def told(self, alert_key: str, seq: int) -> None:
        """Alerts up to this one need not be told any more."""
        await _TOLD.run(self.client, [self._seq(alert_key)], seq, _LIFE)

    async def open(self) -> tuple[Notifications, int]:
        """The desk, and the epoch under which it may be written from now on; what opened it before may no longer."""
        epoch = await _OPEN.run(self.client, [self._desk], _DESK_LIFE)
        try:
            return _decoded(await call_redis(self.client.hgetall, self._desk)), epoch
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreError(
                f"the key {self._desk} in Redis can't be read: {error}. It may be of a newer Driftline: run that one; "
                "or delete the key, then close what is open in the pager by hand"
            ) from None

    async def save(self, epoch: int, before: Notifications, after: Notifications) -> None:
        """Write at once what has changed; FencedError."""
        old, new = _parts(before), _parts(after)
        written = [(name, part) for name, part in new.items() if old.get(name) is not part]
        if not written and old.keys() == new.keys():
            return
        fields = [each for name, part in written for each in (name, msgspec.json.encode(part))]
        lost = [name for name in old if name not in new]
        arguments = (epoch, _DESK_LIFE, len(written), *fields, *lost)
        status, *_ = await _SAVE.run(self.client, [self._desk], *arguments)
        if status != b"ok":
            raise FencedError(
                f"another relay carries alerts to {self.target} now, or what was open has vanished from Redis"
            )

    async def entries(self) -> dict[str, Entry]:
        """What Alertmanager holds."""
        found = await call_redis(self.client.hgetall, self._entries)
        return {name.decode(): msgspec.json.decode(entry) for name, entry in found.items()}

    async def hold(self, entries: Mapping[str, Entry], gone: Iterable[str] = ()) -> None:
        """Write entries, and forget others."""
        lost = list(gone)
        if entries:
            await call_redis(self.client.hset, self._entries, mapping=_encoded(entries))
        if lost:
            await call_redis(self.client.hdel, self._entries, *lost)
        await call_redis(self.client.expire, self._entries, _LIFE)

    async def check(self) -> None:
        """Ask whether Redis is there."""
        await asyncio.wait_for(call_redis(self.client.get, self._seq("")), 10)

    def _seq(self, alert_key: str) -> str:
        return f"{self.namespace}:relay:{self.target}:seq:{alert_key}"

    @property
    def _desk(self) -> str:
        return f"{self.namespace}:relay:{self.target}:desk"

    @property
    def _entries(self) -> str:
        return f"{self.namespace}:relay:{self.target}:entries"


def _encoded(entries: Mapping[str, Entry]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(entry) for name, entry in entries.items()}


def _parts(desk: Notifications) -> dict[str, OpenIncident | Page | int]:
    """The fields of the hash. Unchanged parts are the same objects from desk to desk."""
    return {
        **{f"case:{name}": case for name, case in desk.cases.items()},
        **{f"page:{name}": page for name, page in desk.pages.items()},
        **{f"told:{name}": seq for name, seq in desk.told.items()},
    }


def _decoded(fields: Mapping[bytes, bytes]) -> Notifications:
    parts: dict[str, dict[str, bytes]] = {"case": {}, "page": {}, "told": {}}
    for name, part in fields.items():
        kind, _, rest = name.decode().partition(":")
        parts.get(kind, {})[rest] = part
    cases = {name: msgspec.json.decode(part, type=OpenIncident) for name, part in parts["case"].items()}
    pages = {name: msgspec.json.decode(part, type=Page) for name, part in parts["page"].items()}
    order = {name: (case.came, case.place) for name, case in cases.items()}
    return Notifications(
        dict(sorted(cases.items(), key=lambda each: order[each[0]])),
        dict(sorted(pages.items(), key=lambda each: order.get(each[0], (0.0, ())))),
        {name: int(part) for name, part in parts["told"].items()},
    )
