"""The archive: the alerts that the judges keep in Redis for people. The table of keys is in `stream.state.store`.

Nothing is written and no epoch is taken: people look, workers work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import read_alert
from driftline.stream.codec.panes import FormatError
from driftline.stream.codec.state import unpack_incidents
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.store import judge_key

# KEYS: judge, open, told.
_READ = """
local taken = redis.call('EXISTS', KEYS[1]) == 1 and 'taken' or 'free'
return {taken, redis.call('HVALS', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1)}
"""


class IndexedAlerts(NamedTuple):
    """What the judge of a partition keeps: the newest alert of each open incident; those told last, newest first."""

    partition: int
    open: list[bytes]
    recent: list[bytes]


@dataclass(frozen=True)
class IncidentIndex:
    """The alerts of a group of workers, judged from a panes topic. Any call may raise StoreError, and Unreachable after
    10 seconds.
    """

    client: Client
    namespace: str
    topic: str

    async def read(self) -> list[IndexedAlerts]:
        """What the judges keep, by partition."""
        found = list[IndexedAlerts]()
        while True:  # the first workers take over all partitions, so one that nobody took lies behind the last
            key = judge_key(self.namespace, self.topic, len(found))
            keys = [key, f"{key}:open", f"{key}:told"]
            # A script that may not write: also for a login that may not.
            taken, opened, told = await call_redis(self.client.eval_ro, _READ, len(keys), *keys)
            if taken != b"taken":
                return found
            found.append(IndexedAlerts(len(found), opened, told))

    async def incidents(self, kept: Iterable[IndexedAlerts]) -> list[ListedIncident]:
        """The open incidents of what was read, and the past ones as far as they are kept; AlertError."""
        found = list[ListedIncident]()
        for partition, opened, told in kept:
            alerts, lasting = list(map(read_alert, told)), list(map(read_alert, opened))
            over = (each for each in alerts if each.resolved)
            phases = {model: await self._phases(partition, model) for model in {each.model for each in lasting}}
            found += [ListedIncident.of(each, alerts, phases[each.model].get(each.scope, "")) for each in lasting]
            found += [ListedIncident.of(each, alerts) for each in over]
        return found

    async def _phases(self, partition: int, model: str) -> dict[str, str]:
        """In which phase a model's incidents are, by scope; {} where that can't be told."""
        key = f"{judge_key(self.namespace, self.topic, partition)}:model:{model}"
        part = await call_redis(self.client.hget, key, "incidents")
        try:
            return {} if part is None else {each.scope: each.phase.value for each in unpack_incidents(part).values()}
        except FormatError:  # another version's
            return {}
