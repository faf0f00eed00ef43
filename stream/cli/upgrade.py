"""`driftline upgrade`: which format level a group of workers is at, and raising it once all workers are upgraded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from driftline.stream.cli.terminal import (
    EXIT_FOUND,
    AsJson,
    CommandError,
    ConfigFile,
    err,
    out,
    print_json,
    query_redis,
    read_config,
)
from driftline.stream.codec.levels import NEWEST
from driftline.stream.config.sections import Config
from driftline.stream.text.printable import printable, printable_json

if TYPE_CHECKING:
    from driftline.stream.state.client import Client
    from driftline.stream.state.level import GroupLevel, Standing

app = typer.Typer()
upgrade_app = typer.Typer(
    help="Show the format level of the workers' group, and raise it once all of them are upgraded.\n\n"
    "Without a command, only reads Redis. Exit code 0: it is the newest. 1: it can be raised. 2: failed.",
    epilog="Examples:\n\ndriftline upgrade -c driftline.yaml\n\ndriftline upgrade finish -c driftline.yaml",
    invoke_without_command=True,
)
app.add_typer(upgrade_app, name="upgrade")

ResultT = TypeVar("ResultT")

# What changes for those who are paged: no worker says it when the level is raised, and there is no way back.
_CHANGE = (
    "from level 2 on, signals whose baseline has phases (a daily or weekly cycle) are judged by phase: "
    "verdicts on them change; from level 3 on, a drift that comes back within eight days of its end is the same "
    "incident, which is updated and does not fire again"
)


@upgrade_app.callback()
def upgrade_show(
    context: typer.Context,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as one line of JSON.")] = False,
) -> None:
    """Show the format level, the workers that were seen with the level each can do, and which of them can do less."""
    if context.invoked_subcommand is not None:
        return
    settings = read_config(config)
    standing = _standing(settings)
    if json:
        facts = {"level": standing.level, "newest": NEWEST, "workers": standing.workers, "older": standing.older()}
        typer.echo(printable_json(msgspec.json.encode(facts).decode()))
    else:
        _print(settings, standing, config)
    raise typer.Exit(0 if standing.level >= NEWEST else EXIT_FOUND)


@upgrade_app.command(name="finish", epilog="Example: driftline upgrade finish -c driftline.yaml")
def upgrade_finish(
    config: ConfigFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="Raise it although workers can do less: these exit, and are refused.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Raise the group's format level to the newest that this version can do. Workers run on and use it within seconds.

    There is no way back: workers of earlier versions refuse the group from then on.

    Exit code 0: raised, or the newest already. 2: failed, or a worker can do less.
    """
    settings = read_config(config)
    standing, group = _standing(settings), settings.worker.group
    if standing.level >= NEWEST:
        says = f"workers of {group} are at format level {standing.level} already"
        _print_level(json, standing.level, is_raised=False, says=says)
        return
    if (older := standing.older()) and not force:
        for each in older:
            err.print(Text(each), soft_wrap=True)
        raise CommandError(
            f"workers of {group} can do less than level {NEWEST}: upgrade or stop them and try again; --force makes "
            "them exit"
        )
    _query(settings, lambda level: level.raise_to(NEWEST, fence=force))
    says = f"workers of {group} are at format level {NEWEST}, and use it within seconds\n{_CHANGE}"
    _print_level(json, NEWEST, is_raised=True, says=says)


def _print_level(json: bool, level: int, is_raised: bool, says: str) -> None:
    if json:
        print_json({"level": level, "is_raised": is_raised})
    else:
        out.print(Text(says), soft_wrap=True)


def _print(settings: Config, standing: Standing, path: Path | None) -> None:
    group = settings.worker.group
    out.print(Text(f"workers of {group} are at format level {standing.level}; this version can do {NEWEST}"))
    if standing.workers:
        out.print(_table(standing))
    older = standing.older()
    for each in older:
        out.print(Text(each), soft_wrap=True)
    if standing.level < NEWEST and not older:
        command = ["driftline", "upgrade", "finish", *(["-c", str(path)] if path else [])]
        out.print(Text(f"once all workers are upgraded, raise it: {shlex.join(command)}"), soft_wrap=True)
        out.print(Text(_CHANGE), soft_wrap=True)


def _table(standing: Standing) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("worker on", "version", "can do level", "seen (s ago)"):
        table.add_column(heading, overflow="fold")
    for each in standing.workers:
        ago = f"{max(standing.at - each.at, 0.0):.0f}"
        table.add_row(*map(Text, (printable(each.host), printable(each.version), str(each.level), ago)))
    return table


def _standing(settings: Config) -> Standing:
    return _query(settings, lambda level: level.standing(time.time()))


def _query(settings: Config, query: Callable[[GroupLevel], Awaitable[ResultT]]) -> ResultT:
    async def ask(client: Client) -> ResultT:
        from driftline.stream.state.level import GroupLevel
        from driftline.stream.state.store import Store

        return await query(GroupLevel(Store(client, settings.worker.group, settings.redis.replicas)))

    return query_redis(settings.redis, ask)
