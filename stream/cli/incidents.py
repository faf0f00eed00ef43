"""`driftline incidents` and `driftline explain`: what is open, what was, and the whole evidence of an alert."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import orjson
import typer
from rich.progress import MofNCompleteColumn
from rich.text import Text

from driftline.stream.alerts.explain import as_row
from driftline.stream.alerts.find import AmbiguousIdError, FoundAlert, Lines, ListedIncident, find
from driftline.stream.alerts.read import AlertError, ReadAlert
from driftline.stream.cli.terminal import (
    FOUND,
    CommandError,
    ConfigFile,
    ask_redis,
    err,
    kafka_in_words,
    out,
    progress_bar,
    read_config,
    reading,
)
from driftline.stream.config.sections import Config
from driftline.stream.reports.alert import print_explanation, print_incidents

if TYPE_CHECKING:
    from driftline.stream.state.client import Client
    from driftline.stream.state.incident_index import IncidentIndex, IndexedAlerts

app = typer.Typer()

AnswerT = TypeVar("AnswerT")
# An id has 16 digits; beginnings shorter than this would mean several alerts too often.
_ID = re.compile(r"[\w-]{4,128}")


@app.command(name="incidents", epilog="Example: driftline incidents -c driftline.yaml --model fraud")
def incidents_command(
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    past: Annotated[bool, typer.Option("--past", help="Also resolved ones: the newest, as Redis has them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON for each.")] = False,
) -> None:
    """List open incidents, the worst first. Reads Redis, writes nothing.

    Exit code 0: none is open. 1: some are. 2: failed.
    """
    found = [each for each in _listed(read_config(config)) if model in (None, each.newest.model)]
    shown = [each for each in found if past or each.open]
    now = datetime.now(UTC)
    if json:
        for each in shown:
            typer.echo(orjson.dumps(as_row(each, now)))
    elif shown:
        print_incidents(out, shown, now)
    else:
        out.print("no incidents" if past else "no open incidents")
    raise typer.Exit(FOUND if any(each.open for each in found) else 0)


@app.command(name="explain", epilog="Example: driftline explain 3f9a21c47be0d512 -c driftline.yaml --png drift.png")
def explain_command(
    alert: Annotated[
        str, typer.Argument(metavar="ALERT_ID", help="Id of an alert or of an incident, or how it begins.")
    ],
    config: ConfigFile = None,
    alerts: Annotated[
        Path | None,
        typer.Option(help="Look in this file, as `driftline replay --alerts` writes it; no server is asked."),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the evidence into this file too.", dir_okay=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the alert as it was told, one line of JSON.")] = False,
) -> None:
    """Explain an alert: what has changed, how much, since when and where, what the test says, and what to do.

    It is looked for in Redis, which has the newest, then on the alerts topic.

    Exit code 0: explained. 2: failed.
    """
    if not _ID.fullmatch(alert):
        raise typer.BadParameter(f"expected an id such as 3f9a21c47be0d512, or how it begins, got {alert!r}")
    settings = read_config(config)
    draw = _drawing() if png else None
    found = _search(_sources(settings, alerts), alert)
    if json:
        typer.echo(found.line)
    else:
        print_explanation(out, found.alert, found.incident, _rate(settings, found.alert) if config else None)
    if png and draw:
        count = draw(found.alert, png)
        err.print(Text(f"{png}: signals drawn: {count}" if count else "nothing to draw: this alert holds no figures"))


def _listed(settings: Config) -> list[ListedIncident]:
    """All incidents that Redis has, sorted."""

    async def question(archive: IncidentIndex) -> tuple[list[IndexedAlerts], list[ListedIncident]]:
        kept = await archive.read()
        return kept, await archive.incidents(kept)

    kept, found = _ask(settings, question)
    if not kept:  # a misspelt group must not look like peace
        err.print(
            Text(f"no worker of the group {settings.worker.group} has judged anything from this configuration yet")
        )
    return sorted(found, key=lambda each: each.rank)


def _search(sources: Iterator[Lines], wanted: str) -> FoundAlert:
    try:
        found = next((hit for lines in sources if (hit := find(lines, wanted))), None)
    except AmbiguousIdError as error:
        raise CommandError(f"{wanted} begins the ids of several alerts:\n{error}") from error
    if found is None:
        raise CommandError(
            f"no alert and no incident {wanted}; driftline incidents --past lists some. A relay's page of several "
            "incidents names them: explain one of those"
        )
    return found


def _sources(settings: Config, alerts: Path | None) -> Iterator[Lines]:
    """Where to look, the quickest first."""
    if alerts is not None:
        yield lambda: _in_file(alerts)
        return
    try:
        kept = _ask(settings, lambda archive: archive.read())
        yield lambda: (line for each in kept for line in (*each.open, *each.recent))
    except CommandError as error:
        err.print(Text(f"{error}; looking on the alerts topic"))
    yield lambda: _on_topic(settings)


def _in_file(path: Path) -> Iterator[bytes]:
    with reading([str(path)], None) as batches:
        for batch in batches:
            yield from batch


def _on_topic(settings: Config) -> Iterator[bytes | None]:
    """All alerts that the topic holds, partition by partition."""
    with kafka_in_words():
        from driftline.stream.sources.topic_history import open_history

        with (
            open_history(settings.kafka, settings.topics.alerts, None, None) as history,
            progress_bar("reading", history.total, MofNCompleteColumn()) as advance,
        ):
            for log in history.logs(advance).values():
                for batch in log:
                    yield from batch.messages


def _ask(settings: Config, question: Callable[[IncidentIndex], Awaitable[AnswerT]]) -> AnswerT:
    """What the archive in Redis answers; CommandError."""

    def ask(client: Client) -> Awaitable[AnswerT]:
        from driftline.stream.state.incident_index import IncidentIndex

        return question(IncidentIndex(client, settings.worker.group, settings.topics.panes))

    try:
        return ask_redis(settings.redis, ask)
    except AlertError as error:
        raise CommandError(f"Redis holds what this version cannot read: {error}") from error


def _rate(settings: Config, told: ReadAlert) -> float:
    return settings.for_model(told.model).false_alarms_per_event


def _drawing() -> Callable[[ReadAlert, Path], int]:
    try:
        from driftline.stream.reports.plot import plot
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("matplotlib"):
            raise
        raise CommandError("--png needs matplotlib; install it with: pip install 'driftline[plot]'") from None
    return plot
