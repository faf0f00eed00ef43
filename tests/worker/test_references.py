"""Baselines that a worker announces: whoever reads the record finds them, also if Redis loses its last writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from driftline.stream.codec.panes import ReferenceMessage, read_message
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.state.client import connect
from driftline.stream.state.references import StoredBaselines
from driftline.stream.worker.references import References
from load_tests.harness.deployment import unique
from load_tests.harness.oracle import baseline_of


@dataclass(frozen=True)
class Losing(StoredBaselines):
    """Redis loses keys once, between the writes of baselines and the moment at which they are on disk."""

    lost: list[str] = field(default_factory=list)

    async def sync(self, generation: int, models: Iterable[str]) -> None:
        while self.lost:
            await self.client.delete(self.lost.pop())
        await super().sync(generation, models)


@pytest.mark.parametrize("names", [("",), ("", ":used")])
def test_a_baseline_that_redis_loses_before_it_is_on_disk_is_stored_again(
    redis_server: Server, names: tuple[str, ...]
) -> None:
    namespace, baseline = unique("group"), baseline_of("m")
    published = list[OutgoingRecord]()

    async def publish(records: Iterable[OutgoingRecord]) -> None:
        published.extend(records)

    async def announced() -> bytes | None:
        client = connect(Redis(url=f"redis://{redis_server.address}"))
        stored = Losing(client, namespace, lost=[f"{namespace}:{{baselines/m}}{name}" for name in names])
        await References({"m": baseline}, stored).announce(publish, "panes")
        assert stored.lost == []
        found = await stored.load("m", baseline.content_hash)
        await client.aclose()
        return found

    assert asyncio.run(announced()) is not None
    (record,) = (read_message(each.value) for each in published)
    assert isinstance(record, ReferenceMessage)
    assert record.baselines == {"": baseline.content_hash}
