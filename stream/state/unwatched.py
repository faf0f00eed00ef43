"""What the workers of a group do not watch, in Redis, for `driftline incidents`.

NS is the namespace (the consumer group), WORKER a random name of a worker's process.

| key            | type | lives | holds                                                                  |
|----------------|------|-------|------------------------------------------------------------------------|
| NS:unwatched   | hash | 1 h   | by WORKER: when it wrote, and the fields that no signal watches        |

This is observation only: nothing depends on it, and it belongs to no commit. Every worker reports the fields that it
has seen in its own partitions; a report is valid for ten minutes, and workers repeat theirs every minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from driftline.stream.baselines.unwatched import Why
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.state.client import Client, call_redis

#: s for which a report is valid: ten times as long as workers wait before they repeat it.
VALID = 600.0
# s that the key lives after the last write.
_LIFE = 3600
# Fields in a report: with names of 255 characters and their reasons they take half a megabyte.
_MOST = 1000


class _Report(msgspec.Struct):
    at: float
    fields: list[tuple[str, str, str, str]]


_REPORT = msgspec.json.Decoder(_Report)


@dataclass(frozen=True)
class UnwatchedReports:
    """The reports of a group of workers. Each call may raise StoreError."""

    client: Client
    namespace: str

    @property
    def _key(self) -> str:
        return f"{self.namespace}:unwatched"

    async def write(self, worker: str, fields: Sequence[Unwatched], now: float) -> None:
        """Replace a worker's report and remove those that are no longer valid. now: s since the epoch."""
        for other, report in (await self._reports()).items():
            if now - report.at > VALID:
                await call_redis(self.client.hdel, self._key, other)
        rows = [(each.model, each.field, each.why.value, each.detail) for each in fields[:_MOST]]
        await call_redis(self.client.hset, self._key, worker, msgspec.json.encode(_Report(now, rows)))
        await call_redis(self.client.expire, self._key, _LIFE)

    async def read(self, now: float) -> list[Unwatched]:
        """The fields of all valid reports, by model and name; of several reports on one field, the newest."""
        valid = [each for each in (await self._reports()).values() if now - each.at <= VALID]
        found = {
            (model, name): Unwatched(model, name, Why(why), detail)
            for report in sorted(valid, key=lambda each: each.at)
            for model, name, why, detail in report.fields
            if why in frozenset(map(str, Why))
        }
        return [found[key] for key in sorted(found)]

    async def _reports(self) -> dict[str, _Report]:
        """All reports by worker; those of another version of the format are left out."""
        reports = {}
        for worker, content in (await call_redis(self.client.hgetall, self._key)).items():
            try:
                reports[worker.decode()] = _REPORT.decode(content)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue
        return reports
