"""A topic is deleted and created again while workers read it; an operator runs `driftline resume`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from driftline.stream.kafka.admin import open_admin
from load_tests.chaos.producers import committed
from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site

_REFUSED = "was deleted and created again since this group has read it"
# s for each step: a server that it needs may be away for a minute, and Kafka may count a worker that has ended.
_PATIENCE = 300.0
_MOVE = re.compile(r"(\S+), partition (\d+): read to offset (\d+), .*It resumes at offset (\d+): (.*)")
_DOUBT = re.compile(r"events of offsets (\d+) to (\d+) are lost if a worker")


class _Move(NamedTuple):
    """What `driftline resume` says of a partition."""

    topic: str
    partition: int
    read_to: int
    to: int
    effect: str


@contextmanager
def _made_again(site: Site, _fault: Fault) -> Iterator[None]:
    if not site.wait_for(site.producer.try_to_pause, _PATIENCE):
        raise RuntimeError("a burst of traffic does not end")
    logs = committed(site.producer.kafka, site.producer.topic)
    site.fleet.paused = True
    _create_again(site)
    if not site.wait_for(lambda: not site.fleet.running(), _PATIENCE) or _REFUSED not in site.fleet.logs():
        site.mismatches.append(f"workers went on although {site.producer.topic} was created again")
    _begin_era(site, logs, _resume(site))
    site.producer.begin_again()
    site.watch.begin_again()
    site.fleet.paused = False
    site.producer.go_on()
    yield


def _create_again(site: Site) -> None:
    topic, partitions = site.producer.topic, len(site.producer.appended)
    with open_admin(site.deployment.broker.kafka) as admin:
        admin.delete_topics([topic])
        site.wait_for(lambda: topic not in admin.list_topics(), _PATIENCE)
        site.deployment.create_topics()
        if partitions > site.deployment.config.topics.partitions:
            admin.create_partitions({topic: partitions})


def _resume(site: Site) -> list[_Move]:
    """What `driftline resume --yes` announces and does, once Kafka counts no worker any more."""
    done: Any = None

    def resumed() -> bool:
        nonlocal done
        command = [sys.executable, "-m", "driftline", "resume", "-c", str(site.deployment.path), "--yes"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return bool(done.returncode == 0)

    if not site.wait_for(resumed, _PATIENCE):
        site.mismatches.append(f"driftline resume failed: {done.stderr or done.stdout}")
    found = map(_MOVE.fullmatch, done.stdout.splitlines())
    return [_Move(each[1], *(int(each[group]) for group in (2, 3, 4)), each[5]) for each in found if each]


def _begin_era(site: Site, logs: Mapping[int, Mapping[int, bytes | None]], moves: list[_Move]) -> None:
    """Only what was announced may be lost: what the sketchers had not read by then, and panes not judged by then."""
    topics = site.deployment.config.topics
    read_to = {each.partition: each.read_to for each in moves if each.topic == topics.predictions}
    kept = {
        partition: {offset: value for offset, value in log.items() if offset < read_to.get(partition, 0)}
        for partition, log in logs.items()
    }
    skipped = {
        (each.partition, offset)
        for each in moves
        if each.topic == topics.panes
        for offset in range(each.read_to, each.to)
    }
    resumed = {each.partition: each.to for each in moves if each.topic == topics.predictions}
    doubts = {each.partition: _DOUBT.search(each.effect) for each in moves if each.topic == topics.predictions}
    doubtful = {partition: range(int(each[1]), int(each[2]) + 1) for partition, each in doubts.items() if each}
    site.eras.append(site.era(kept, resumed=resumed, skipped=skipped, doubtful=doubtful))


KINDS = (Kind("predictions created again", "kafka", _made_again),)
