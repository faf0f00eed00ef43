"""The workers of a chaos run: a fleet that restarts those that ended, and a watch that measures recovery."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from driftline.stream.state.fencing import FencedError
from driftline.stream.state.store import StateMismatchError
from load_tests.chaos.relay import Relay
from load_tests.chaos.schedule import Fault
from load_tests.chaos.traffic import PARTITIONS
from load_tests.harness.deployment import Deployment, WorkerProcess
from load_tests.harness.redis_topologies import REDIS_ERRORS, connect_to

# Seconds between two reads of the progress, hence the resolution of recovery times.
_INTERVAL = 0.1
# Seconds after which an ended worker is started again, as an orchestrator does.
_RESTART = 0.5


@dataclass
class Fleet:
    """Workers by slot; a worker that has ended is started again in its slot, unless they are paused."""

    deployment: Deployment
    slots: dict[int, WorkerProcess] = field(default_factory=dict)
    exits: Counter[int] = field(default_factory=Counter)
    started: int = 0
    paused: bool = False
    _leaving: list[WorkerProcess] = field(default_factory=list)
    _due: dict[int, float] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self) -> None:
        """Start one more worker in a new slot."""
        with self._lock:
            self._start(max(self.slots, default=-1) + 1)

    def remove(self, victim: int) -> None:
        """Stop a worker with SIGTERM and free its slot."""
        with self._lock:
            worker = self.slots.pop(self._slot(victim))
            worker.process.terminate()
            worker.process.send_signal(signal.SIGCONT)
            self._leaving.append(worker)

    def slot(self, victim: int) -> int:
        """The slot of a worker that takes part."""
        with self._lock:
            return self._slot(victim)

    def holds_port(self, slot: int, port: int) -> bool:
        """Whether the worker in a slot has a connection from this local port."""
        with self._lock, suppress(KeyError, psutil.NoSuchProcess):
            process = psutil.Process(self.slots[slot].process.pid)
            return any(each.laddr.port == port for each in process.net_connections("tcp"))
        return False

    def send(self, victim: int, *signals: signal.Signals) -> WorkerProcess:
        """Send signals to a worker, in this order."""
        with self._lock:
            worker = self.slots[self._slot(victim)]
            for each in signals:
                worker.process.send_signal(each)
            return worker

    def send_all(self, what: signal.Signals) -> None:
        """Send a signal to all workers."""
        with self._lock:
            for worker in (*self.slots.values(), *self._leaving):
                worker.process.send_signal(what)

    def restart_ended(self) -> None:
        """Start workers again that ended long enough ago."""
        with self._lock:
            for slot, worker in self.slots.items():
                code = worker.process.poll()
                if code is not None and slot not in self._due:
                    self.exits[code] += 1
                    self._due[slot] = time.monotonic() + _RESTART
            for slot in [slot for slot, due in self._due.items() if due <= time.monotonic() and not self.paused]:
                del self._due[slot]
                self._start(slot)

    def running(self) -> int:
        """How many workers have not ended."""
        with self._lock:
            return sum(worker.process.poll() is None for worker in (*self.slots.values(), *self._leaving))

    def stop(self) -> list[int]:
        """Stop all workers with SIGTERM; the exit codes of those that were running."""
        with self._lock:
            for worker in self.slots.values():
                worker.process.send_signal(signal.SIGCONT)
            codes = [worker.stop() for worker in self.slots.values() if worker.process.poll() is None]
            self.kill()
        return codes

    def kill(self) -> None:
        """Send SIGKILL to all workers."""
        with self._lock:
            for worker in (*self.slots.values(), *self._leaving):
                worker.kill()
            self.slots.clear()

    def logs(self) -> str:
        """The logs of all workers, past and present."""
        return "".join(
            log.read_text(errors="replace") for log in sorted(self.deployment.path.parent.glob("worker-*.log"))
        )

    def _slot(self, victim: int) -> int:
        return sorted(self.slots)[victim % len(self.slots)]

    def _start(self, slot: int) -> None:
        self.started += 1
        self.slots[slot] = self.deployment.worker(f"worker-{slot}").__enter__()


@dataclass(frozen=True)
class Progress:
    """What Redis holds, by partition: the end of the last sealed run, and the offset of the next pane to judge.

    labels: as sealed, of the labels topic.
    """

    sealed: tuple[int, ...]
    judged: tuple[int, ...]
    labels: tuple[int, ...] = ()

    def is_beyond(self, earlier: Progress) -> bool:
        """Whether every partition was sketched further since, and some panes were judged."""
        ahead = all(new > old for new, old in zip(self.sealed, earlier.sealed, strict=False))
        return ahead and sum(self.judged) > sum(earlier.judged)


@dataclass(frozen=True, slots=True)
class _Recovery:
    """A recovery that has begun. began: by the monotonic clock. before: progress then. measured: whether it counts."""

    fault: Fault
    began: float
    before: Progress
    measured: bool


@dataclass
class Watch(threading.Thread):
    """Starts processes again that ended, and measures how long recovery from a fault takes. redis: its URL.

    recoveries: seconds by kind of fault, of those faults during and after which no other one lasted. partitions: of the
    predictions topic.
    """

    fleet: Fleet
    relay: Relay
    redis: str
    partitions: int = PARTITIONS
    now: Progress = field(default_factory=lambda: Progress((0,) * PARTITIONS, (0,) * PARTITIONS))
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    _recovering: list[_Recovery] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        self._client = connect_to(self.redis, socket_timeout=2)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Work until `done` is set."""
        while not self.done.wait(_INTERVAL):
            self.fleet.restart_ended()
            self.relay.restart_ended()
            with suppress(*REDIS_ERRORS):
                self.read_progress()

    def read_progress(self) -> None:
        """Read the progress and note which faults have been recovered from. Raises REDIS_ERRORS."""
        topics = self.fleet.deployment.config.topics
        sealed = self._read(f"sketch/{topics.predictions}", self.partitions, "end")
        judged = self._read(f"judge/{topics.panes}", PARTITIONS, "next")
        labels = self._read(f"sketch/{topics.labels}", PARTITIONS, "end")
        with self._lock:
            self.now = Progress(sealed, judged, labels)
            recovered = [each for each in self._recovering if self.now.is_beyond(each.before)]
            for each in recovered:
                if each.measured:
                    self.recoveries.setdefault(each.fault.kind.name, []).append(time.monotonic() - each.began)
            self._recovering = [each for each in self._recovering if each not in recovered]

    def _read(self, stage: str, partitions: int, name: str) -> tuple[int, ...]:
        group = self.fleet.deployment.config.worker.group
        with self._client.pipeline(transaction=False) as pipeline:
            for partition in range(partitions):
                pipeline.hget(f"{group}:{{{stage}/{partition}}}", name)
            return tuple(int(each or 0) for each in pipeline.execute())

    def recovered(self) -> bool:
        """Whether all partitions have progressed since the last fault."""
        return not self._recovering

    def begin_recovery(self, fault: Fault, measured: bool) -> None:
        """Record that the recovery from a fault begins now. measured: whether its seconds are reported."""
        with self._lock:
            self._recovering.append(_Recovery(fault, time.monotonic(), self.now, measured))

    def begin_again(self) -> None:
        """Forget the faults that are not recovered from: positions have moved back."""
        with self._lock:
            self._recovering = []

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self.done.set()
        self.join()


# What is counted in the workers' logs, and the pattern of its log line.
_PATTERNS: Mapping[str, str] = {
    "fenced writes refused": r"another worker took over, with epoch \d+: ",
    "writes refused after a loss": r"\bCrashed reason=StateMismatchError\(",
    "rebalances seen by workers": r"\btook over \d+ partitions",
}

# Errors by which a worker may end here: its write was refused. Any other is a bug, even though the next worker makes up
# for it; a server that does not answer is waited for, by the watchdog too.
_DESIGNED = {FencedError.__name__, StateMismatchError.__name__}
_END = re.compile(r"\bCrashed reason=(?P<error>\w+)\(|\bCRITICAL .*(?P<watchdog>watchdog): ")


def unexpected_ends(logs: str) -> list[str]:
    """One sentence for each way in which no worker should have ended."""
    found = Counter(each["error"] or f"the {each['watchdog']}" for each in _END.finditer(logs))
    return [f"{count} workers ended by {what}" for what, count in sorted(found.items()) if what not in _DESIGNED]


def log_counts(logs: str) -> dict[str, int]:
    """How often each pattern occurs in the logs. Each worker that takes part logs a rebalance."""
    return {what: len(re.findall(pattern, logs)) for what, pattern in _PATTERNS.items()}
