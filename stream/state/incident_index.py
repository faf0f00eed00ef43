"""The incident index: the alerts that the judges keep in Redis for people. `stream.state.store` lists the keys.

Reading takes no epoch and writes nothing, so it disturbs no worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import read_alert
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.incidents import unpack_incidents
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.store import RECENT_ALERTS, judge_key

# KEYS: judge, open, told.
_READ = """
local owned = redis.call('EXISTS', KEYS[1])
return {owned, redis.call('HVALS', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1)}
"""


class IndexedAlerts(NamedTuple):
    """What the judge of a partition keeps: the newest alert of each open incident, and recent ones, newest first."""

    partition: int
    open: list[bytes]
    recent: list[bytes]

    @property
    def is_full(self) -> bool:
        """Whether older alerts than the recent ones may have been dropped."""
        return len(self.recent) >= RECENT_ALERTS


@dataclass(frozen=True)
class IncidentIndex:
    """The alerts of a group of workers, judged from a panes topic.

    Each call retries for some 10 s; it may raise StoreError, and then RedisUnreachableError.
    """

    client: Client
    namespace: str
    topic: str

    async def read(self) -> list[IndexedAlerts]:
        """What the judges keep, in the order of partitions."""
        found = list[IndexedAlerts]()
        while True:  # the first workers take over all partitions, so one without a key lies behind the last
            key = judge_key(self.namespace, self.topic, len(found))
            keys = [key, f"{key}:open", f"{key}:told"]
            # EVAL_RO, so that a login without the right to write may read.
            owned, opened, recent = await call_redis(self.client.eval_ro, _READ, len(keys), *keys)
            if not owned:
                return found
            found.append(IndexedAlerts(len(found), opened, recent))

    async def incidents(self, kept: Iterable[IndexedAlerts]) -> list[ListedIncident]:
        """The open incidents among these alerts, and the past ones as far as they are kept.

        Raises AlertError if an alert cannot be read.
        """
        found = list[ListedIncident]()
        for partition, opened, recent in kept:
            alerts, unresolved = list(map(read_alert, recent)), list(map(read_alert, opened))
            # One that was resolved and came back has several ends, the newest of which is the first here.
            still_open = {each.incident for each in unresolved}
            ends = {each.incident: each for each in reversed(alerts) if each.resolved}
            resolved = [each for name, each in reversed(ends.items()) if name not in still_open]
            phases = {model: await self._phases(partition, model) for model in {each.model for each in unresolved}}
            found += [ListedIncident.of(each, alerts, phases[each.model].get(each.scope, "")) for each in unresolved]
            found += [ListedIncident.of(each, alerts) for each in resolved]
        return found

    async def _phases(self, partition: int, model: str) -> dict[str, str]:
        """The phases of a model's incidents by scope; {} if its state cannot be read."""
        key = f"{judge_key(self.namespace, self.topic, partition)}:model:{model}"
        part = await call_redis(self.client.hget, key, "incidents")
        try:
            return {} if part is None else {each.scope: each.phase.value for each in unpack_incidents(part).values()}
        except FormatError:  # written by another version
            return {}
