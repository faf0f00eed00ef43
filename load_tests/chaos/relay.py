"""The relay of a chaos run: a process that is started again when it ends, and sends to the pager."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from load_tests.chaos.pager import RELAY_TIMEOUT, Pager
from load_tests.harness.deployment import Deployment, WorkerProcess

#: The section `relay` of the configuration: one page for each incident, so that the verdict can tell which is which.
SETTINGS: Mapping[str, Any] = {
    "http": "127.0.0.1:0",
    "timeout_seconds": RELAY_TIMEOUT,
    "longest_pause_seconds": 0.5,
    "grouping": {"group_wait": "0s", "outage_models": None},
}
# Seconds after which an ended relay is started again.
_RESTART = 0.5


@dataclass
class Relay:
    """A relay process.

    interruptions: when it was killed, paused or resumed, or may have lost its notes; from and to, epoch s.
    """

    deployment: Deployment
    pager: Pager
    exits: Counter[int] = field(default_factory=Counter)
    interruptions: list[tuple[float, float]] = field(default_factory=list)
    _process: WorkerProcess | None = None
    _due: float | None = None

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, "-m", "driftline", "relay", "--to", "webhook", "-c", str(self.deployment.path)]
        self._process = self.deployment.worker("relay", command, WEBHOOK_URL=self.pager.url).__enter__()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.interrupt()
        if self._process is not None:
            self._process.process.send_signal(number)

    def interrupt(self, seconds: float = 0.0) -> None:
        """Note that the relay may send again what it has just sent, or sends within these seconds."""
        self.interruptions.append((time.time(), time.time() + seconds))

    def restart_ended(self) -> None:
        """Start the process again if it ended long enough ago."""
        if self._process is None or (code := self._process.process.poll()) is None:
            return
        if self._due is None:
            self.exits[code] += 1
            self.interrupt()
            self._due = time.monotonic() + _RESTART
        elif self._due <= time.monotonic():
            self._due = None
            self.start()

    def stop(self) -> int | None:
        """Stop the process by SIGTERM; its exit code, None if it was not running."""
        process, self._process = self._process, None
        if process is None or process.process.poll() is not None:
            return None
        process.process.send_signal(signal.SIGCONT)
        return process.stop()

    def kill(self) -> None:
        """End the process, however it is, and for good."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def logs(self) -> str:
        """The logs of all its processes."""
        return (self.deployment.path.parent / "relay.log").read_text(errors="replace")

    def is_done(self) -> bool:
        """Whether all alerts on the topic are settled: the relay has committed their offsets."""
        kafka, config = self.deployment.broker.kafka.bootstrap, self.deployment.config
        ends = self.deployment.ends(config.topics.alerts)
        consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"{config.worker.group}-relay-webhook"})
        places = [TopicPartition(config.topics.alerts, each) for each in ends]
        try:
            with suppress(KafkaException):
                return all(max(each.offset, 0) == ends[each.partition] for each in consumer.committed(places, 10))
            return False
        finally:
            consumer.close()
