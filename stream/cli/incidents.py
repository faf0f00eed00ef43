"""`driftline incidents` and `driftline explain`: open and past incidents, and the full evidence of an alert."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import orjson
import typer
from rich.progress import MofNCompleteColumn
from rich.text import Text

from driftline.stream.alerts.feedback import LONGEST, Feedback, incident_rows, page_counts
from driftline.stream.alerts.find import AmbiguousIdError, FoundAlert, Lines, ListedIncident, find, may_be_id
from driftline.stream.alerts.read import AlertError, ReadAlert
from driftline.stream.cli.terminal import (
    EXIT_FOUND,
    AsJson,
    CommandError,
    ConfigFile,
    ReportFile,
    Verbose,
    current_user,
    err,
    hint,
    out,
    print_json,
    progress_bar,
    query_redis,
    read_config,
    reading_messages,
    reporting_kafka_errors,
)
from driftline.stream.config.sections import Config
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.replay.summary import unwatched_row
from driftline.stream.reports.alert import print_explanation, print_incidents
from driftline.stream.reports.replay import print_unwatched
from driftline.stream.text.printable import printable_json

if TYPE_CHECKING:
    from driftline.stream.results.overview import ModelView
    from driftline.stream.state.client import Client
    from driftline.stream.state.feedback import FeedbackStore
    from driftline.stream.state.incident_index import IncidentIndex, IndexedAlerts

app = typer.Typer()

ResultT = TypeVar("ResultT")


@app.command(name="incidents", epilog="Example: driftline incidents -c driftline.yaml --model fraud")
def incidents_command(
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="Only incidents of this model.")] = None,
    past: Annotated[
        bool, typer.Option("--past", help="Also resolved incidents: the newest, which Redis still has.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print each incident, and each unwatched field, as one line of JSON."),
    ] = False,
) -> None:
    """List open incidents, the most severe first, and the fields that no signal watches. Only reads Redis.

    Then how many pages each model had in the last 30 days, beside how many false ones are allowed.

    Exit code 0: no incident is open. 1: at least one is open. 2: failed.
    """
    settings, now = read_config(config), datetime.now(UTC)
    indexed, listed, feedback = _listed(settings)
    found = [each for each in listed if model in (None, each.newest.model)]
    kept = ((each.recent, each.is_full) for each in indexed)
    counts = [each for each in page_counts(settings, kept, feedback, now) if model in (None, each.model)]
    unwatched = [each for each in _unwatched(settings) if model in (None, each.model)]
    shown = [each for each in found if past or each.open]
    if json:
        rows = incident_rows(shown, counts, feedback, now)
        rows += [{"state": "unwatched", **unwatched_row(field)} for field in unwatched]
        for row in rows:
            typer.echo(printable_json(orjson.dumps(row).decode()))
    else:
        if shown:
            print_incidents(out, shown, now, feedback)
        else:
            out.print("no incidents" if past else "no open incidents")
        for count in counts:
            out.print(Text(str(count)), soft_wrap=True)
        print_unwatched(out, unwatched)
    raise typer.Exit(EXIT_FOUND if any(each.open for each in found) else 0)


@app.command(name="explain", epilog="Example: driftline explain 3f9a21c47be0d512 -c driftline.yaml --png drift.png")
def explain_command(
    alert: Annotated[
        str, typer.Argument(metavar="ALERT_ID", help="Id of an alert or of an incident, or its first characters.")
    ],
    config: ConfigFile = None,
    alerts: Annotated[
        Path | None,
        typer.Option(help="Search this file, written by `driftline replay --alerts`, instead of Redis and Kafka."),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw the evidence into this file.", dir_okay=False)] = None,
    page: ReportFile = None,
    verbose: Verbose = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the alert as it was published, one line of JSON.")
    ] = False,
) -> None:
    """Explain an alert: what changed, by how much, since when and where, the test's evidence, and what to do.

    Searches Redis, which has the newest alerts, then the alerts topic.

    Exit code 0: explained. 2: failed.
    """
    if not may_be_id(alert):
        raise typer.BadParameter(f"expected an id such as 3f9a21c47be0d512, or its first characters, got {alert!r}")
    settings = read_config(config)
    draw = _drawing() if png else None
    found = _search(_sources(settings, alerts), alert, alerts)
    allowed = settings.for_model(found.alert.model).allowed if config else ""
    if page:
        # Jinja2 takes a tenth of a second to import, which other commands should not pay.
        from driftline.stream.reports.page.alert import alert_page

        view = None if alerts else _over_time(settings, found)
        text = alert_page(found.alert, found.incident, allowed, view=view, live=alerts is None)
        page.write_text(text, "utf-8")
    if json:
        typer.echo(printable_json(found.line.decode()))
    else:
        print_explanation(out, found.alert, found.incident, allowed, verbose, live=alerts is None)
    if png and draw:
        count = draw(found.alert, png)
        hint(f"{png}: signals drawn: {count}" if count else "nothing to draw: this alert has no histograms")


@app.command(name="feedback", epilog="Example: driftline feedback 3f9a21c47be0d512 --false -c driftline.yaml")
def feedback_command(
    alert: Annotated[
        str, typer.Argument(metavar="ALERT_ID", help="Id of an alert or of an incident, or its first characters.")
    ],
    real: Annotated[
        bool, typer.Option("--real/--false", help="Whether the model had really changed, or the page was a false one.")
    ],
    config: ConfigFile = None,
    comment: Annotated[str, typer.Option(help=f"What it was, in {LONGEST:,} characters; a longer text is cut.")] = "",
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so; the current user by default.")] = None,
    json: AsJson = False,
) -> None:
    """Say of a page whether it was real: it is shown in the list of incidents, and counted beside what is allowed.

    It changes no threshold. Said again of the same incident, it replaces what was said before.

    Exit code 0: stored. 2: failed.
    """
    settings = read_config(config)
    found = find_alert(settings, alert).alert
    now, incident = datetime.now(UTC).timestamp(), found.incident_id or found.id
    feedback = Feedback(incident, found.model, real, by or current_user(), now, comment)
    _of_feedback(settings, lambda store: store.add(feedback))
    if json:
        print_json(msgspec.to_builtins(feedback))
    else:
        out.print(Text(f"incident {incident} of {found.model}: {feedback.words}"), soft_wrap=True)


def _over_time(settings: Config, found: FoundAlert) -> ModelView | None:
    """The signals of an alert's model over time; None if Redis has none, or cannot be read."""
    from driftline.stream.codec.frames import FormatError
    from driftline.stream.serve.signals import signals_of

    now = datetime.now(UTC).timestamp()
    try:
        return query_redis(settings.redis, lambda client: signals_of(client, settings, found, now))
    except (CommandError, FormatError) as error:
        err.print(Text(f"{error}; the page has no signals over time"))
        return None


