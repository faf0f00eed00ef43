"""Faults of Kafka: a broker ends or hangs, leaders change, or brokers refuse what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from driftline.stream.demo.servers import Server
from driftline.stream.kafka.admin import open_admin
from load_tests.chaos.faults.processes import disk_full, killed, no_limits, paused, stopped
from load_tests.chaos.schedule import Fault, Kind, Topology
from load_tests.chaos.site import Site


def _broker(site: Site, fault: Fault) -> Server:
    return site.kafka.nodes[fault.victim % len(site.kafka.nodes)]


@contextmanager
def _without_replicas(site: Site, fault: Fault) -> Iterator[None]:
    """All brokers must have a record before it is acknowledged, and one is down."""
    _require_replicas(site, len(site.kafka.nodes))
    with killed(_broker)(site, fault):
        yield
    _require_replicas(site, len(site.kafka.nodes) - 1)


def _require_replicas(site: Site, count: int) -> None:
    with open_admin(site.kafka.broker.kafka) as admin:
        topics = sorted(admin.list_topics())
        settings = {"min.insync.replicas": str(count)}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings) for topic in topics])


@contextmanager
def _leaders_moved(site: Site, _fault: Fault) -> Iterator[None]:
    """The next replica of each partition becomes the preferred one, then the preferred ones become leaders."""
    with open_admin(site.kafka.broker.kafka) as admin:
        partitions = {
            TopicPartition(topic["name"], each["partition_index"]): each["replica_nodes"]
            for topic in admin.describe_topics()
            for each in topic["partitions"]
        }
        admin.alter_partition_reassignments({where: [*ids[1:], ids[0]] for where, ids in partitions.items()})
        admin.elect_leaders(0, raise_errors=False)
    yield


_ONE_BROKER: Sequence[Topology] = ("one", "sentinel", "cluster")

KINDS = (
    Kind("kafka SIGKILL", "kafka", killed(_broker), seconds=(0.0, 6.0)),
    Kind("kafka SIGTERM", "kafka", stopped(_broker), seconds=(0.0, 6.0)),
    Kind("kafka SIGSTOP, then SIGCONT", "kafka", paused(_broker), seconds=(1.0, 12.0)),
    Kind("kafka down for a minute", "kafka", killed(_broker), seconds=(45.0, 90.0), topologies=_ONE_BROKER),
    Kind("kafka disk full", "kafka", disk_full(_broker), seconds=(2.0, 20.0), obstacle=no_limits),
    # A dead broker is out of sync after its session of 3 s.
    Kind("kafka without replicas", "kafka", _without_replicas, seconds=(6.0, 20.0), topologies=("brokers",)),
    Kind("kafka leaders moved", "kafka", _leaders_moved, topologies=("brokers",)),
)
