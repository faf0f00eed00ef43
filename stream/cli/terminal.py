"""Shared by all commands: two consoles, exit codes, common options, progress bars, and error messages."""

from __future__ import annotations

import asyncio
import getpass
import math
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import orjson
import typer
from rich.console import Console, ConsoleDimensions, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.text import Text

from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis, Schemas
from driftline.stream.events.times import PLAIN_TIMES
from driftline.stream.sources import files
from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.text.printable import printable_json, printable_lines

if TYPE_CHECKING:
    from driftline.stream.sources.schemas import SchemaLoader
    from driftline.stream.state.client import Client

ResultT = TypeVar("ResultT")

_DAY_MS = 86_400_000

# Characters of a line that is not for a terminal: more than any line of ours. A file or `grep` wants each whole.
_PIPE = 2_000
_END_SPACES = re.compile(r" +(?=\n)")


class _Output(Console):
    """As wide as the terminal is. In a pipe or a file no line is broken or cut, unless COLUMNS says how wide it is."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr)
        # Rich keeps the COLUMNS of the moment of construction, which is that of the import: of a test run, for one.
        self._width = None

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at it. Rich also believes FORCE_COLOR, which notebooks set for pipes."""
        return self.file.isatty()

    @property
    def size(self) -> ConsoleDimensions:
        """Characters of a line, and lines."""
        if self.is_terminal or self._width is not None or "COLUMNS" in os.environ:
            return super().size
        return ConsoleDimensions(_PIPE, super().size.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


out, err = _Output(), _Output(stderr=True)


class _Printable:
    """What another renderable prints, without characters that would control the terminal.

    In a pipe, lines have no spaces at their ends, where tables have them, and no styles.
    """

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        segments = console.render(self._inner, options)
        if not console.is_terminal:
            text = "".join(printable_lines(text) for text, _, control in segments if not control)
            yield Segment(_END_SPACES.sub("", text))
            return
        for text, style, control in segments:
            yield Segment(text if control else printable_lines(text), style, control)


class _PrintableOnly(RenderHook):
    """Names, values and reasons from traffic reach a terminal through many commands; this is their common way out."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(each) for each in renderables]


for _console in (out, err):
    _console.push_render_hook(_PrintableOnly())
EXIT_FOUND, EXIT_FAILED = 1, 2

# Whether --quiet was given, of which `LateCommand` makes an option of every command.
_quiet = False


def be_quiet(wanted: bool) -> None:
    """Whether progress and hints are left out, until this is called again."""
    global _quiet  # noqa: PLW0603 # as the two consoles, it belongs to the process
    _quiet = wanted


def hint(text: str) -> None:
    """Print what may help next on standard error, where nobody asked for silence."""
    if not _quiet:
        err.print(Text(printable_lines(text), style="dim"), soft_wrap=True)


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also the evidence in nats, effect sizes, and offsets, for specialists.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True, dir_okay=False)
]
EventFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help="JSON, CSV, Parquet or Avro files, also packed (gzip, bzip2, xz); - reads all but Parquet from standard "
        "input.",
    ),
]

MaxRejected = Annotated[
    str,
    typer.Option(
        help="Share of the messages that may be rejected, such as 5% or 0.05; if more are, the command fails."
    ),
]


def writable(path: Path | None) -> Path | None:
    """A file to be written at the end of a command, refused at its start if there is no folder for it."""
    if path and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}; make it first")
    return path


ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", dir_okay=False, writable=True, callback=writable,
        help="Write a report to this file: one HTML page.",
    ),
]  # fmt: skip

#: What an all-clear allows (`stream.replay.verdict`).
MAX_REJECTED = "1%"
# Begins a source that is a topic of the configured Kafka.
_TOPIC = "kafka://"


EventSources = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES|kafka://TOPIC",
        help="JSON, CSV, Parquet or Avro files, also packed (gzip, bzip2, xz); - reads all but Parquet from standard "
        "input; or one topic of the configured Kafka.",
    ),
]


class CommandError(Exception):
    """A command can't run; the message says why, and what to do about it."""


def read_config(path: Path | None) -> Config:
    """The configuration in a file, or all defaults if there is no file. Raises ConfigError, InputError or OSError."""
    return parse_config(read_text(path), str(path)) if path else Config()


def read_text(path: Path) -> str:
    """The text of a file. Raises InputError if it isn't UTF-8."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1}: not UTF-8; save the file as UTF-8") from None


def schemas_of(settings: Config, folder: Path) -> SchemaLoader | None:
    """The loader of the schemas of frames; None if the configuration names no source of them."""
    if settings.schemas == Schemas():
        return None
    # aiohttp takes 0.2 s to import, which other commands should not pay.
    from driftline.stream.sources.schemas import COMMAND_ATTEMPTS, schema_loader

    return schema_loader(settings.schemas, folder, COMMAND_ATTEMPTS)


def print_remarks(remarks: Iterable[object]) -> None:
    """Print remarks, such as of settings without effect, one per line on standard error."""
    for remark in remarks:
        err.print(Text.assemble(("warning: ", "yellow"), str(remark)), soft_wrap=True)


def parse_time(text: str, option: str) -> int:
    """The value of an option, an RFC 3339 time, as epoch milliseconds. Raises BadParameter."""
    try:
        return PLAIN_TIMES.epoch_ms(msgspec.convert(text, datetime))
    except ValueError:
        raise typer.BadParameter(f"{option}: expected RFC 3339 such as 2026-01-31T00:00:00Z, got {text!r}") from None


def current_user() -> str:
    """Name of the user who runs the command. Raises BadParameter if the user has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        raise typer.BadParameter("the current user has no name; say with --by who you are") from None


def parse_stretches(texts: Sequence[str], option: str) -> list[tuple[int, int]]:
    """The values of an option, each FROM..TO, as [from, to) in epoch milliseconds. Raises BadParameter.

    >>> parse_stretches(["2026-01-01..2026-01-02"], "--exclude")
    [(1767225600000, 1767398400000)]
    """
    return [_stretch(text, option) for text in texts]


def _stretch(text: str, option: str) -> tuple[int, int]:
    first, dots, end = text.partition("..")
    if not dots:
        raise typer.BadParameter(f"{option}: expected FROM..TO such as 2026-01-30..2026-02-02, got {text!r}")
    since, until = (parse_time(f"{each}T00:00:00Z" if _is_date(each) else each, option) for each in (first, end))
    until += _DAY_MS if _is_date(end) else 0
    if until <= since:
        raise typer.BadParameter(f"{option}: {text!r} ends before it begins")
    return since, until


def _is_date(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None


def parse_share(text: str, option: str) -> float:
    """The value of an option, a percentage such as 5% or a share such as 0.05, as a share. Raises BadParameter.

    A plain 1 is refused: who writes it may mean 1 % or all.

    >>> parse_share("5%", "--max-rejected"), parse_share("0.05", "--max-rejected")
    (0.05, 0.05)
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1 or (share == 1 and not text.endswith("%")):
        raise typer.BadParameter(
            f"{option}: expected a percentage such as 5% or a share such as 0.05 (all: 100%), got {text!r}"
        )
    return share


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on standard output."""
    lines = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode().split("\n")
    typer.echo("\n".join(map(printable_json, lines)))


def command_line(context: typer.Context, *without: str) -> str:
    """The command that repeats this one: its arguments, then the options that were given.

    without: names of parameters that are left out, such as where the answer goes.
    """
    arguments, options = list[str](), list[str]()
    for each in context.command.params:
        source = context.get_parameter_source(each.name or "")
        if each.name not in context.params or each.name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[each.name]
        values = list(map(str, value if isinstance(value, list | tuple) else [value]))
        if each.param_type_name == "argument":
            arguments += values
        else:
            name = each.opts[0]
            options += [name] if value is True else [word for text in values for word in (name, text)]
    return shlex.join(["driftline", context.info_name or "", *arguments, *options])


def topic_of(sources: Sequence[str]) -> str | None:
    """The topic to read; None if the sources are files. Raises BadParameter if they are both."""
    topics = [source.removeprefix(_TOPIC) for source in sources if source.startswith(_TOPIC)]
    if topics and len(sources) > 1:
        raise typer.BadParameter(f"expected one {_TOPIC}TOPIC or files, got {' '.join(sources)}")
    return topics[0] if topics else None


@contextmanager
def reading_messages(
    paths: Sequence[str],
    settings: Config,
    model: str | None = None,
    ts: str | None = None,
    on_note: OnNote | None = None,
    chunk: int = 10_000,
) -> Iterator[Iterator[list[bytes]]]:
    """The messages in files, in lists of up to `chunk`, with a progress bar over the bytes read.

    model, ts: of table rows that have none. on_note: called with each column that is left out or converted; by default,
    that is printed after the block.
    """
    total, mapping = files.total_bytes(paths), settings.mapping.event_mapping()
    notes: list[Note] = []
    with progress_bar("reading", total, DownloadColumn(), TransferSpeedColumn()) as advance:
        yield files.read_messages(
            paths, mapping=mapping, options=settings.files, model=model, ts=ts,
            on_progress=advance, on_note=on_note or notes.append, chunk=chunk,
        )  # fmt: skip
    for note in notes:
        err.print(Text(f"{note.field}: {note.reason}", style="yellow"))


@contextmanager
def progress_bar(name: str, total: int | None, *figures: ProgressColumn) -> Iterator[Callable[[int], None]]:
    """On a terminal, show a progress bar until the block ends; yields a function that takes how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), *figures, TimeRemainingColumn())
    # A bar makes room only for what is printed on its own console, and alerts are printed on `out`.
    console = out if out.is_terminal else err
    with Progress(*columns, console=console, transient=True, disable=_quiet or not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def reporting_kafka_errors() -> Iterator[None]:
    """Turn the exceptions of the Kafka adapters into CommandError.

    The adapters take half a second to import, so only commands that use Kafka import them.
    """
    from driftline.stream.kafka.admin import TopicsError
    from driftline.stream.kafka.client import KafkaUnreachableError

    try:
        yield
    except (KafkaUnreachableError, TopicsError) as error:
        raise CommandError(str(error)) from error


@contextmanager
def reporting_redis_errors() -> Iterator[None]:
    """Turn what Redis cannot do, or a password that the environment lacks, into CommandError."""
    from driftline.stream.state.client import StoreError

    try:
        yield
    except StoreError as error:
        raise CommandError(str(error)) from error


def query_redis(redis: Redis, query: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
    """Run a query with a client of its own and return its result. Raises CommandError if Redis fails."""
    from driftline.stream.state.client import connect

    async def run() -> ResultT:
        client = connect(redis)
        try:
            return await query(client)
        finally:
            await client.aclose()

    with reporting_redis_errors():
        return asyncio.run(run())
