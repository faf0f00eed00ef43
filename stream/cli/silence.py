"""`driftline silence`: muting notifications for a while, by matchers over alerts."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from driftline.stream.cli.terminal import (
    AsJson,
    CommandError,
    ConfigFile,
    current_user,
    err,
    hint,
    out,
    parse_time,
    print_json,
    query_redis,
    read_config,
)
from driftline.stream.config.fields import RuleError, parse_duration
from driftline.stream.paging.silences import Matcher, Silence, SilenceError

if TYPE_CHECKING:
    from driftline.stream.state.silences import SilenceStore

app = typer.Typer()
silence_app = typer.Typer(
    help="Mute notifications for a while: silences and maintenance windows.",
    epilog="Example: driftline silence list -c driftline.yaml",
    no_args_is_help=True,
)
app.add_typer(silence_app, name="silence")

# A model silenced for longer had better not be monitored; and the relay keeps what a silence holds back for 400 days.
_LONGEST = timedelta(days=366)
# Names that Driftline's own alerts have. Other programs may write alerts to the topic, so other names are allowed.
_NAMES = {"model", "signal", "severity", "class"}

ResultT = TypeVar("ResultT")


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
            help="NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX. Names: model, signal, severity, class and "
            "an alert's labels. Repeat for more; all must match.",
        ),
    ],
    comment: Annotated[str, typer.Option(help="Why; people will ask.")],
    config: ConfigFile = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long, such as 90m, 2h or 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="End time (RFC 3339), instead of --for.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Start time (RFC 3339), for planned maintenance; now by default."),
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who silences; the current user by default.")] = None,
    json: AsJson = False,
) -> None:
    """Silence matching alerts for a while, from now or from a given time on.

    Relays apply it within seconds. An alert about several signals is silenced only if all of them match.

    An incident that is still open when the silence ends is notified then. One notified before it began still resolves.
    """
    now = datetime.now(UTC)
    start = _moment(from_, "--from") if from_ else now
    end = _end(start, for_, until)
    if end <= now or end - now > _LONGEST:
        raise typer.BadParameter(f"expected an end within the next {_LONGEST.days} days, got {_format(end)}")
    try:
        matchers = tuple(map(Matcher.parse, match))
        silence = Silence(secrets.token_hex(4), matchers, start, end, by or current_user(), comment)
    except SilenceError as error:
        raise typer.BadParameter(str(error)) from error
    _query(config, lambda store: store.add(silence))
    if unknown := sorted({each.name for each in matchers} - _NAMES):
        err.print(
            Text(f"Driftline's own alerts have no {', '.join(unknown)}; a missing name counts as empty", style="yellow")
        )
    if json:
        print_json(_row(silence))
        return
    begins = "from now" if start <= now else f"from {_format(start)}"
    out.print(Text(f"silence {silence.id}: {_matchers(silence)}, {begins} until {_format(end)}"), soft_wrap=True)
    hint(f"end it with: driftline silence end {silence.id}")


@silence_app.command(name="list", epilog="Example: driftline silence list -c driftline.yaml")
def silence_list(config: ConfigFile = None, json: AsJson = False) -> None:
    """List active and planned silences."""
    now = datetime.now(UTC)

    async def read(store: SilenceStore) -> tuple[list[Silence], dict[str, str]]:
        await store.remove_ended()
        return await store.read(now)

    silences, unreadable = _query(config, read)
    if json:
        print_json({"silences": [_row(each) | {"active": each.active(now)} for each in silences]})
    elif silences:
        out.print(_table(silences, now))
    else:
        out.print("no silences")
    for name, reason in unreadable.items():
        err.print(Text(f"{name} is ignored: {reason}", style="yellow"), soft_wrap=True)


@silence_app.command(name="end", epilog="Example: driftline silence end 3f9a21c4 -c driftline.yaml")
def silence_end(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of the silence, from `driftline silence list`.")],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """End a silence now. Incidents that it held back and that are still open are notified within seconds."""
    if not _query(config, lambda store: store.end(name)):
        raise CommandError(f"there is no silence {name!r}; list them with: driftline silence list")
    if json:
        print_json({"ended": name})
    else:
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


def _moment(text: str, option: str) -> datetime:
    return datetime.fromtimestamp(parse_time(text, option) / 1000, UTC)


def _query(config: ConfigFile, query: Callable[[SilenceStore], Awaitable[ResultT]]) -> ResultT:
    """Query the silences of the configuration's group. Raises CommandError."""
    # Redis' client takes a third of a second to import, which no other command should pay.
    from driftline.stream.state.silences import SilenceStore

    settings = read_config(config)
    return query_redis(settings.redis, lambda client: query(SilenceStore(client, settings.worker.group)))


def _table(silences: list[Silence], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "active", "until", "matchers", "by", "comment"):
        table.add_column(heading, overflow="fold")
    for each in silences:
        active = "now" if each.active(now) else f"from {_format(each.starts_at)}"
        row = (each.id, active, _format(each.ends_at), _matchers(each), each.creator, each.comment)
        table.add_row(*map(Text, row))
    return table


def _row(silence: Silence) -> dict[str, Any]:
    return {
        "id": silence.id,
        "matchers": [str(each) for each in silence.matchers],
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat(),
        "by": silence.creator,
        "comment": silence.comment,
    }


def _matchers(silence: Silence) -> str:
    return ", ".join(map(str, silence.matchers))


def _format(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
