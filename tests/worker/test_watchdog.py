"""The watchdog: what counts as a stall, and that a stalled process ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from faust.types import TP

from driftline.stream.kafka.client import FailedConnections
from driftline.stream.retry import Waits
from driftline.stream.worker import watchdog
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.watchdog import STALLED_EXIT, Watchdog

LONG = 0.1  # s

# What happens before a long time passes, what after it, and what the watchdog then says.
_Act = Callable[[Watchdog, Metrics, ExitStack], object]
CASES: dict[str, tuple[_Act, _Act, str | None]] = {
    "nothing to do": (
        lambda dog, _m, _s: dog.loop_alive(),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known()),
        None,
    ),
    "never assigned": (
        lambda _d, _m, _s: None,
        lambda dog, _m, _s: dog.lag_known(),
        "Kafka did not say what share of the topics is this worker's for",
    ),
    "never assigned, because Kafka is not reached": (
        lambda _d, _m, stack: stack.callback(logging.getLogger("aiokafka").filters.clear),
        lambda dog, _m, _s: (
            FailedConnections(dog.waits).watch(),
            logging.getLogger("aiokafka").error("Unable to update metadata"),
        ),
        None,
    ),
    "a blocked event loop": (
        lambda dog, _m, _s: dog.loop_alive(),
        lambda dog, _m, _s: dog.lag_known(),
        "the event loop stood still for",
    ),
    "a silent Kafka": (
        lambda dog, _m, _s: dog.loop_alive(),
        lambda dog, _m, _s: dog.loop_alive(),
        "Kafka did not say where its topics end for",
    ),
    "a Kafka that cannot be reached": (
        lambda dog, _m, stack: (dog.loop_alive(), stack.callback(logging.getLogger("aiokafka").filters.clear)),
        lambda dog, _m, _s: (
            dog.loop_alive(),
            FailedConnections(dog.waits).watch(),
            logging.getLogger("aiokafka").error("Unable to update metadata"),
        ),
        None,
    ),
    "records that wait": (
        lambda _d, metrics, _s: metrics.set_lags({TP("predictions", 1): 7}),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known()),
        "records of topic predictions waited and none was done for",
    ),
    "records that waited until now": (
        lambda _d, metrics, _s: metrics.set_lags({TP("predictions", 1): 7}),
        lambda dog, metrics, _s: (dog.loop_alive(), dog.lag_known(), metrics.set_lags({TP("predictions", 1): 0})),
        None,
    ),
    "records that wait while others are in work": (
        lambda _d, metrics, _s: metrics.set_lags({TP("predictions", 1): 7}),
        lambda dog, _m, stack: (dog.loop_alive(), dog.lag_known(), stack.enter_context(dog.working("predictions"))),
        None,
    ),
    "records in work": (
        lambda dog, _m, stack: stack.enter_context(dog.working("panes")),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known()),
        "records of topic panes waited and none was done for",
    ),
    "records that wait since a rebalance": (
        lambda _d, metrics, _s: metrics.set_lags({TP("predictions", 1): 7}),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known(), _take_over(dog)),
        None,
    ),
    "records that came just now, after hours without one": (
        lambda dog, metrics, _s: (metrics.set_lags({TP("labels", 1): 0}), dog.loop_alive()),
        lambda dog, metrics, _s: (dog.loop_alive(), dog.lag_known(), metrics.set_lags({TP("labels", 1): 7})),
        None,
    ),
    "records in work, though no others wait": (
        lambda dog, metrics, stack: (metrics.set_lags({TP("panes", 1): 0}), stack.enter_context(dog.working("panes"))),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known()),
        "records of topic panes waited and none was done for",
    ),
    "a takeover that does not end": (
        lambda dog, _m, stack: (dog.loop_alive(), stack.enter_context(dog.taking_over())),
        lambda dog, _m, _s: dog.loop_alive(),
        "its partitions were not taken over for",
    ),
    "a takeover that rebalances cut off again and again": (
        lambda dog, metrics, _s: (metrics.set_lags({TP("labels", 1): 7}), dog.loop_alive(), _cut_off(dog)),
        lambda dog, _m, _s: (dog.loop_alive(), dog.rebalancing(), _cut_off(dog)),
        "its partitions were not taken over for",
    ),
    "a takeover that was cut off, and partitions that others have": (
        lambda dog, _m, _s: (dog.loop_alive(), _cut_off(dog)),
        lambda dog, _m, _s: (dog.loop_alive(), dog.lag_known()),
        None,
    ),
    "a rebalance that takes its time": (
        lambda dog, metrics, _s: (metrics.set_lags({TP("labels", 1): 7}), dog.loop_alive(), dog.rebalancing()),
        lambda dog, _m, _s: dog.loop_alive(),
        None,
    ),
    "a takeover that has begun just now": (
        lambda dog, metrics, _s: (metrics.set_lags({TP("labels", 1): 7}), dog.loop_alive()),
        lambda dog, _m, stack: (dog.loop_alive(), stack.enter_context(dog.taking_over())),
        None,
    ),
}


def _cut_off(dog: Watchdog) -> None:
    with suppress(InterruptedError), dog.taking_over():
        raise InterruptedError


def _take_over(dog: Watchdog) -> None:
    with dog.taking_over():
        pass


@pytest.mark.parametrize("case", CASES)
def test_what_is_a_stall(case: str) -> None:
    before, after, reason = CASES[case]
    metrics = Metrics()
    dog = Watchdog(metrics, 60, Waits())
    with ExitStack() as stack:
        before(dog, metrics, stack)
        time.sleep(2 * LONG)
        after(dog, metrics, stack)
        stall = dog.stalled(LONG)
    assert (stall is None) == (reason is None), stall
    assert stall is None or stall.startswith(reason or "")
    assert dog.unhealthy is None, "half of the patience is not over"


def test_a_rebalance_that_does_not_end_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "REBALANCE_TIMEOUT", LONG)
    dog = Watchdog(Metrics(), 60, Waits())
    dog.loop_alive()
    dog.rebalancing()
    time.sleep(3 * LONG)
    dog.loop_alive()
    dog.rebalancing()
    assert str(dog.stalled(LONG)).startswith("a rebalance did not end for")


def test_a_worker_that_waits_for_a_server_is_not_stalled_unless_its_event_loop_stands_still() -> None:
    waits, metrics = Waits(), Metrics()
    dog = Watchdog(metrics, 60, waits)
    dog.loop_alive()
    metrics.set_lags({TP("predictions", 1): 7})
    with waits.call("Redis") as wait:
        wait.failed("NOREPLICAS")
        time.sleep(2 * LONG)
        assert str(dog.stalled(LONG)).startswith("the event loop stood still")
        dog.loop_alive()
        assert dog.stalled(LONG) is None
    assert dog.stalled(LONG) is None, "work is due from the end of the wait on"
    time.sleep(2 * LONG)
    dog.loop_alive()
    dog.lag_known()
    assert str(dog.stalled(LONG)).startswith("records of topic predictions waited")


BLOCKED = """
import asyncio, sys, time
from driftline.stream.retry import Waits
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.watchdog import Watchdog

async def work():
    dog = Watchdog(Metrics(), 0.5, Waits())
    dog.loop_alive()
    dog.start()
    time.sleep(60)

asyncio.run(work())
"""


def test_a_process_whose_event_loop_is_blocked_ends() -> None:
    ended = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=50)
    assert ended.returncode == STALLED_EXIT
    assert "watchdog: the event loop stood still for 1 s; exiting to be started again" in ended.stderr
