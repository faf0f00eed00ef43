"""`driftline inspect`: what files or a topic hold, and the configuration that reads them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.progress import MofNCompleteColumn
from rich.text import Text

from driftline.stream.cli.terminal import (
    EXIT_FAILED,
    CommandError,
    ConfigFile,
    EventSources,
    hint,
    out,
    progress_bar,
    read_config,
    reading_messages,
    reporting_kafka_errors,
    schemas_of,
    topic_of,
    writable,
)
from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import Origin
from driftline.stream.inspection.facts import inspection_facts
from driftline.stream.inspection.inspect import Inspection, Message, Source, inspect_messages, prove
from driftline.stream.reports.inspection import print_inspection
from driftline.stream.sources.files import STDIN, describe_format
from driftline.stream.sources.inputs import OnNote
from driftline.stream.sources.inspected import inspect_records

app = typer.Typer()

# Extensions of files, several in `data.csv.gz`, which are no part of a model's name.
_EXTENSIONS = re.compile(r"(\.(csv|tsv|txt|json|jsonl|ndjson|parquet|gz|bz2|xz|avro))+$", re.IGNORECASE)
# Messages that are read at once, between two steps of the progress bar.
_CHUNK = 1000


@app.command(
    name="inspect",
    epilog="Examples:\n\ndriftline inspect data.csv -o driftline.yaml\n\n"
    "driftline inspect kafka://predictions -c driftline.yaml --events 500\n\n"
    "driftline inspect requests.jsonl.gz --json",
)
def inspect_command(
    sources: EventSources,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=writable, help="Write the configuration that reads the events to this file."
        ),
    ] = None,
    config: ConfigFile = None,
    events: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Records to read: a file's first ones, a topic's newest ones.")
    ] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print all facts as one line of JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file that -o names.")] = False,
) -> None:
    """Show what files or a topic hold, and propose the configuration with which the other commands read them.

    What the configuration given by -c sets is kept. Exit code 0: readable. 2: not readable; the last line says why.
    """
    if output and output.exists() and not force:
        raise CommandError(f"{output}: exists already; name another file, or overwrite it with --force")
    folder = config.parent if config else Path()
    settings = _seen_from(output.parent if output else folder, folder, read_config(config))
    found = _inspect(sources, settings, folder, events)
    if output and found.configuration is not None:
        output.write_text(found.configuration, "utf-8")
    if as_json:
        out.print(orjson.dumps(inspection_facts(found)).decode(), markup=False, highlight=False, soft_wrap=True)
    else:
        print_inspection(out, found)
    if found.configuration is None:
        raise typer.Exit(EXIT_FAILED)
    if not as_json:
        _print_next(found, sources, output)


def _seen_from(target: Path, folder: Path, settings: Config) -> Config:
    """Settings of a file in `folder` for one in `target`: a relative path means another folder there."""
    if settings.schemas.folder is None or target.resolve() == folder.resolve():
        return settings
    schemas = settings.schemas.model_copy(update={"folder": str((folder / settings.schemas.folder).resolve())})
    return settings.model_copy(update={"schemas": schemas})


def _inspect(sources: Sequence[str], settings: Config, folder: Path, events: int) -> Inspection:
    topic, source = topic_of(sources), Source(command=shlex.join(["driftline", "inspect", *sources]))
    if topic is not None:
        return _inspect_topic(topic, source, settings, folder, events)
    return _inspect_files(sources, source, settings, events)


def _inspect_topic(topic: str, source: Source, settings: Config, folder: Path, events: int) -> Inspection:
    messages, loader = _newest(settings, topic, events), schemas_of(settings, folder)
    if loader:
        loader.load_now([message.data for message in messages])
    schemas = loader.schemas if loader else None
    source = replace(source, name=topic, where=f"topic {topic}", is_topic=True, is_whole=False, schemas=schemas)
    return prove(inspect_messages(messages, source, settings), messages, source, settings)


def _inspect_files(paths: Sequence[str], source: Source, settings: Config, events: int) -> Inspection:
    source, read = replace(source, name=model_name(paths[0])), partial(_messages, paths)
    return inspect_records(read, source, partial(described, paths), settings, events, once=STDIN in paths)


def described(paths: Sequence[str], options: FileOptions) -> str:
    """The files and their formats, for people."""
    return "; ".join(path if path == STDIN else f"{path}: {describe_format(path, options)}" for path in paths)


def _messages(paths: Sequence[str], settings: Config, on_note: OnNote) -> Iterator[Message]:
    for path in paths:
        offset = count()
        with reading_messages([path], settings, on_note=on_note, chunk=_CHUNK) as batches:
            for batch in batches:
                yield from (Message(Origin(path, 0, next(offset)), message) for message in batch)


def _newest(settings: Config, topic: str, events: int) -> list[Message]:
    with reporting_kafka_errors():
        from driftline.stream.sources.topic_history import Newest, open_history, with_origins

        with (
            open_history(settings.kafka, topic, Newest(events), None) as history,
            progress_bar("reading", history.total, MofNCompleteColumn()) as advance,
        ):
            return [Message(origin, data) for data, origin in with_origins(topic, history.logs(advance))]


def model_name(path: str) -> str:
    """A model's name from a file's: data/churn.csv.gz holds the traffic of `churn`."""
    return _EXTENSIONS.sub("", Path(path).name).strip("-") or "model"


def _print_next(found: Inspection, sources: Sequence[str], output: Path | None) -> None:
    command = shlex.join(["driftline", "replay", *sources, "-c", str(output or "driftline.yaml")])
    if output:
        out.print(Text.assemble("written: ", (str(output), "bold"), "; next: ", (command, "bold")), soft_wrap=True)
    else:
        out.print(Text(f"\n{found.configuration}"), soft_wrap=True)
        hint("-o driftline.yaml writes this file")