def find_alert(settings: Config, wanted: str) -> FoundAlert:
    """The alert or the incident with an id, in Redis or on the alerts topic. Raises BadParameter and CommandError."""
    if not may_be_id(wanted):
        raise typer.BadParameter(f"expected an id such as 3f9a21c47be0d512, or its first characters, got {wanted!r}")
    return _search(_sources(settings, None), wanted)


def _of_feedback(settings: Config, query: Callable[[FeedbackStore], Awaitable[ResultT]]) -> ResultT:
    def run(client: Client) -> Awaitable[ResultT]:
        from driftline.stream.state.feedback import FeedbackStore

        return query(FeedbackStore(client, settings.worker.group))

    return query_redis(settings.redis, run)


def _listed(settings: Config) -> tuple[list[IndexedAlerts], list[ListedIncident], dict[str, Feedback]]:
    """The alerts that Redis has, all their incidents, sorted, and what people say of these."""

    async def query(index: IncidentIndex) -> tuple[list[IndexedAlerts], list[ListedIncident]]:
        indexed = await index.read()
        return indexed, await index.incidents(indexed)

    indexed, found = _query(settings, query)
    if not indexed:  # a misspelt group must not look like a group without incidents
        err.print(
            Text(f"no worker of the group {settings.worker.group} has judged anything with this configuration yet")
        )
    return indexed, sorted(found, key=lambda each: each.rank), _of_feedback(settings, lambda store: store.read())


def _search(sources: Iterator[Lines], wanted: str, file: Path | None = None) -> FoundAlert:
    """file: the only source, if one is given."""
    try:
        found = next((hit for lines in sources if (hit := find(lines, wanted))), None)
    except AmbiguousIdError as error:
        raise CommandError(f"several alerts have ids that begin with {wanted}:\n{error}") from error
    if found is None and file is not None:
        raise CommandError(f"{file}: holds no alert and no incident {wanted}; its lines have the ids")
    if found is None:
        raise CommandError(
            f"no alert and no incident {wanted}; list the newest with: driftline incidents --past. If this is the id "
            "of a page about several incidents, explain one of the incidents that the page names"
        )
    return found


def _sources(settings: Config, alerts: Path | None) -> Iterator[Lines]:
    """Where to search, the fastest source first."""
    if alerts is not None:
        yield lambda: _in_file(settings, alerts)
        return
    try:
        indexed = _query(settings, lambda index: index.read())
        yield lambda: (line for each in indexed for line in (*each.open, *each.recent))
    except CommandError as error:
        err.print(Text(f"{error}; searching the alerts topic"))
    yield lambda: _on_topic(settings)


def _in_file(settings: Config, path: Path) -> Iterator[bytes]:
    with reading_messages([str(path)], settings) as batches:
        for batch in batches:
            yield from batch


def _on_topic(settings: Config) -> Iterator[bytes | None]:
    """All alerts on the topic, partition by partition."""
    with reporting_kafka_errors():
        from driftline.stream.sources.topic_history import open_history

        with (
            open_history(settings.kafka, settings.topics.alerts, None, None) as history,
            progress_bar("reading", history.total, MofNCompleteColumn()) as advance,
        ):
            for log in history.logs(advance).values():
                for batch in log:
                    yield from batch.messages


def _unwatched(settings: Config) -> list[Unwatched]:
    """The fields that the group's workers do not watch, as they have reported within the last minutes."""

    def run(client: Client) -> Awaitable[list[Unwatched]]:
        from driftline.stream.state.unwatched import UnwatchedReports

        return UnwatchedReports(client, settings.worker.group).read(datetime.now(UTC).timestamp())

    return query_redis(settings.redis, run)


def _query(settings: Config, query: Callable[[IncidentIndex], Awaitable[ResultT]]) -> ResultT:
    """Query the incident index in Redis. Raises CommandError."""

    def run(client: Client) -> Awaitable[ResultT]:
        from driftline.stream.state.incident_index import IncidentIndex

        return query(IncidentIndex(client, settings.worker.group, settings.topics.panes))

    try:
        return query_redis(settings.redis, run)
    except AlertError as error:
        raise CommandError(f"this version cannot read an alert in Redis: {error}") from error


def _drawing() -> Callable[[ReadAlert, Path], int]:
    try:
        from driftline.stream.reports.plot import plot
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("matplotlib"):
            raise
        raise CommandError("--png needs matplotlib; install it with: pip install 'driftline[plot]'") from None
    return plot
