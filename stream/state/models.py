"""The models that the judges of a group remember, for `driftline models`. `stream.state.store` lists the keys.

Reading takes no epoch and writes nothing, so it disturbs no worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from driftline.stream.alerts.build import iso
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.halves import read_counts
from driftline.stream.codec.incidents import unpack_incidents
from driftline.stream.codec.state import HeadFacts, heads_of_versions, read_head
from driftline.stream.codec.traffic import unpack_incident
from driftline.stream.config.sections import Config
from driftline.stream.judge.waiting import Counts
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.store import judge_key

# Models read in one request: their heads have some kilobytes each, and the server answers nobody else meanwhile.
_AT_ONCE = 64
# What of a model's state is read of each.
_FIELDS = ("head", "incidents", "traffic", "waiting")


class StoredModel(NamedTuple):
    """A model in a partition of the panes topic. seen: when its newest pane was appended, epoch ms; None: not known."""

    name: str
    partition: int
    facts: HeadFacts
    seen: int | None
    open_incidents: int
    labels: Counts | None = None

    def row(self, config: Config) -> dict[str, Any]:
        """As plain JSON data. events: those in the warm-up, or judged since. slope_blocks: until slopes are known.

        slope_ratios: by signal where live events overrule the baseline, how many times as large its slope is.
        """
        chosen, facts = config.for_model(self.name), self.facts
        baseline = "given" if chosen.is_given_baselines else "learned" if facts.learned else "learning"
        return {
            "model": self.name,
            "partition": self.partition,
            "baseline": baseline,
            "events": facts.sample if baseline == "learning" else facts.judged,
            "learn_events": chosen.learn_events if baseline == "learning" else None,
            "last_seen": None if self.seen is None else iso(self.seen),
            "open_incidents": self.open_incidents,
            "labels": self.labels and self.labels._asdict(),
            "slope_blocks": facts.blocks or None,
            "slope_ratios": dict(facts.overruled) or None,
        }


@dataclass(frozen=True)
class ModelIndex:
    """The models of a group of workers, judged from a panes topic. Each call may raise StoreError."""

    client: Client
    namespace: str
    topic: str

    async def read(self) -> list[StoredModel]:
        """The models, by name. Raises FormatError if the state of one cannot be read."""
        found, partition = list[StoredModel](), 0
        while await call_redis(self.client.exists, self._key(partition)):  # the first workers take over all partitions
            found += await self._partition(partition)
            partition += 1
        return sorted(found)

    async def _partition(self, partition: int) -> list[StoredModel]:
        key = self._key(partition)
        names = sorted(name.decode() for name in await call_redis(self.client.smembers, f"{key}:models"))
        times = await call_redis(self.client.hgetall, f"{key}:seen")
        seen = {name.decode(): int(at) for name, at in times.items()}
        found = list[StoredModel | None]()
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            found += await self._models(partition, {name: seen.get(name) for name in some})
        # Of a model that was forgotten after alerts, the number of the last one stays.
        return [each for each in found if each is not None and (each.seen is not None or each.facts != HeadFacts())]

    async def _models(self, partition: int, seen: Mapping[str, int | None]) -> list[StoredModel | None]:
        """Models, by name; None of each that was forgotten meanwhile."""
        keys = {name: f"{self._key(partition)}:model:{name}" for name in seen}

        async def read() -> Sequence[Sequence[bytes | None]]:
            pipeline = self.client.pipeline(transaction=False)
            for key in keys.values():
                pipeline.hmget(key, *_FIELDS)
            return cast(Sequence[Sequence[bytes | None]], await pipeline.execute())

        stored = zip(seen.items(), await call_redis(read), strict=True)
        return [await self._model(partition, keys[name], name, at, *each) for (name, at), each in stored]

    async def _model(
        self, partition: int, key: str, name: str, seen: int | None,
        head: bytes | None, incidents: bytes | None, traffic: bytes | None, waiting: bytes | None,
    ) -> StoredModel | None:  # fmt: skip
        """A model of which this is stored; None if it was forgotten."""
        if head is None:
            return None
        try:
            own = heads_of_versions(head)
            heads = [head, *(await call_redis(self.client.hmget, key, *own) if own else [])]
            facts = [read_head(each) for each in heads if each is not None]
            found = HeadFacts(
                sample=sum(each.sample for each in facts),
                learned=facts[0].learned,
                judged=sum(each.judged for each in facts),
            )
            known = [*unpack_incidents(incidents).values()] if incidents else []
            of_traffic = unpack_incident(traffic) if traffic else None
            reported = sum(each.reported for each in (*known, *([of_traffic] if of_traffic else [])))
            labels = read_counts(waiting) if waiting else None
            return StoredModel(name, partition, found, seen, reported, labels)
        except FormatError as error:
            raise FormatError(f"model {name!r}: {error}") from error

    def _key(self, partition: int) -> str:
        return judge_key(self.namespace, self.topic, partition)
