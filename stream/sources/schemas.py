"""Loads the schemas of schema-registry frames, from a registry or a folder. Edge: HTTP, files.

    loader = schema_loader(config.schemas, folder)            None if the configuration names no source
    await loader.load(messages)                               the schemas that these need and that are not loaded yet
    unpack(message, loader.schemas)                           pure, from memory

A schema never changes, so it is loaded once. One that the source does not know is asked for again at most once a
minute, since it may be registered later.

    200                                a schema
    4xx                                unknown: these messages are dead letters
    401, 408, 425, 429,                SchemasUnavailableError: ask again, with growing pauses
    anything else, no answer

No redirect is followed, and no error has the password.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from driftline.stream.config.sections import Schemas
from driftline.stream.events.frames import Schema, parse_schema, schema_ids
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.retry import pauses, retrying

log = logging.getLogger(__name__)

# s between attempts; the last one repeats. A registry restarts in some 10.
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Attempts of a command that somebody waits for: some 9 s. A worker waits as long as it takes.
COMMAND_ATTEMPTS = 6
# s that one answer may take.
_TIMEOUT = aiohttp.ClientTimeout(total=10)
# Bytes of an answer. Registries keep schemas in Kafka records, of 1 MiB at most by default.
_ANSWER = 4 << 20
# Schemas that one schema may use, directly or not. Each is a request; the largest in use have some 30.
_MAX_REFERENCES = 200
# Statuses under 500 that say nothing about the id: wrong login, timeout, too early, too many requests. The others must
# be final: registries differ in what they answer to an id that cannot be one, and any message may hold such an id.
_PASSING = (401, 408, 425, 429)
# s before an unknown id is asked for again, and how many unknown ids are asked for within that time: messages that only
# look like frames may name any of four billion.
_ASK_AGAIN, _MAX_UNKNOWN = 60.0, 100


class SchemasUnavailableError(ConnectionError):
    """The source of schemas does not answer as it should, now; the message says why."""


class SchemaSource(Protocol):
    """Where schemas come from."""

    async def fetch(self, number: int) -> Schema | None:
        """The schema with an id; None if there is none. Raises SchemasUnavailableError."""


@dataclass
class SchemaLoader:
    """Loads schemas when messages need them.

    attempts: number of attempts after which an unavailable source is an error; None: never. schemas: those that are
    loaded, by id.
    """

    source: SchemaSource
    attempts: int | None = None
    schemas: dict[int, Schema] = field(default_factory=dict)
    _unknown: dict[int, float] = field(default_factory=dict)

    async def load(self, messages: Iterable[bytes | None]) -> None:
        """Load the schemas that messages need. Raises SchemasUnavailableError after `attempts`."""
        policy = retrying(SchemasUnavailableError, pauses(*_PAUSES), attempts=self.attempts, log=_log_retry)
        for number in sorted(self._missing(messages)):
            if not self._may_ask(number):
                continue
            schema: Schema | None = await policy(self.source.fetch, number)
            if schema is None:
                self._unknown[number] = time.monotonic()
                log.warning("schema %d is unknown: its messages become dead letters", number)
            else:
                self.schemas[number] = schema

    def load_now(self, messages: Iterable[bytes | None]) -> None:
        """The same outside of an event loop."""
        if self._missing(messages):
            asyncio.run(self.load(messages))

    def before(self, log: Iterable[LogBatch]) -> Iterator[LogBatch]:
        """The log; the schemas of each batch are loaded before it is handed out."""
        for batch in log:
            self.load_now(batch.messages)
            yield batch

    def _missing(self, messages: Iterable[bytes | None]) -> set[int]:
        return schema_ids(messages) - self.schemas.keys()

    def _may_ask(self, number: int) -> bool:
        """Whether to ask for an id now. Forgets the unknown ids that may be asked for again."""
        now = time.monotonic()
        self._unknown = {each: asked for each, asked in self._unknown.items() if now - asked < _ASK_AGAIN}
        return number not in self._unknown and len(self._unknown) < _MAX_UNKNOWN


def _log_retry(error: BaseException, pause: float) -> None:
    log.warning("%s; trying again in %g s", error, pause)


def schema_loader(schemas: Schemas, folder: Path, attempts: int | None = None) -> SchemaLoader | None:
    """The loader that the configuration describes; None if it names no source.

    folder: that of the configuration file, from which `schemas.folder` starts. Raises SchemasUnavailableError if there
    is no such folder, or no environment variable `password_env`; OSError if `ca_file` cannot be read.
    """
    if schemas.registry is not None:
        return SchemaLoader(_registry(schemas, schemas.registry), attempts)
    if schemas.folder is None:
        return None
    if not (path := folder / schemas.folder).is_dir():
        raise SchemasUnavailableError(f"schemas.folder: {path} is not a folder")
    return SchemaLoader(SchemaFolder(path), attempts)


@dataclass(frozen=True)
class SchemaFolder:
    """Schemas in files: <id>.avsc or <id>-NAME.avsc in Avro, <id>.json or <id>-NAME.json in JSON Schema."""

    path: Path

    async def fetch(self, number: int) -> Schema | None:
        """See `SchemaSource`."""
        return await asyncio.to_thread(self._read, number)

    def _read(self, number: int) -> Schema | None:
        try:
            for suffix, kind in ((".avsc", "AVRO"), (".json", "JSON")):
                found = [self.path / f"{number}{suffix}", *sorted(self.path.glob(f"{number}-*{suffix}"))]
                for path in filter(Path.exists, found):
                    return parse_schema(path.read_text("utf-8", "surrogateescape"), kind)
        except OSError as error:
            raise SchemasUnavailableError(f"schemas.folder: {error.filename}: {error.strerror}") from error
        return None


@dataclass(frozen=True)
class SchemaRegistry:
    """A registry that speaks Confluent's protocol over HTTP."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorities: ssl.SSLContext | None = None

    async def fetch(self, number: int) -> Schema | None:
        """See `SchemaSource`."""
        connector = aiohttp.TCPConnector(ssl=self.authorities or True)
        async with aiohttp.ClientSession(connector=connector, headers=self.headers, timeout=_TIMEOUT) as session:
            answer = await self._get(session, f"/schemas/ids/{number}")
            if answer is None:
                return None
            kind, references = answer.get("schemaType") or "AVRO", dict[str, str]()
            if kind == "AVRO" and not await self._add_references(session, answer, references):
                return None
            return parse_schema(_text(answer), kind, list(references.values()))

    async def _add_references(
        self, session: aiohttp.ClientSession, answer: Mapping[str, Any], texts: dict[str, str]
    ) -> bool:
        """Add the texts of the schemas that a schema uses, by path; False if one is unknown."""
        for path in _reference_paths(answer):
            if path in texts:
                continue
            if len(texts) >= _MAX_REFERENCES:
                log.warning("a schema uses more than %d others", _MAX_REFERENCES)
                return False
            texts[path] = ""
            used = await self._get(session, path)
            if used is None or not await self._add_references(session, used, texts):
                return False
            del texts[path]  # it goes behind those that it uses
            texts[path] = _text(used)
        return True

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        """The answer of the registry; None if it does not know what was asked for."""
        url = URL(self.url.rstrip("/") + path, encoded=True)
        try:
            async with session.get(url, allow_redirects=False) as response:
                body = await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise SchemasUnavailableError(f"{self.url} does not answer: {str(error) or type(error).__name__}") from None
        if 400 <= response.status < 500 and response.status not in _PASSING:
            log.warning("%s answers %d to %s", self.url, response.status, path)
            return None
        if response.status != 200:
            raise SchemasUnavailableError(f"{self.url} answers {response.status}{_HINTS.get(response.status, '')}")
        return self._parsed(body)

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise SchemasUnavailableError(f"{self.url} does not answer like a schema registry; is `registry` its URL?")
        return answer


