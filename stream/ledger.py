"""The ledger: what each target of the relay has been told, in Redis. It outlives relays, and their kills.

NS is the namespace (the workers' consumer group), TARGET a pager, KEY an alert_key.

| key                       | type   | lives   | holds                                                                |
|---------------------------|--------|---------|----------------------------------------------------------------------|
| NS:relay:TARGET:seq:KEY   | string | 30 days | the highest seq that was delivered, or became a dead letter          |
| NS:relay:TARGET:entries   | hash   | 30 days | what Alertmanager holds, by identity, see `stream.alertmanager`      |

A key lives for so long after it was last written. Kafka forgets the offsets of a relay that is gone after 7 days; a
ledger that forgot sooner would have the relay page again for all that is still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from stream.alertmanager import Entry
from stream.redis_connection import Client, insist

_LIFE = 30 * 86_400  # s

# KEYS: seq. ARGV: seq, life. A relay that was thought dead may write late: the number never falls.
_TOLD = """
local told = redis.call('GET', KEYS[1])
if not told or tonumber(told) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


@dataclass(frozen=True)
class Ledger:
    """What one target has been told. Any call may raise StoreError, and Unreachable after 10 seconds."""

    client: Client
    namespace: str
    target: str

    async def seq(self, alert_key: str) -> int:
        """The highest seq told under this key, -1 if none was."""
        found = await insist(self.client.get, self._seq(alert_key))
        return -1 if found is None else int(found)

    async def told(self, alert_key: str, seq: int) -> None:
        """Alerts up to this one need not be told any more."""
        await insist(self.client.eval, _TOLD, 1, self._seq(alert_key), seq, _LIFE)

    async def entries(self) -> dict[str, Entry]:
        """What Alertmanager holds."""
        found = await insist(self.client.hgetall, self._entries)
        return {name.decode(): msgspec.json.decode(entry) for name, entry in found.items()}

    async def hold(self, entries: Mapping[str, Entry], gone: Iterable[str] = ()) -> None:
        """Write entries, and forget others."""
        lost = list(gone)
        if entries:
            await insist(self.client.hset, self._entries, mapping=_encoded(entries))
        if lost:
            await insist(self.client.hdel, self._entries, *lost)
        await insist(self.client.expire, self._entries, _LIFE)

    async def check(self) -> None:
        """Ask whether Redis is there."""
        await asyncio.wait_for(insist(self.client.get, self._seq("")), 10)

    def _seq(self, alert_key: str) -> str:
        return f"{self.namespace}:relay:{self.target}:seq:{alert_key}"

    @property
    def _entries(self) -> str:
        return f"{self.namespace}:relay:{self.target}:entries"


def _encoded(entries: Mapping[str, Entry]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(entry) for name, entry in entries.items()}
