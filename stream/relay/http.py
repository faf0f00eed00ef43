"""HTTP requests of the relay: what an answer means, and when to retry.

    documented success                 delivered
    4xx, except 408, 425 and 429       RequestRefusedError: a retry would get the same answer
    408, 425, 429, 5xx, other answers,
    no answer, network errors          ReceiverUnavailableError: retry after Retry-After, or with growing pauses

Promise: no error and no log line has a secret. Of a URL only the host is shown, and secrets are removed from answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from tenacity import AsyncRetrying, RetryCallState
from yarl import URL

from driftline.stream.config.relay import Relay
from driftline.stream.paging.receivers.request import Request
from driftline.stream.retry import jitter, retrying

#: Whether a status and an answer mean that the service accepted the request.
IsAccepted = Callable[[int, bytes], bool]

# s. A service that asks for a longer pause is retried sooner: it may have mistaken the unit, and somebody waits for a
# page.
_MAX_RETRY_AFTER = 3600.0
# Bytes of an answer that are read; documented ones have some 100.
_ANSWER = 64 << 10
# Characters of an answer or error that are shown.
_SHOWN = 200
# Statuses under 500 that mean "later": a proxy's timeout, too early, too many requests.
_RETRIED = (408, 425, 429)
# Statuses of a proxy that does not know what the service behind it has done.
_UNCERTAIN = (502, 504)


class RequestRefusedError(RuntimeError):
    """A service will not accept this request, now or later; the message says why."""


class ReceiverUnavailableError(RuntimeError):
    """A service is not known to have accepted this request, but may later; the message says why.

    retry_after: s it asks to wait. uncertain: whether it may have accepted the request all the same.
    """

    def __init__(self, reason: str, retry_after: float = 0.0, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.retry_after, self.uncertain = retry_after, uncertain


def open_session(relay: Relay) -> aiohttp.ClientSession:
    """The pool of connections of a relay, to be closed."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=relay.timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,  # a company's proxy
    )


class Http:
    """Sends requests over one pool of connections, and keeps secrets out of errors."""

    def __init__(self, session: aiohttp.ClientSession, secrets: Collection[str]) -> None:
        self._session, self._secrets = session, sorted(filter(None, secrets), key=len, reverse=True)

    async def post(self, request: Request, is_accepted: IsAccepted) -> None:
        """Send a request. Raises RequestRefusedError or ReceiverUnavailableError if it is not accepted."""
        status, answer, retry_after = await self._send("POST", request)
        if is_accepted(status, answer):
            return
        shown = self._shown(answer.decode(errors="replace"))
        reason = f"{URL(request.url).host} answers {status}{f': {shown}' if shown else ''}"
        if 400 <= status < 500 and status not in _RETRIED:
            raise RequestRefusedError(reason)
        raise ReceiverUnavailableError(reason, retry_after, uncertain=status < 300 or status in _UNCERTAIN)

    async def get(self, url: str) -> None:
        """Call a URL. Raises ReceiverUnavailableError if the answer is not a success."""
        status, _, _ = await self._send("GET", Request(url, b"", {}))
        if not 200 <= status < 300:
            raise ReceiverUnavailableError(f"{URL(url).host} answers {status}")

    async def _send(self, method: str, request: Request) -> tuple[int, bytes, float]:
        """Status, start of the answer, and Retry-After in seconds."""
        try:
            async with self._session.request(
                method, request.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                answer = await _start_of(response.content)
                retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
                return response.status, answer, retry_after
        except TimeoutError:
            raise ReceiverUnavailableError(f"{URL(request.url).host} does not answer in time", uncertain=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ReceiverUnavailableError(
                f"{URL(request.url).host}: {self._shown(str(error)) or type(error).__name__}",
                uncertain=not isinstance(error, aiohttp.ClientConnectorError),
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


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """The pause in seconds that a Retry-After header asks for, by number or by date; 0 if it makes no sense."""
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header or "") - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else 0.0


def retry_delivery(longest_pause: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> AsyncRetrying:
    """A policy that retries while the receiver is unavailable.

    Pauses have full jitter up to `longest_pause` seconds, so that many relays do not return to a recovered service all
    at once; each is added to the pause that the service asks for.
    """
    pause = jitter(longest_pause)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return pause(state) + (error.retry_after if isinstance(error, ReceiverUnavailableError) else 0.0)

    return retrying(ReceiverUnavailableError, wait, sleep=sleep)
