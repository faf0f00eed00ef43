"""`driftline models`: which models the workers remember, and forgetting one of those that learned their baseline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from driftline.stream.baselines.overruled import doubt
from driftline.stream.baselines.slopes import LIVE_BLOCKS
from driftline.stream.cli.terminal import (
    AsJson,
    CommandError,
    ConfigFile,
    err,
    out,
    print_json,
    query_redis,
    read_config,
    reporting_kafka_errors,
)
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ForgetMessage
from driftline.stream.config.sections import Config
from driftline.stream.text.phrases import listed
from driftline.stream.text.printable import printable, printable_json

if TYPE_CHECKING:
    from driftline.stream.state.client import Client
    from driftline.stream.state.models import StoredModel

app = typer.Typer()
models_app = typer.Typer(
    help="List the models that the workers remember, and forget some of them.\n\n"
    "Without a command, only reads Redis. Exit code 0: listed. 2: failed.",
    epilog="Examples:\n\ndriftline models -c driftline.yaml\n\ndriftline models forget fraud-test -c driftline.yaml",
    invoke_without_command=True,
)
app.add_typer(models_app, name="models")

# s to wait until workers have forgotten a model, and between two looks: they read the request within a second, unless
# they learn a baseline first.
_PATIENCE, _EVERY = 10.0, 0.5


@models_app.callback()
def models_list(
    context: typer.Context,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print each model as one line of JSON.")] = False,
) -> None:
    """List the models that the workers remember: their baseline, events, when last seen, open incidents."""
    if context.invoked_subcommand is not None:
        return
    settings = read_config(config)
    rows = [each.row(settings) for each in _stored(settings)]
    if json:
        for row in rows:
            typer.echo(printable_json(orjson.dumps(row).decode()))
    elif rows:
        out.print(_table(rows))
    else:
        out.print(Text(f"no worker of the group {settings.worker.group} has judged anything yet"))


@models_app.command(name="forget", epilog="Example: driftline models forget fraud-test -c driftline.yaml")
def models_forget(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, from `driftline models`.")],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Forget models without a baseline file: what they learned, their history, and their incidents, which end.

    Workers may run: the request is a record among the model's panes, and takes effect once.

    If the model comes again, it warms up as a new one.

    Exit code 0: forgotten, or requested while no worker runs. 2: failed.
    """
    settings = read_config(config)
    if given := [name for name in names if settings.for_model(name).is_given_baselines]:
        raise CommandError(
            f"the configuration gives {listed(given)} a baseline: take that out of it and send the workers SIGHUP first"
        )
    stored = _stored(settings)
    known = {each.name for each in stored}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise CommandError(f"no model {name!r} is remembered{f'; did you mean {near[0]!r}?' if near else ''}")
    # A model is on two partitions if the topic got more of them.
    _request(settings, [each for each in stored if each.name in names])
    left = _wait(settings, names)
    if json:
        print_json({"forgotten": sorted(set(names).difference(left)), "requested": left})
    elif left:
        err.print(Text(f"requested; workers of {settings.worker.group} have yet to read it: {listed(left)}"))
    else:
        out.print(Text(f"forgotten: {listed(names)}"))


def _stored(settings: Config) -> list[StoredModel]:
    async def read(client: Client) -> list[StoredModel]:
        from driftline.stream.state.models import ModelIndex

        return await ModelIndex(client, settings.worker.group, settings.topics.panes).read()

    try:
        return query_redis(settings.redis, read)
    except FormatError as error:
        raise CommandError(f"this version cannot read what is stored: {error}") from error


def _request(settings: Config, models: Iterable[StoredModel]) -> None:
    with reporting_kafka_errors():
        from driftline.stream.kafka.produce import open_producer, send_now
        from driftline.stream.kafka.record import OutgoingRecord

        topic = settings.topics.panes
        with open_producer(settings.kafka, topic) as producer:
            for each in models:
                value = ForgetMessage(each.name).to_bytes()
                send_now(producer, OutgoingRecord(topic, each.name.encode(), value, partition=each.partition))


def _wait(settings: Config, names: Sequence[str]) -> list[str]:
    """Wait until the models are forgotten; returns those that are not after some seconds."""

    async def left(client: Client) -> list[str]:
        from driftline.stream.state.models import ModelIndex

        index = ModelIndex(client, settings.worker.group, settings.topics.panes)
        for _ in range(round(_PATIENCE / _EVERY)):
            remembered = {each.name for each in await index.read()}
            if remembered.isdisjoint(names):
                return []
            await asyncio.sleep(_EVERY)
        return sorted(remembered.intersection(names))

    return query_redis(settings.redis, left)


def _table(rows: Iterable[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "baseline", "events", "last seen (UTC)", "open incidents"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading in ("events", "open incidents") else "left"
        )
    for row in rows:
        learning = f"learning {row['events']:,} of {row['learn_events']:,}" if row["learn_events"] else row["baseline"]
        if row["slope_blocks"]:
            learning += f", its dependence in time from {row['slope_blocks']} of {LIVE_BLOCKS} blocks"
        if row["slope_ratios"]:
            learning += f"; {doubt(row['slope_ratios'])}"
        seen = (row["last_seen"] or "")[:16].replace("T", " ")
        cells = (printable(row["model"]), learning, f"{row['events']:,}", seen, str(row["open_incidents"] or ""))
        table.add_row(*map(Text, cells))
    return table
