"""The retry policy: what it retries, after which pauses, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from driftline.stream import retry
from driftline.stream.retry import Waits, jitter, patiently, pauses, retrying


class Later(Exception):
    """What may pass."""


def failing(times: int, error: Exception) -> Callable[[], object]:
    """An async function that raises so often and then answers."""
    left = [error] * times

    async def call() -> str:
        if left:
            raise left.pop()
        return "answer"

    return call


def test_an_error_that_passes_is_retried_after_the_pauses_of_which_the_last_repeats() -> None:
    slept, logged = list[float](), list[tuple[str, float]]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    policy = retrying(Later, pauses(1, 2, 5), log=lambda error, s: logged.append((str(error), s)), sleep=sleep)
    assert asyncio.run(policy(failing(4, Later("down")))) == "answer"
    assert slept == [1, 2, 5, 5]
    assert logged == [("down", seconds) for seconds in slept]


def test_after_its_attempts_the_last_error_is_raised() -> None:
    with pytest.raises(Later, match="down"):
        asyncio.run(retrying(Later, pauses(0), attempts=3)(failing(3, Later("down"))))
    assert asyncio.run(retrying(Later, pauses(0), attempts=3)(failing(2, Later("down")))) == "answer"


def test_other_errors_pass_at_once() -> None:
    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(retrying(Later, pauses(60))(failing(1, ValueError("wrong"))))


def test_a_cancelled_call_is_not_retried() -> None:
    async def scenario() -> None:
        waiting = asyncio.ensure_future(retrying(Later, pauses(60))(asyncio.sleep, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_jitter_grows_up_to_the_longest_pause() -> None:
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    asyncio.run(retrying(Later, jitter(10), sleep=sleep)(failing(40, Later())))
    assert all(0 <= pause <= min(2**i, 10) for i, pause in enumerate(slept))
    assert max(slept) > 5


def test_a_process_gives_up_after_some_attempts_unless_it_waits_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_PAUSES", (0,))
    with pytest.raises(Later, match="down"):
        asyncio.run(patiently("Redis", Later, failing(50, Later("down"))))

    async def scenario() -> None:
        Waits().without_end()
        assert await patiently("Redis", Later, failing(50, Later("down"))) == "answer"

    asyncio.run(scenario())


def test_the_same_error_is_logged_ever_less_often_and_another_one_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "_PAUSES", (0,))
    errors = iter([*["down"] * 6, "full", *["down"] * 9])

    async def call() -> str:
        for error in errors:
            raise Later(error)
        return "answer"

    async def scenario() -> None:
        Waits().without_end()
        await patiently("Redis", Later, call)

    asyncio.run(scenario())
    said = [record.message.partition(";")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["down", "down", "down", "full", "down", "down"], "attempts 1, 2, 4, 7, 8 and 16"


def test_a_wait_names_its_server_the_last_error_and_the_attempts_until_the_call_is_answered() -> None:
    waits = Waits()
    with waits.call("Redis") as first, waits.call("Redis") as second, waits.call("Kafka"):
        assert waits.current() == {}, "nothing has failed"
        second.failed("too few replicas")
        first.failed("down")
        second.failed("no memory")
        wait = waits.current()["Redis"]
        assert (wait.error, wait.attempts) == ("no memory", 2), "the call that has waited longest"
        waits.refused("Kafka", "no leader")
        assert waits.current()["Kafka"].error == "no leader"
    assert waits.current() == {}


def test_an_answered_call_does_not_hide_that_another_one_still_waits() -> None:
    waits = Waits()
    with waits.call("Redis") as write:
        write.failed("NOREPLICAS")
        with waits.call("Redis"):
            pass  # a read
        assert waits.current()["Redis"].error == "NOREPLICAS"