_HINTS = {401: ": username or password is wrong"} | dict.fromkeys(
    (301, 302, 303, 307, 308), ", a redirect: give the final URL in `schemas.registry`"
)


def _registry(schemas: Schemas, url: str) -> SchemaRegistry:
    authorities = None if schemas.ca_file is None else ssl.create_default_context(cafile=schemas.ca_file)
    return SchemaRegistry(url, _login(schemas), authorities)


def _login(schemas: Schemas) -> dict[str, str]:
    if schemas.password_env is None:
        return {}
    password = os.environ.get(schemas.password_env)
    if password is None:
        raise SchemasUnavailableError(f"schemas.password_env: no environment variable {schemas.password_env}")
    return {"Authorization": f"Basic {b64encode(f'{schemas.username}:{password}'.encode()).decode()}"}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while chunk := await response.content.read(_ANSWER):
        body += chunk
        if len(body) > _ANSWER:
            raise aiohttp.ClientError(f"the answer has more than {_ANSWER} bytes")
    return body


def _reference_paths(answer: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"/subjects/{quote(str(each.get('subject')), safe='')}/versions/{quote(str(each.get('version')), safe='')}"
        for each in answer.get("references") or ()
        if isinstance(each, dict)
    ]


def _text(answer: Mapping[str, Any]) -> str:
    return str(answer["schema"])
