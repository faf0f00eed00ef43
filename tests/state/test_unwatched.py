"""What workers report as not watched: several at once, for a while, and beside everything else in Redis."""

from __future__ import annotations

import msgspec

from driftline.stream.baselines.unwatched import Why
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.state.store import Store
from driftline.stream.state.unwatched import VALID, UnwatchedReports
from tests.harness.redis_servers import on_every_redis, redis_url

__all__ = ["redis_url"]


def field(name: str, detail: str = "new") -> Unwatched:
    return Unwatched("m", name, Why.NEW, detail)


@on_every_redis
async def test_the_reports_of_all_workers_are_read_together_and_the_newest_says_why(store: Store) -> None:
    reports = UnwatchedReports(store.client, store.namespace)
    assert await reports.read(0.0) == []
    await reports.write("one", [field("b", "new, said one"), field("a")], 100.0)
    await reports.write("two", [field("b", "new, said two"), field("c")], 101.0)
    assert await reports.read(102.0) == [field("a"), field("b", "new, said two"), field("c")]
    await reports.write("two", [], 103.0)
    assert await reports.read(104.0) == [field("a"), field("b", "new, said one")]


@on_every_redis
async def test_a_report_ends_with_its_worker(store: Store) -> None:
    reports, key = UnwatchedReports(store.client, store.namespace), f"{store.namespace}:unwatched"
    await reports.write("gone", [field("a")], 100.0)
    assert await reports.read(100.0 + VALID) == [field("a")]
    assert await reports.read(101.0 + VALID) == []
    await reports.write("next", [field("b")], 101.0 + VALID)
    assert await store.client.hkeys(key) == [b"next"]
    assert 0 < await store.client.ttl(key) <= 3600


@on_every_redis
async def test_what_another_version_wrote_is_left_out(store: Store) -> None:
    reports, key = UnwatchedReports(store.client, store.namespace), f"{store.namespace}:unwatched"
    report = {"at": 100.0, "fields": [("m", "a", "sparse", "?"), ("m", "b", "new", "new")], "more": 1}
    await store.client.hset(
        key, mapping={"later": msgspec.json.encode(report), "odd": b"[1", "list": b"[]", "bytes": b"\xff"}
    )
    await store.client.hset(key, mapping={"deep": b"[" * 100_000, b"\xff": msgspec.json.encode(report)})
    assert await reports.read(100.0) == [field("b")]
