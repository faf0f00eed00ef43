"""What happens to logs: partitions are added, a transaction hangs, another deployment comes with the same group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import embedded_broker
from driftline.stream.kafka.admin import open_admin
from load_tests.chaos.producers import hang
from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site
from load_tests.harness.deployment import Broker, Deployment, unique

# Partitions that are added at once: fewer than workers, so that some get none of them.
_MORE = 2
# Seconds for a worker to start and to be refused; Redis may first have to come back from another fault.
_UNTIL_REFUSED = 180.0
# Snappy makes zeros only 20 times smaller, and the broker refuses what is left.
_BOMB_CODECS = ("gzip", "lz4", "zstd")
# Events that the other deployment has, had it read them.
_EVENT = b'{"id":"other","ts":1767225600000,"model":"keyed-0","features":{"amount":99},"score":9}'


@contextmanager
def _more_predictions(site: Site, _fault: Fault) -> Iterator[None]:
    _add_partitions(site, site.deployment.config.topics.predictions)
    site.watch.partitions += _MORE
    site.producer.add_partitions(_MORE)
    yield


@contextmanager
def _more_panes(site: Site, _fault: Fault) -> Iterator[None]:
    """Models keep the partitions that they have: the new ones stay idle."""
    _add_partitions(site, site.deployment.config.topics.panes)
    yield


@contextmanager
def _more_labels(site: Site, _fault: Fault) -> Iterator[None]:
    """They stay empty: labels lie where they lay before."""
    _add_partitions(site, site.deployment.config.topics.labels)
    yield


def _add_partitions(site: Site, topic: str) -> None:
    with open_admin(site.deployment.broker.kafka) as admin:
        admin.create_partitions({topic: len(site.deployment.ends(topic)) + _MORE})


@contextmanager
def _hang(site: Site, _fault: Fault) -> Iterator[None]:
    """A producer that dies in the middle of a transaction: nothing behind it can be read until the broker aborts it."""
    hang(
        site.kafka.broker.kafka.bootstrap,
        site.deployment.config.topics.predictions,
        len(site.producer.appended),
        _EVENT,
    )
    yield


@contextmanager
def _bomb(site: Site, fault: Fault) -> Iterator[None]:
    """A batch that takes some kilobytes, and 70 MB once it is unpacked."""
    site.producer.send_bomb(_BOMB_CODECS[fault.victim % len(_BOMB_CODECS)], fault.victim)
    yield


@contextmanager
def _another_cluster(site: Site, _fault: Fault) -> Iterator[None]:
    """A second deployment on another Kafka, with the group and the Redis of the first: it must touch nothing."""
    folder = site.deployment.path.parent / unique("other")
    folder.mkdir()
    with embedded_broker(folder) as kafka:
        other = _copy(site.deployment, folder, Broker(kafka, idempotent=False))
        other.create_topics()
        other.produce({0: [_EVENT] * 1000})
        with other.worker("other") as worker:
            site.wait_for(lambda: worker.process.poll() is not None, _UNTIL_REFUSED)
            if worker.process.returncode != 1 or "belongs to Kafka cluster" not in worker.logs():
                site.mismatches.append(f"a worker on another cluster was not refused: {worker.last_lines()}")
    yield


def _copy(deployment: Deployment, folder: Path, broker: Broker) -> Deployment:
    """A deployment with the configuration of another one, on another broker."""
    settings = json.loads(deployment.path.read_text())
    settings["kafka"] = {"bootstrap": broker.server.address, "idempotent": broker.idempotent}
    path = deployment.path.with_name(f"{folder.name}.yaml")
    path.write_text(json.dumps(settings))
    return replace(deployment, path=path, broker=broker, config=parse_config(path.read_text(), str(path)))


KINDS = (
    Kind("partitions added to predictions", "kafka", _more_predictions),
    Kind("partitions added to panes", "kafka", _more_panes),
    Kind("partitions added to labels", "kafka", _more_labels),
    # Longer than the broker takes to abort it.
    Kind("transaction hangs", "kafka", _hang, seconds=(5.0, 8.0)),
    Kind("decompression bomb", "kafka", _bomb),
    Kind("second deployment", "kafka", _another_cluster),
)
