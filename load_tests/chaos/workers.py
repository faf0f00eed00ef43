"""The workers of a chaos run: started again when they have ended, and watched for progress."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import redis as sync_redis
from aiokafka import errors

from driftline.stream.state.client import RedisUnreachableError
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.store import StateMismatchError
from driftline.stream.worker.faust.transport import TakeoverTimeoutError
from load_tests.chaos.traffic import PARTITIONS
from load_tests.harness.deployment import Deployment, WorkerProcess

# s between two looks of the watch: as exact are the times to recover.
_LOOK = 0.1
# s until a worker that has ended is started again, as an orchestrator does.
_RESTART = 0.5


@dataclass
class Fleet:
    """Workers, each in a slot, in which it is started again when it has ended."""

    deployment: Deployment
    slots: dict[int, WorkerProcess] = field(default_factory=dict)
    exits: Counter[int] = field(default_factory=Counter)
    started: int = 0
    _leaving: list[WorkerProcess] = field(default_factory=list)
    _due: dict[int, float] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self) -> None:
        """One more worker, in a slot of its own."""
        with self._lock:
            self._start(max(self.slots, default=-1) + 1)

    def remove(self, victim: int) -> None:
        """Let a worker leave for good."""
        with self._lock:
            worker = self.slots.pop(self._slot(victim))
            worker.process.terminate()
            worker.process.send_signal(signal.SIGCONT)
            self._leaving.append(worker)

    def send(self, victim: int, *signals: signal.Signals) -> WorkerProcess:
        """Signals to a worker."""
        with self._lock:
            worker = self.slots[self._slot(victim)]
            for each in signals:
                worker.process.send_signal(each)
            return worker

    def tend(self) -> None:
        """Start again who has ended."""
        with self._lock:
            for slot, worker in self.slots.items():
                code = worker.process.poll()
                if code is not None and slot not in self._due:
                    self.exits[code] += 1
                    self._due[slot] = time.monotonic() + _RESTART
            for slot in [slot for slot, due in self._due.items() if due <= time.monotonic()]:
                del self._due[slot]
                self._start(slot)

    def stop(self) -> list[int]:
        """End all well; the exit codes of those that were there."""
        with self._lock:
            for worker in self.slots.values():
                worker.process.send_signal(signal.SIGCONT)
            codes = [worker.stop() for worker in self.slots.values() if worker.process.poll() is None]
            self.kill()
        return codes

    def kill(self) -> None:
        """End all at once."""
        with self._lock:
            for worker in (*self.slots.values(), *self._leaving):
                worker.kill()
            self.slots.clear()

    def logs(self) -> str:
        """What all workers have logged."""
        return "".join(
            log.read_text(errors="replace") for log in sorted(self.deployment.path.parent.glob("worker-*.log"))
        )

    def _slot(self, victim: int) -> int:
        return sorted(self.slots)[victim % len(self.slots)]

    def _start(self, slot: int) -> None:
        self.started += 1
        self.slots[slot] = self.deployment.worker(f"worker-{slot}").__enter__()


@dataclass(frozen=True)
class Committed:
    """What is committed in Redis: by partition, ends of sealed runs, and offsets of panes judged."""

    sealed: tuple[int, ...]
    judged: tuple[int, ...]

    def beyond(self, earlier: Committed) -> bool:
        """Whether every partition has been sketched further than then, and panes judged further."""
        ahead = all(new > old for new, old in zip(self.sealed, earlier.sealed, strict=True))
        return ahead and sum(self.judged) > sum(earlier.judged)


@dataclass
class Watch(threading.Thread):
    """Tends the fleet, does what is due, and notes how long it takes from a fault until all partitions go on."""

    fleet: Fleet
    redis: str
    now: Committed = field(default_factory=lambda: Committed((0,) * PARTITIONS, (0,) * PARTITIONS))
    recoveries: list[float] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    _faults: list[tuple[float, Committed, bool]] = field(default_factory=list)
    _due: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        config = self.fleet.deployment.config
        self._client = sync_redis.Redis.from_url(f"redis://{self.redis}/0", socket_timeout=2)
        group, topics = config.worker.group, config.topics
        self._keys = [
            (f"{group}:{{{stage}/{topic}/{partition}}}", name)
            for stage, topic, name in (("sketch", topics.predictions, "end"), ("judge", topics.panes, "next"))
            for partition in range(PARTITIONS)
        ]

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Until `done`."""
        while not self.done.wait(_LOOK):
            self.fleet.tend()
            for each in [each for each in self._due if each[0] <= time.monotonic()]:
                self._due.remove(each)
                each[1]()
            with suppress(sync_redis.RedisError):
                self.look()
        self._client.close()

    def look(self) -> None:
        """See what is committed now. RedisError."""
        with self._client.pipeline(transaction=False) as pipeline:
            for key, name in self._keys:
                pipeline.hget(key, name)
            found = [int(each or 0) for each in pipeline.execute()]
        with self._lock:
            self.now = Committed(tuple(found[:PARTITIONS]), tuple(found[PARTITIONS:]))
            recovered = [each for each in self._faults if self.now.beyond(each[1])]
            self.recoveries += [time.monotonic() - at for at, _, alone in recovered if alone]
            self._faults = [each for each in self._faults if each not in recovered]

    def recovered(self) -> bool:
        """Whether all partitions have gone on since the last fault."""
        return not self._faults

    def fault(self, alone: bool) -> None:
        """A fault begins now. alone: no other one comes until the workers have recovered, and so that time counts."""
        with self._lock:
            self._faults.append((time.monotonic(), self.now, alone))

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Call something in so many seconds."""
        self._due.append((time.monotonic() + seconds, what))

    def end(self) -> None:
        """Look away."""
        self.done.set()
        self.join()

    def waits(self) -> bool:
        """Whether something is due."""
        return bool(self._due)


# What the workers' logs tell, and what tells it.
_SIGNS: Mapping[str, str] = {
    "fenced writes refused": r"another worker took over, with epoch \d+: this worker was away",
    "writes refused after a loss": r"\bCrashed reason=StateMismatchError\(",
    "rebalances seen by workers": r"\btook over \d+ partitions",
}


# By what a worker may end here: it is refused, or not answered. Anything else is a bug, though whoever is started next
# makes up for it.
_DESIGNED = {FencedError, StateMismatchError, RedisUnreachableError, TakeoverTimeoutError, TimeoutError}


def surprises(logs: str) -> list[str]:
    """Errors that no worker should have ended by, each once."""
    designed = {each.__name__ for each in _DESIGNED} | {name for name in vars(errors) if name.endswith("Error")}
    found = Counter(re.findall(r"\bCrashed reason=(\w+)\(", logs))
    return [f"{count} workers ended by {name}" for name, count in sorted(found.items()) if name not in designed]


def told_by(logs: str) -> dict[str, int]:
    """Counts of what workers have logged. A rebalance is seen by each worker that takes part."""
    return {what: len(re.findall(sign, logs)) for what, sign in _SIGNS.items()}
