"""What a worker asks of Kafka, and what it does until Kafka answers."""

from __future__ import annotations

import asyncio

from driftline.stream.codec.levels import NEWEST
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import Server, free_port
from driftline.stream.worker.faust.app import WorkerSettings, build_app
from driftline.stream.worker.ticks import TickFacts
from driftline.stream.worker.worker import Worker
from load_tests.harness.deployment import unique
from load_tests.harness.oracle import baseline_of


def test_a_record_is_acknowledged_when_it_is_on_every_in_sync_replica() -> None:
    assert build_app(WorkerSettings()).conf.producer_acks == -1


def test_a_worker_that_waits_for_kafka_to_take_over_announces_nothing_yet(redis_server: Server) -> None:
    """The partitions of the models are those of the group, which it does not know before."""
    kafka, redis = (
        f"kafka: {{bootstrap: '127.0.0.1:{free_port()}'}}",
        f"redis: {{url: 'redis://{redis_server.address}'}}",
    )
    config = parse_config(f"{kafka}\n{redis}\nworker: {{group: {unique('group')}}}\nmodels: {{a: {{}}}}")
    level, facts, has_taken_over = asyncio.run(_wait_for_kafka(config))
    assert level == NEWEST
    assert facts is None, "nor does it send ticks"
    assert not has_taken_over


async def _wait_for_kafka(config: Config) -> tuple[int | None, TickFacts | None, bool]:
    """The group's level, what ticks would need, and whether it has taken over, after housekeeping while it waits."""
    worker = Worker(config, {"a": baseline_of("a")})
    takeover = asyncio.create_task(worker._claim(frozenset()))
    await asyncio.sleep(0.5)
    level = await worker.group_level.read()
    await worker._keep_house()
    facts, has_taken_over = worker.guard.facts_of(worker.config.topics.predictions), takeover.done()
    takeover.cancel()
    await worker.store.client.aclose()
    return level, facts, has_taken_over
