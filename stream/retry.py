"""One retry policy for calls that may fail for a while: what is retried, after which pauses, what is logged.

Calls to Redis and Kafka go through `patiently`. A command gives up after some 10 s; a worker or relay has nothing else
to do and waits without end, and its `Waits` say for what:

    waits = Waits()
    waits.without_end()                       # this process, from here on
    await patiently("Redis", RedisUnreachableError, command)
    waits.current()                           # {"Redis": Wait(error="NOREPLICAS …", attempts=7, …)}
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tenacity

log = logging.getLogger(__name__)

#: Seconds to wait before the next attempt.
Pause = Callable[[tenacity.RetryCallState], float]
_ResultT = TypeVar("_ResultT")

# s between attempts. A restart, a failover or the move of a slot takes 1 to 5: so short at first. An outage takes
# minutes or hours: then one attempt in 10 s is no load, and nobody minds to wait that long once the server is back.
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0, 3.0, 5.0, 10.0)
# Attempts of a process that does not wait without end: those of the first 10 s.
_ATTEMPTS = 9


@dataclass
class Wait:
    """A call that a server has not answered, or refuses at the moment. since: epoch s of its first failure."""

    server: str
    since: float = 0.0
    attempts: int = 0
    error: str = ""

    def failed(self, error: BaseException | str) -> None:
        """Note that one more attempt has failed."""
        self.since = self.since or time.time()
        self.attempts += 1
        self.error = str(error)


@dataclass
class Waits:
    """What a process waits for, by server. Any thread may ask; one event loop calls.

    ended_at: monotonic s at which the last wait ended; unreachable_at: at which a client last met an error by itself,
    without a call; minus infinity before the first.
    """

    ended_at: float = -float("inf")
    unreachable_at: float = -float("inf")
    _calls: dict[int, Wait] = field(default_factory=dict)

    def without_end(self) -> None:
        """Let the calls of this context, and of the tasks that it starts, wait without end, and note them here."""
        _waits.set(self)

    @contextmanager
    def call(self, server: str) -> Iterator[Wait]:
        """A call in progress; its `failed` makes it a wait, until the context ends."""
        wait = Wait(server)
        self._calls[id(wait)] = wait
        try:
            yield wait
        finally:
            del self._calls[id(wait)]
            if wait.attempts:
                self.ended_at = time.monotonic()
        if wait.attempts and server not in self.current():
            log.info("%s answers again, after %.0f s", server, time.time() - wait.since)

    def current(self) -> dict[str, Wait]:
        """The wait that has lasted longest, of each server that is waited for."""
        failing = sorted((each for each in list(self._calls.values()) if each.attempts), key=lambda each: -each.since)
        return {each.server: each for each in failing}

    def refused(self, server: str, error: str) -> None:
        """Note an error that a client has met and tries again by itself: all its open calls may wait for that."""
        for each in list(self._calls.values()):
            if each.server == server:
                each.failed(error)


_waits: ContextVar[Waits | None] = ContextVar("waits", default=None)


@contextmanager
def calling(server: str) -> Iterator[Wait]:
    """A call in progress, noted in the waits of this process if it has some."""
    with (_waits.get() or Waits()).call(server) as wait:
        yield wait


async def patiently(
    server: str, passing: type[Exception], call: Callable[..., Awaitable[_ResultT]], *args: Any, **options: Any
) -> _ResultT:
    """What `call` returns, called again while it raises `passing`.

    Raises the last error after some 10 s, unless this process waits without end (`Waits.without_end`). Other errors
    pass at once. The call may be carried out twice, when an answer is lost. An error is logged when it is a new one,
    and at attempts 1, 2, 4, 8 and so on.
    """
    with calling(server) as wait:
        attempt, said = 0, ""

        def failed(error: BaseException, pause: float) -> None:
            nonlocal attempt, said
            attempt += 1
            wait.failed(error)
            if str(error) != said or attempt.bit_count() == 1:
                log.warning("%s; trying again in %g s", error, pause)
            said = str(error)

        attempts = _ATTEMPTS if _waits.get() is None else None
        return await retrying(passing, pauses(*_PAUSES), attempts=attempts, log=failed)(call, *args, **options)


def retrying(
    error: type[Exception],
    pause: Pause,
    *,
    attempts: int | None = None,
    log: Callable[[BaseException, float], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tenacity.AsyncRetrying:
    """A policy to call with an async function and its arguments: it returns what the function returns.

    While the function raises `error`, the policy pauses and calls it again; after `attempts` calls (None: never) it
    raises the last error. Other errors pass at once. log: called before each pause with the error and the seconds.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        if log is not None and failure is not None:
            log(failure, state.upcoming_sleep)

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(error),
        wait=pause,
        stop=tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts),
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )


def pauses(*seconds: float) -> Pause:
    """These pauses in turn; the last one repeats."""
    return tenacity.wait_chain(*map(tenacity.wait_fixed, seconds))


def jitter(longest: float) -> Pause:
    """Pauses drawn between 0 and 1, 2, 4 ... seconds up to `longest` ("full jitter").

    Many clients of one service that has come back then do not all return at the same moment.
    """
    return tenacity.wait_random_exponential(multiplier=1, max=longest)
