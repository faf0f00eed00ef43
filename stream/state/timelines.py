"""The timelines of models, for people to look at. `stream.state.store` lists the keys.

Reading takes no epoch and writes nothing, so it disturbs no worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from driftline.stream.codec.state import prefixes_of
from driftline.stream.codec.timeline import StoredTimeline, read_span, stored_timeline, wanted_names
from driftline.stream.judge.timeline import HOUR_MS
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.store import judge_key, timeline_key


class ReadTimeline(NamedTuple):
    """A part of a timeline. tracks: those of the model that have one. kind: of its stretches, hour or day."""

    track: str
    tracks: list[str]
    kind: str
    stored: StoredTimeline


@dataclass(frozen=True)
class TimelineIndex:
    """The timelines of a group of workers, judged from a panes topic. Each call may raise StoreError."""

    client: Client
    namespace: str
    topic: str

    async def partition_of(self, model: str) -> int | None:
        """The partition in which a model is judged; None if no worker remembers it."""
        partition = 0
        while await call_redis(self.client.exists, key := judge_key(self.namespace, self.topic, partition)):
            if await call_redis(self.client.exists, f"{key}:model:{model}"):
                return partition
            partition += 1
        return None

    async def read(
        self, model: str, partition: int, track: str, length: int, by_day: bool, of: str = ""
    ) -> ReadTimeline | None:
        """The last `length` ms of a timeline, by the day or by the hour; None without one. Raises FormatError.

        track: if there is no timeline of it, that of the first one that has one. of: "" for signals, or `OUTCOME`.
        """
        judge = judge_key(self.namespace, self.topic, partition)
        key = f"{judge}:model:{model}"
        head = await call_redis(self.client.hget, key, "head")
        prefixes = prefixes_of(head) if head else {}
        names = [f"{each}{of}timeline" for each in prefixes.values()]
        parts = await call_redis(self.client.hmget, key, *names) if names else []
        spans = {track: read_span(part) for track, part in zip(prefixes, parts, strict=True) if part is not None}
        chosen = track if track in spans else next(iter(spans), None)
        if chosen is None:
            return None
        kind, span = "day" if by_day else "hour", spans[chosen]
        unit = HOUR_MS * (24 if by_day else 1)
        first = (span.newest * HOUR_MS + HOUR_MS - length) // unit
        names = wanted_names(span, kind, first)
        own = [prefixes[chosen] + of + name for name in names]
        found = dict[str, bytes]()
        for where in (key, timeline_key(judge, model)):
            stored = await call_redis(self.client.hmget, where, *own)
            found |= {name: part for name, part in zip(names, stored, strict=True) if part is not None}
        return ReadTimeline(chosen, [*spans], kind, stored_timeline(found))
