"""What a worker asks of Kafka."""

from __future__ import annotations

from driftline.stream.worker.faust.app import WorkerSettings, build_app


def test_a_record_is_acknowledged_when_it_is_on_every_in_sync_replica() -> None:
    assert build_app(WorkerSettings()).conf.producer_acks == -1
