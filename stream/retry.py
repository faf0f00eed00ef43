"""One retry policy for calls that may fail for a while: what is retried, after which pauses, what is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import tenacity

#: Seconds to wait before the next attempt.
Pause = Callable[[tenacity.RetryCallState], float]


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
