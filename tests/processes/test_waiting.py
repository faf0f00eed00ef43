"""Workers and relays while Redis or Kafka does not answer or refuses: they wait, say so, and go on by themselves."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from kafka import KafkaProducer
from kafka.errors import KafkaError

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server, embedded_broker
from driftline.stream.kafka.client import client_options
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import baseline_of, events_counted, messages
from load_tests.harness.servers import apache_kafka, real_redis
from load_tests.harness.tcp_proxy import TcpProxy
from tests.harness.brokers import Broker
from tests.harness.redis_servers import small_disk
from tests.harness.relay_site import Site, site, site_on
from tests.harness.services import SUCCESS, cloud_event

__all__ = ["site"]
EMBEDDED = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
# s. Twice the session and more: a rebalance must not look like a stall.
PATIENCE = 13
# s in which an orchestrator expects a process to end.
STOP = 9.5


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    """A Redis that no other test uses, with an append-only file."""
    with real_redis(tmp_path / "redis", fsync="everysec") as server:
        yield server


def deployed(directory: Path, broker: Broker, redis: str, **sections: Any) -> Deployment:
    """A deployment of two partitions with a baseline for the model `given`, whose watchdog has little patience."""
    deployment = deploy(directory, broker, redis, {"topics": {"partitions": 2}, **sections})
    values = json.loads(deployment.path.read_text())
    values["worker"]["watchdog_seconds"] = PATIENCE
    values |= {"panes": {"seconds": 0.5}, "models": {"given": {"baseline": "given.driftline"}}}
    deployment.path.write_text(json.dumps(values))
    (directory / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))
    return deployment.reload()


def counted(deployment: Deployment) -> int:
    """Events in the stored state of the model `given`."""
    parts = deployment.model_states().get("given")
    return events_counted(parts, deployment.baselines["given"]) if parts else 0


def health(process: WorkerProcess) -> dict[str, Any]:
    answer = process.get("/health")
    return {"http": answer.status, **json.loads(answer.body)}


def logs(count: int, first: int = 0) -> dict[int, list[bytes | None]]:
    """Messages of two partitions, `count` each."""
    return {0: [*messages("given", count, first=first)], 1: [*messages("given", count, first=first)]}


# How Redis refuses writes, and how it accepts them again.
REFUSALS = {
    "NOREPLICAS": ({"min-replicas-to-write": 1}, {"min-replicas-to-write": 0}),
    "maxmemory": ({"maxmemory": 1}, {"maxmemory": 0}),
}


@pytest.mark.slow
@EMBEDDED
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_worker_outlasts_a_redis_that_refuses_writes_for_longer_than_the_watchdogs_patience(
    broker: Broker, own_redis: Server, tmp_path: Path, refusal: str
) -> None:
    deployment = deployed(tmp_path, broker, own_redis.address)
    refuse, accept = REFUSALS[refusal]
    with deployment.worker() as worker, sync_redis.Redis(port=own_redis.port) as client:
        deployment.produce(logs(300))
        worker.wait_for(lambda: counted(deployment) == 600)
        for name, value in refuse.items():
            client.config_set(name, value)
        deployment.produce(logs(300, first=300))
        worker.wait_for(lambda: health(worker)["status"] == "waiting")
        found = health(worker)
        assert found["http"] == 503
        assert refusal in found["reason"]
        assert refusal in found["waiting_for"]["Redis"]["error"]
        time.sleep(2 * PATIENCE)
        found = health(worker)["waiting_for"]["Redis"]
        assert found["seconds"] > 2 * PATIENCE - 2
        assert found["attempts"] > 5
        assert found["since"].startswith("20")
        assert 'driftline_waiting_seconds{server="Redis"} 2' in worker.get("/metrics").body
        for name, value in accept.items():
            client.config_set(name, value)
        worker.wait_for(lambda: counted(deployment) == 1200)
        worker.wait_for(lambda: health(worker)["status"] == "ok")
        assert 'driftline_waiting_seconds{server="Redis"} 0.0' in worker.get("/metrics").body
        assert worker.stop() == 0
    assert "Traceback" not in worker.logs()


@pytest.mark.slow
@EMBEDDED
def test_workers_whose_partitions_move_while_redis_is_away_stay_in_the_group_and_take_over_when_it_is_back(
    broker: Broker, own_redis: Server, tmp_path: Path
) -> None:
    """
    Redis     ├── there ──┤├──────────── away for 45 s ────────────┤├── there
    worker a  ├── works ──┤├── gives up, rejoins ──┤├── waits ─────┤├── shares the partitions
    worker b  ├── spare: asks its servers ──┤ joins when Redis was there …
    """
    with TcpProxy(own_redis.port) as redis:
        redis.open()
        deployment = deployed(tmp_path, broker, redis.address)
        with deployment.worker("a") as a, deployment.worker("b") as b:
            deployment.produce(logs(300))
            a.wait_for(lambda: "took over" in a.logs() and "took over" in b.logs())
            a.wait_for(lambda: counted_behind(deployment, own_redis) == 600)
            redis.close()
            deployment.produce(logs(300, first=300))
            a.wait_for(lambda: health(a)["status"] == "waiting")
            b.process.send_signal(signal.SIGKILL)  # its partitions move to a, which cannot read where to resume
            time.sleep(45)
            assert a.process.poll() is None
            assert health(a)["waiting_for"]["Redis"]["error"].startswith("Redis does not answer")
            redis.open()
            a.wait_for(lambda: counted_behind(deployment, own_redis) == 1200)
            deployment.produce(logs(300, first=600))
            a.wait_for(lambda: counted_behind(deployment, own_redis) == 1800)
            assert a.stop() == 0
        assert "Traceback" not in a.logs()


def counted_behind(deployment: Deployment, redis: Server) -> int:
    """Events counted, read without the proxy."""
    section = deployment.config.redis.model_copy(update={"url": f"redis://{redis.address}/0"})
    direct = deployment.config.model_copy(update={"redis": section})
    return counted(Deployment(deployment.path, deployment.broker, direct))


@pytest.mark.slow
@pytest.mark.parametrize("away", ["refuses", "closed", "frozen", "kafka"])
def test_a_worker_that_waits_ends_at_once_and_in_order_on_sigterm(own_redis: Server, tmp_path: Path, away: str) -> None:
    with TcpProxy(own_redis.port) as redis, embedded_broker(tmp_path / "kafka") as kafka:
        redis.open()
        deployment = deployed(tmp_path, Broker(kafka, idempotent=False), redis.address)
        with deployment.worker() as worker, sync_redis.Redis(port=own_redis.port) as client:
            deployment.produce(logs(300))
            worker.wait_for(lambda: counted_behind(deployment, own_redis) == 600)
            {
                "refuses": lambda: client.config_set("min-replicas-to-write", 1),
                "closed": redis.close,
                "frozen": redis.freeze,
                "kafka": kafka.kill,
            }[away]()
            if away != "kafka":
                deployment.produce(logs(300, first=300))
            worker.wait_for(lambda: health(worker)["status"] == "waiting")
            started = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - started < STOP


@EMBEDDED
def test_a_worker_joins_no_group_before_redis_accepts_writes_and_serves_its_health_meanwhile(
    broker: Broker, own_redis: Server, tmp_path: Path
) -> None:
    deployment = deployed(tmp_path, broker, own_redis.address)
    with sync_redis.Redis(port=own_redis.port) as client:
        client.config_set("min-replicas-to-write", 1)
        with deployment.worker() as worker:
            worker.wait_for(lambda: health(worker)["status"] == "waiting")
            assert "NOREPLICAS" in health(worker)["reason"]
            assert "driftline_waiting_seconds" in worker.get("/metrics").body
            assert "took over" not in worker.logs()
            client.config_set("min-replicas-to-write", 0)
            deployment.produce(logs(300))
            worker.wait_for(lambda: counted(deployment) == 600)
            assert not client.keys("*write*"), "the attempt left nothing"
            assert worker.stop() == 0


@EMBEDDED
@pytest.mark.parametrize("program", ["worker", "relay"])
def test_a_process_that_waits_for_a_silent_kafka_before_it_starts_ends_at_once(site: Site, program: str) -> None:
    with TcpProxy(int(site.deployment.config.kafka.bootstrap.rpartition(":")[2])) as kafka:
        kafka.open()
        kafka.freeze()
        values = json.loads(site.deployment.path.read_text())
        values["kafka"]["bootstrap"] = kafka.address
        site.deployment.path.write_text(json.dumps(values))
        with site.relay("pagerduty") if program == "relay" else site.deployment.worker() as process:
            process.wait_for(lambda: health(process)["status"] == "starting")
            started = time.monotonic()
            assert process.stop() == 0
            assert time.monotonic() - started < 3


@EMBEDDED
def test_workers_of_one_configuration_share_a_machine_on_ports_that_follow_each_other(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    with TcpProxy(0) as taken:
        taken.open()
        deployment = deployed(tmp_path, broker, redis_server.address, worker={"http": taken.address})
        with deployment.worker("a") as a, deployment.worker("b") as b:
            for worker in (a, b):
                worker.wait_for(lambda worker=worker: f"port {taken.port} is in use" in worker.logs())
                worker.wait_for(lambda worker=worker: health(worker)["status"] == "ok")
            addresses = {each.logs().partition("health and metrics on http://")[2].split()[0] for each in (a, b)}
            assert len(addresses) == 2


@pytest.mark.slow
@pytest.mark.kafka
def test_a_worker_outlasts_a_kafka_that_is_away_for_longer_than_its_clients_patience(
    redis_server: Server, tmp_path: Path
) -> None:
    with apache_kafka(tmp_path / "kafka") as kafka:
        deployment = deployed(tmp_path, Broker(kafka, idempotent=True), redis_server.address)
        with deployment.worker() as worker:
            deployment.produce(logs(300))
            worker.wait_for(lambda: counted(deployment) == 600)
            deployment.produce(
                logs(130, first=300)
            )  # what is open of it ends and is to be published while Kafka is away
            kafka.kill()
            worker.wait_for(lambda: health(worker)["status"] == "waiting")
            time.sleep(50)  # aiokafka gives up a batch after 40
            assert health(worker)["waiting_for"]["Kafka"]["seconds"] > 40
            kafka.start()
            deployment.produce(logs(170, first=430))
            worker.wait_for(lambda: counted(deployment) == 1200)
            worker.wait_for(lambda: health(worker)["status"] == "ok")
            assert worker.stop() == 0
        assert "Crashed" not in worker.logs()


@pytest.mark.slow
@pytest.mark.kafka
def test_a_worker_outlasts_a_kafka_whose_disk_is_full_and_nothing_is_lost(redis_server: Server, tmp_path: Path) -> None:
    """A broker that cannot write to its only log directory ends; somebody makes room and starts it again."""
    with small_disk(tmp_path / "kafka", "200m") as disk, apache_kafka(disk) as kafka:
        deployment = deployed(tmp_path, Broker(kafka, idempotent=True), redis_server.address)
        with deployment.worker() as worker:
            deployment.produce(logs(300))
            worker.wait_for(lambda: counted(deployment) == 600)
            fill(disk / "ballast")
            send_into_the_void(deployment)
            worker.wait_for(lambda: health(worker)["status"] == "waiting")
            (disk / "ballast").unlink()
            kafka.kill()
            kafka.start()
            deployment.produce(logs(300, first=300))
            worker.wait_for(lambda: counted(deployment) == 1200)
            worker.wait_for(lambda: health(worker)["status"] == "ok")
            assert worker.stop() == 0


def send_into_the_void(deployment: Deployment) -> None:
    """Send records, none of them an event, until Kafka takes no more."""
    patience = {"request_timeout_ms": 2000, "delivery_timeout_ms": 5000, "max_block_ms": 5000}
    producer = KafkaProducer(**client_options(deployment.config.kafka), **patience)
    with suppress(KafkaError):
        while True:
            producer.send(deployment.config.topics.predictions, b"no event " * 10_000, partition=0).get(5)
    producer.close(timeout=1)


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)


@pytest.mark.slow
@EMBEDDED
def test_a_relay_that_cannot_note_what_it_has_sent_waits_and_does_not_send_it_again(
    site: Site, own_redis: Server
) -> None:
    pagerduty = site.services["pagerduty"]
    values = json.loads(site.deployment.path.read_text())
    values["redis"]["url"] = f"redis://{own_redis.address}/0"
    site.deployment.path.write_text(json.dumps(values))
    with site.relay("pagerduty") as relay, sync_redis.Redis(port=own_redis.port) as client:
        relay.wait_for(lambda: "reads 1 partitions" in relay.logs())
        # Redis begins to refuse when PagerDuty has the request: the relay cannot note that it was accepted.
        refuse = partial(client.config_set, "min-replicas-to-write", 1)
        pagerduty.script.append(SUCCESS["pagerduty"]._replace(before=refuse))
        site.publish(cloud_event(1))
        relay.wait_for(lambda: health(relay)["status"] == "waiting")
        assert health(relay)["http"] == 503
        time.sleep(20)
        client.config_set("min-replicas-to-write", 0)
        relay.wait_for(lambda: health(relay)["status"] == "ok")
        site.publish(cloud_event(2, "resolved"))
        relay.wait_for(lambda: not pagerduty.open)
        assert [each.json["event_action"] for each in pagerduty.requests] == ["trigger", "resolve"]
        client.config_set("min-replicas-to-write", 1)
        site.publish(cloud_event(3, incident="b2"))
        relay.wait_for(lambda: health(relay)["status"] == "waiting")
        started = time.monotonic()
        assert relay.stop() == 0
        assert time.monotonic() - started < STOP


@pytest.mark.slow
@pytest.mark.parametrize("noticed", [False, True])
def test_a_relay_that_commits_to_a_kafka_that_is_gone_waits_and_ends_on_sigterm(
    redis_server: Server, tmp_path: Path, noticed: bool
) -> None:
    """aiokafka tries to commit for ever, and reports no error."""
    with (
        embedded_broker(tmp_path / "kafka") as kafka,
        site_on(Broker(kafka, idempotent=False), redis_server, tmp_path) as here,
    ):
        pagerduty = here.services["pagerduty"]
        with here.relay("pagerduty") as relay:
            relay.wait_for(lambda: "reads 1 partitions" in relay.logs())
            pagerduty.script.append(SUCCESS["pagerduty"]._replace(before=kafka.kill))
            here.publish(cloud_event(1))
            relay.wait_for(lambda: "delivered" in relay.logs())
            if noticed:
                relay.wait_for(lambda: health(relay)["status"] == "waiting")
            started = time.monotonic()
            assert relay.stop() == 0
            assert time.monotonic() - started < STOP
        assert len(pagerduty.requests) == 1
