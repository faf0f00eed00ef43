"""Bringing a request to a service: what its answer means, and how to try again.

    documented success           delivered
    4xx, but 408, 425 and 429    RequestRefusedError: asking again would get the same answer
    these, 5xx, any other answer,
    no answer, network errors    ReceiverUnavailableError: try again after Retry-After, or with growing pauses

Nothing that is raised or logged here holds a secret: of a URL only the host is named, answers are searched for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from tenacity import AsyncRetrying, RetryCallState
from yarl import URL

from driftline.stream.paging.receivers.request import Request
from driftline.stream.retry import jitter, retrying

Took = Callable[[int, bytes], bool]

# s. A service that asks for more is asked sooner: it may have mistaken the unit, and somebody waits for a page.
_LONGEST_WISH = 3600.0
# Bytes of an answer that are looked at; documented ones have some 100.
_ANSWER = 64 << 10
_SHOWN = 200
# Statuses under 500 that mean "later": a proxy waited in vain, too early, too many.
_LATER = (408, 425, 429)


class RequestRefusedError(RuntimeError):
    """A service will not take this, now or later; the message says why."""


class ReceiverUnavailableError(RuntimeError):
    """A service did not take this, and may later; the message says why. wish: seconds it asked to wait."""

    def __init__(self, reason: str, wish: float = 0.0) -> None:
        super().__init__(reason)
        self.wish = wish


class Http:
    """Requests over one pool of connections. Secrets never leave it but in requests."""

    def __init__(self, session: aiohttp.ClientSession, secrets: Collection[str]) -> None:
        self._session, self._secrets = session, sorted(filter(None, secrets), key=len, reverse=True)

    async def post(self, request: Request, took: Took) -> None:
        """Deliver; RequestRefusedError, ReceiverUnavailableError."""
        status, answer, wish = await self._ask("POST", request)
        if took(status, answer):
            return
        said = self._shown(answer.decode(errors="replace"))
        reason = f"{URL(request.url).host} answers {status}{f': {said}' if said else ''}"
        if 400 <= status < 500 and status not in _LATER:
            raise RequestRefusedError(reason)
        raise ReceiverUnavailableError(reason, wish)

    async def get(self, url: str) -> None:
        """Fetch and forget; ReceiverUnavailableError if the answer is not a success."""
        status, _, _ = await self._ask("GET", Request(url, b"", {}))
        if not 200 <= status < 300:
            raise ReceiverUnavailableError(f"{URL(url).host} answers {status}")

    async def _ask(self, method: str, request: Request) -> tuple[int, bytes, float]:
        """Status, answer and the seconds its Retry-After asks for."""
        try:
            async with self._session.request(
                method, request.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                answer = await _start_of(response.content)
                return response.status, answer, seconds_asked(response.headers.get("Retry-After"), datetime.now(UTC))
        except TimeoutError:
            raise ReceiverUnavailableError(f"{URL(request.url).host} does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ReceiverUnavailableError(
                f"{URL(request.url).host}: {self._shown(str(error)) or type(error).__name__}"
            ) from None

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_SHOWN]


async def _start_of(content: aiohttp.StreamReader) -> bytes:
    answer = b""
    while len(answer) < _ANSWER and (chunk := await content.read(_ANSWER)):
        answer += chunk
    return answer


def seconds_asked(retry_after: str | None, now: datetime) -> float:
    """What a header Retry-After asks for, 0 if it makes no sense: seconds, or the time of day."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after or "") - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_WISH) if seconds == seconds else 0.0


def patiently(longest: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> AsyncRetrying:
    """A policy that retries while the receiver is unavailable.

    Pauses have full jitter, so that many relays do not return to a recovered service all at once; they come on top of
    what the service asks for.
    """
    pause = jitter(longest)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return pause(state) + (error.wish if isinstance(error, ReceiverUnavailableError) else 0.0)

    return retrying(ReceiverUnavailableError, wait, sleep=sleep)
