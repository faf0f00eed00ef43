"""`driftline silence`: keeping alerts from pagers for a while, by what they are about."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from driftline.stream.cli.terminal import CommandError, ConfigFile, ask_redis, err, out, parse_time, read_config
from driftline.stream.config.fields import RuleError, parse_duration
from driftline.stream.paging.silences import Matcher, Silence, SilenceError

if TYPE_CHECKING:
    from driftline.stream.state.silences import SilenceStore

app = typer.Typer()
silence_app = typer.Typer(
    help="Keep alerts from pagers for a while: silences and maintenance windows.", no_args_is_help=True
)
app.add_typer(silence_app, name="silence")

# What is silenced for longer is better not watched; what a silence holds back is kept for 400 days.
_LONGEST = timedelta(days=366)
# What Driftline's own alerts can be matched by. Others might be written to the topic too, so other names are allowed.
_NAMES = {"model", "signal", "severity", "class"}

AnswerT = TypeVar("AnswerT")


@silence_app.command(
    name="add",
    epilog='Example: driftline silence add --match model=fraud --match "signal=~features[.](amount|zip)" --for 2h '
    '--comment "backfill" -c driftline.yaml',
)
def silence_add(
    match: Annotated[
        list[str],
        typer.Option(
            metavar="MATCHER",
            help="NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX over an alert's labels and model, severity, "
            "class, signal. Repeat: all must match.",
        ),
    ],
    comment: Annotated[str, typer.Option(help="Why; people will ask.")],
    config: ConfigFile = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Such as 90m, 2h or 7d.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Instead of --for: RFC 3339.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Begin then, for maintenance ahead: RFC 3339.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who silences. [default: the user]")] = None,
) -> None:
    """Silence what matches for a while, from now or from a time on.

    Relays know of it within seconds. An alert that tells of several signals is silenced when all of them are. What
    still drifts when it ends is told then; what was told before it began is resolved all the same.
    """
    now = datetime.now(UTC)
    start = _moment(from_, "--from") if from_ else now
    end = _end(start, for_, until)
    if end <= now or end - now > _LONGEST:
        raise typer.BadParameter(f"expected an end within the next {_LONGEST.days} days, got {_shown(end)}")
    try:
        matchers = tuple(map(Matcher.parse, match))
        silence = Silence(secrets.token_hex(4), matchers, start, end, by or _user(), comment)
    except SilenceError as error:
        raise typer.BadParameter(str(error)) from error
    _ask(config, lambda store: store.add(silence))
    if unknown := sorted({each.name for each in matchers} - _NAMES):
        err.print(Text(f"no alert of Driftline has {', '.join(unknown)}: it counts as empty", style="yellow"))
    begins = "from now" if start <= now else f"from {_shown(start)}"
    out.print(Text(f"silence {silence.id}: {_what(silence)}, {begins} until {_shown(end)}"), soft_wrap=True)
    err.print(Text(f"end it with: driftline silence end {silence.id}"))


@silence_app.command(name="list", epilog="Example: driftline silence list -c driftline.yaml")
def silence_list(config: ConfigFile = None) -> None:
    """Show the silences that hold and those to come."""
    now = datetime.now(UTC)

    async def read(store: SilenceStore) -> tuple[list[Silence], dict[str, str]]:
        await store.tidy()
        return await store.read(now)

    silences, unreadable = _ask(config, read)
    if silences:
        out.print(_table(silences, now))
    else:
        out.print("no silences")
    for name, reason in unreadable.items():
        err.print(Text(f"{name} silences nothing: {reason}", style="yellow"), soft_wrap=True)


@silence_app.command(name="end", epilog="Example: driftline silence end 3f9a21c4 -c driftline.yaml")
def silence_end(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `driftline silence list` shows it.")],
    config: ConfigFile = None,
) -> None:
    """End a silence now. What it held back and still drifts is told within seconds."""
    if not _ask(config, lambda store: store.end(name)):
        raise CommandError(f"there is no silence {name!r}; driftline silence list shows which there are")
    out.print(Text(f"silence {name} has ended"))


def _end(start: datetime, for_: str | None, until: str | None) -> datetime:
    if (for_ is None) == (until is None):
        raise typer.BadParameter("a silence needs an end: either --for or --until")
    if until is not None:
        return _moment(until, "--until")
    try:
        return start + timedelta(seconds=parse_duration(for_))
    except (RuleError, OverflowError) as error:
        raise typer.BadParameter(f"--for: {error}, got {for_!r}") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        raise typer.BadParameter("who silences? say it with --by") from None


def _moment(text: str, option: str) -> datetime:
    return datetime.fromtimestamp(parse_time(text, option) / 1000, UTC)


def _ask(config: ConfigFile, question: Callable[[SilenceStore], Awaitable[AnswerT]]) -> AnswerT:
    """What the store of the configuration's group answers."""
    # Redis' client takes a third of a second to import, which no other command should pay.
    from driftline.stream.state.silences import SilenceStore

    settings = read_config(config)
    return ask_redis(settings.redis, lambda client: question(SilenceStore(client, settings.worker.group)))


def _table(silences: list[Silence], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "holds", "until", "what", "by", "why"):
        table.add_column(heading, overflow="fold")
    for each in silences:
        holds = "now" if each.active(now) else f"from {_shown(each.starts_at)}"
        row = (each.id, holds, _shown(each.ends_at), _what(each), each.creator, each.comment)
        table.add_row(*map(Text, row))
    return table


def _what(silence: Silence) -> str:
    return ", ".join(map(str, silence.matchers))


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
