"""What a worker says of itself when it rejects messages, and what its /health answers then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import pytest
from faust.types import TP

from driftline.stream.baselines.unwatched import Why
from driftline.stream.events.event import Rejection
from driftline.stream.events.mapping import NATIVE
from driftline.stream.ops.http import listen
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.sketcher import Sketched
from driftline.stream.retry import Waits
from driftline.stream.worker.intake import ALL_REJECTED, WINDOW, Intake
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.watchdog import Watchdog, serve_worker_http

BAD = b'{"id": 1, "time": 3}'


class Clock:
    """Monotonic seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def read(intake: Intake, events: int, rejected: int = 0) -> None:
    """A fetch of events, and of rejected messages after them."""
    rejections = [Rejection(position, "ts: missing") for position in range(rejected)]
    intake.add(Sketched([], events, rejections, []), [BAD] * (events + rejected))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def intake(clock: Clock) -> Intake:
    return Intake(NATIVE, 0.01, clock)


def test_a_share_of_rejections_above_the_allowed_one_is_a_degradation_with_the_commonest(intake: Intake) -> None:
    read(intake, 990, 10)
    assert intake.degradation is None
    read(intake, 0, 1)
    assert intake.degradation == (
        "11 of 1,001 messages of the last 5 minutes (1.1 %) were rejected, and at most 1 % may be "
        "(worker.max_rejected); most are rejected for ts, such as: ts: missing; the message has id, time; did you mean "
        "`time`? add `mapping: {ts: time}`"
    )
    assert intake.failure is None


def test_rejections_are_forgotten_after_five_minutes(intake: Intake, clock: Clock) -> None:
    read(intake, 0, 50)
    clock.now += WINDOW - 1
    read(intake, 100)
    assert intake.degradation is not None
    clock.now += 2
    assert intake.degradation is None
    assert intake.fields()["rejected"] == {"seconds": 300.0, "read": 100, "rejected": 0, "share": 0.0}


def test_a_few_rejections_of_a_topic_with_little_traffic_are_no_share(intake: Intake) -> None:
    read(intake, 6, 4)
    assert intake.degradation is None
    read(intake, 1, 1)
    assert intake.degradation is not None


def test_only_rejections_for_long_enough_are_a_failure_until_an_event_comes(intake: Intake, clock: Clock) -> None:
    read(intake, 5)
    for _ in range(ALL_REJECTED):
        assert intake.failure is None
        read(intake, 0, 1)
        clock.now += 60  # fewer than a hundred in any five minutes
    assert str(intake.failure).startswith(
        f"none of the last {ALL_REJECTED} messages is an event; most are rejected for"
    )
    clock.now += 10 * WINDOW
    assert intake.failure is not None, "nothing has come since"
    read(intake, 1)
    assert intake.failure is None


async def answers(
    intake: Intake, states: Sequence[Callable[[], None]], metrics: Metrics
) -> list[tuple[int, dict[str, Any]]]:
    """What /health answers after each of the calls `states`."""
    found = []
    dog = Watchdog(metrics, 1000, Waits())
    dog.loop_alive()
    metrics.set_lags({TP("predictions", 0): 7})
    with listen("127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        async with serve_worker_http(listener, metrics, dog, intake), aiohttp.ClientSession() as http:
            for change in states:
                change()
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    found.append((answer.status, await answer.json()))
    return found


def test_health_is_degraded_with_200_and_unhealthy_with_503(intake: Intake) -> None:
    intake.unwatched = [Unwatched("m", f"features.n{i}", Why.NEW, "new") for i in range(120)]
    states = [lambda: read(intake, 100), lambda: read(intake, 0, 20), lambda: read(intake, 0, 80)]
    ok, degraded, unhealthy = asyncio.run(answers(intake, states, Metrics()))
    assert (ok[0], ok[1]["status"], ok[1]["reason"], ok[1]["lag"]) == (200, "ok", None, 7)
    assert ok[1]["unwatched"][0] == {"model": "m", "field": "features.n0", "why": "new", "detail": "new"}
    assert (len(ok[1]["unwatched"]), ok[1]["unwatched_more"]) == (100, 20)
    assert (degraded[0], degraded[1]["status"]) == (200, "degraded")
    assert degraded[1]["commonest_rejection"]["place"] == "ts"
    assert degraded[1]["reason"].startswith("20 of 120 messages of the last 5 minutes (17 %) were rejected")
    assert (unhealthy[0], unhealthy[1]["status"]) == (503, "unhealthy")


def test_health_counts_panes_without_room_and_names_the_last_ten_models(intake: Intake) -> None:
    metrics = Metrics()

    def flood() -> None:
        for model in (*(f"bug-{i}" for i in range(40)), "bug-31"):
            metrics.no_room.add(model)
        metrics.level = 2

    before, after = asyncio.run(answers(intake, [lambda: None, flood], metrics))
    assert before[1]["no_room"] == {"panes": 0, "models": []}
    assert (before[1]["level"], after[1]["level"]) == (0, 2)
    assert after[1]["no_room"] == {
        "panes": 41,
        "models": [*(f"bug-{i}" for i in range(30, 40) if i != 31), "bug-31"],
    }
