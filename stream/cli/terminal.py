"""What the commands share: two consoles, exit codes, common options, progress bars, and errors in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.events.parse import epoch_ms
from driftline.stream.sources import files

if TYPE_CHECKING:
    from driftline.stream.state.client import Client

AnswerT = TypeVar("AnswerT")

out, err = Console(), Console(stderr=True)
FOUND, FAILED = 1, 2

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True, dir_okay=False)
]
Files = Annotated[
    list[str], typer.Argument(help="JSONL (also .gz), CSV or Parquet files; - reads JSONL from standard input.")
]


class CommandError(Exception):
    """A command can't run; the message says why, and what may help."""


def read_config(path: Path | None) -> Config:
    """The configuration in a file; all defaults without one."""
    return parse_config(read_text(path), str(path)) if path else Config()


def read_text(path: Path) -> str:
    """What a file says; InputError if it isn't UTF-8."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise files.InputError(f"{path}: byte {error.start + 1}: not UTF-8; save the file as UTF-8") from None


def parse_time(text: str, option: str) -> int:
    """Epoch milliseconds of what was given for an option."""
    try:
        return epoch_ms(msgspec.convert(text, datetime))
    except ValueError:
        raise typer.BadParameter(f"{option}: expected RFC 3339 such as 2026-01-31T00:00:00Z, got {text!r}") from None


@contextmanager
def reading(
    paths: Sequence[str], model: str | None, ts: str | None = None, chunk: int = 10_000
) -> Iterator[Iterator[list[bytes]]]:
    """The files' messages, up to `chunk` in a list, under a progress bar over their bytes."""
    total = files.total_bytes(paths)
    with progress_bar("reading", total, DownloadColumn(), TransferSpeedColumn()) as advance:
        yield files.read_messages(paths, model=model, ts=ts, on_progress=advance, chunk=chunk)


@contextmanager
def progress_bar(name: str, total: int | None, *figures: ProgressColumn) -> Iterator[Callable[[int], None]]:
    """A bar that goes when it is done, on a terminal; what is yielded takes how much of `total` is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), *figures, TimeRemainingColumn())
    # On the console that the alerts are printed on, the bar makes room for them.
    console = out if out.is_terminal else err
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def kafka_in_words() -> Iterator[None]:
    """Turns what Kafka's adapters raise into a CommandError. They take half a second to import: only commands that
    talk to Kafka do so.
    """
    from driftline.stream.kafka.admin import TopicsError
    from driftline.stream.kafka.client import KafkaUnreachableError

    try:
        yield
    except (KafkaUnreachableError, TopicsError) as error:
        raise CommandError(str(error)) from error


def ask_redis(redis: Redis, question: Callable[[Client], Awaitable[AnswerT]]) -> AnswerT:
    """What is answered by a client that lives as long as the question; CommandError."""
    from driftline.stream.state.client import StoreError, connect

    async def ask() -> AnswerT:
        client = connect(redis)
        try:
            return await question(client)
        finally:
            await client.aclose()

    try:
        return asyncio.run(ask())
    except StoreError as error:
        raise CommandError(str(error)) from error
