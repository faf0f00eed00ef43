"""`driftline produce` and `driftline topics`: writing events to a topic, creating and showing topics."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from driftline.stream.cli.terminal import (
    EXIT_FOUND,
    AsJson,
    ConfigFile,
    EventFiles,
    err,
    hint,
    out,
    print_json,
    read_config,
    reading_messages,
    reporting_kafka_errors,
)
from driftline.stream.config.sections import Topics
from driftline.stream.events.parse import EventReader
from driftline.stream.replay.pacing import KeyChoice, Pace

if TYPE_CHECKING:
    from driftline.stream.kafka.produce import Sent
    from driftline.stream.schemas.topics import Topic

app = typer.Typer()
topics_app = typer.Typer(
    help="Create and show the topics that Driftline uses.",
    epilog="Example: driftline topics show -c driftline.yaml",
    no_args_is_help=True,
)
app.add_typer(topics_app, name="topics")

# Messages read at once: few with a pace, so that the progress bar moves steadily; many without, which is faster.
_PACED, _UNPACED = 10, 1000


@app.command(
    name="produce", epilog="Example: driftline produce live.jsonl.gz --topic predictions -c driftline.yaml --rate 500"
)
def produce_command(
    paths: EventFiles,
    topic: Annotated[str, typer.Option(help="Topic to write to; it must exist.")],
    config: ConfigFile = None,
    key: Annotated[
        KeyChoice, typer.Option(help="Key of the records; records with one key go to one partition.")
    ] = "event-id",
    rate: Annotated[float | None, typer.Option(help="Events per second.")] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="Nx", help="Keep the events' own pace, N times as fast: 60x makes an hour a minute."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model of table rows that name no model.")] = None,
    json: AsJson = False,
) -> None:
    """Write events from files to a topic, in order: at once, at a rate, or at a multiple of their own pace.

    Lines that are no events are written too, without a key. Records get the current time as their timestamp.

    Exit code 0: Kafka has acknowledged all records. 1: some are too large for it. 2: failed.
    """
    settings, pace = read_config(config), _pace(rate, speed)
    started = time.monotonic()
    with (
        reading_messages(paths, settings, model, chunk=_UNPACED if pace == Pace() else _PACED) as batches,
        reporting_kafka_errors(),
    ):
        from driftline.stream.kafka.produce import Sender, open_producer, produce

        with open_producer(settings.kafka, topic) as producer:
            reader = EventReader(settings.mapping.event_mapping(), limits=settings.limits.of_messages())
            sent = produce(Sender(producer, topic), batches, key, reader, pace)
    seconds = time.monotonic() - started
    if json:
        print_json({"topic": topic, "seconds": seconds, **asdict(sent)})
    else:
        _print_sent(sent, topic, seconds)
    raise typer.Exit(EXIT_FOUND if sent.too_large else 0)


def _pace(rate: float | None, speed: str | None) -> Pace:
    if rate is not None and speed is not None:
        raise typer.BadParameter("use either --rate or --speed, not both")
    return Pace(_positive(rate, "--rate"), _positive(speed and speed.removesuffix("x"), "--speed"))


def _positive(number: float | str | None, option: str) -> float | None:
    if number is None:
        return None
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"{option}: expected a number above 0, got {number!r}")
    return value


def _print_sent(sent: Sent, topic: str, seconds: float) -> None:
    out.print(Text(f"{sent.acknowledged:,} records written to {topic} in {seconds:.1f} s"))
    if sent.without_key:
        err.print(Text(f"  {sent.without_key:,} of them are no events and were written without a key", style="yellow"))
    if sent.too_large:
        err.print(Text(f"  {sent.too_large:,} more are too large for Kafka and were skipped", style="yellow"))


@topics_app.command(name="create", epilog="Example: driftline topics create -c driftline.yaml")
def topics_create(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPICS",
            help="Topics to create, by default all. A topic that the configuration does not name gets the settings of "
            "predictions.",
        ),
    ] = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Create the topics of a configuration. Existing topics are not changed, even if their settings differ."""
    settings = read_config(config)
    with reporting_kafka_errors():
        from driftline.stream.kafka.admin import ensure_topics, open_admin

        with open_admin(settings.kafka) as admin:
            wanted = _wanted(settings.topics, names)
            lines = ensure_topics(admin, wanted)
    if json:
        print_json({"topics": [{"name": each.name, "now": line} for each, line in zip(wanted, lines, strict=True)]})
    else:
        out.print(Text("\n".join(lines)))


@topics_app.command(name="show", epilog="Example: driftline topics show -c driftline.yaml")
def topics_show(config: ConfigFile = None, json: AsJson = False) -> None:
    """Show the topics of a configuration as Kafka has them, and what is missing or different.

    Exit code 0: all are as configured. 1: some are missing or differ. 2: failed.
    """
    settings = read_config(config)
    with reporting_kafka_errors():
        from driftline.stream.kafka.admin import describe_topics, open_admin

        wanted = _wanted(settings.topics, None)
        with open_admin(settings.kafka) as admin:
            found = describe_topics(admin, [topic.name for topic in wanted])
    remarks = [_remark(found.get(topic.name), topic) for topic in wanted]
    if json:
        there = {name: asdict(topic) for name, topic in found.items()}
        rows = [
            {"wanted": asdict(topic), "found": there.get(topic.name), "remark": remark}
            for topic, remark in zip(wanted, remarks, strict=True)
        ]
        print_json({"topics": rows})
    else:
        out.print(_table(wanted, found, remarks))
    if len(found) < len(wanted):
        hint("create the missing topics with: driftline topics create")
    raise typer.Exit(EXIT_FOUND if any(remarks) else 0)


def _wanted(topics: Topics, names: list[str] | None) -> list[Topic]:
    from driftline.stream.schemas.topics import wanted_topics

    configured = {topic.name: topic for topic in wanted_topics(topics)}
    if not names:
        return list(configured.values())
    return [configured.get(name) or replace(configured[topics.predictions], name=name) for name in names]


def _remark(found: Topic | None, wanted: Topic) -> str:
    from driftline.stream.schemas.topics import differences

    return "; ".join(differences(found, wanted)) if found else "missing"


def _table(wanted: list[Topic], found: dict[str, Topic], remarks: list[str]) -> Table:
    from driftline.stream.schemas.topics import kept_for

    table = Table(box=None, pad_edge=False)
    for heading in ("topic", "partitions", "replicas", "records are", ""):
        table.add_column(heading, justify="right" if heading in ("partitions", "replicas") else "left", overflow="fold")
    for topic, remark in zip(wanted, remarks, strict=True):
        there = found.get(topic.name)
        figures = (str(there.partitions), str(there.replication), kept_for(there.settings)) if there else ("", "", "")
        table.add_row(Text(topic.name), *figures, Text(remark, style="yellow"))
    return table
