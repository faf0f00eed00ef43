"""`driftline replay`: detection over files or over a topic's history, and where its alerts go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import MofNCompleteColumn

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.cli.terminal import (
    EXIT_FAILED,
    EXIT_FOUND,
    MAX_REJECTED,
    ConfigFile,
    EventSources,
    MaxRejected,
    ReportFile,
    Verbose,
    command_line,
    err,
    hint,
    out,
    parse_share,
    parse_time,
    print_json,
    print_remarks,
    progress_bar,
    read_config,
    reading_messages,
    reporting_kafka_errors,
    schemas_of,
    topic_of,
    writable,
)
from driftline.stream.config.remarks import replaced_baselines
from driftline.stream.config.sections import Config
from driftline.stream.events.parse import EventReader
from driftline.stream.replay.panes import Find, replay_panes
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.replay.run import ReplayResult, as_single_partition, replay, select_time_range
from driftline.stream.replay.summary import summary
from driftline.stream.replay.verdict import Outcome, Verdict, decide
from driftline.stream.reports import replay as report
from driftline.stream.sources.baselines import load_baselines, load_given, load_versions
from driftline.stream.sources.calendars import load_calendars

if TYPE_CHECKING:
    from driftline.stream.sources.schemas import SchemaLoader
    from driftline.stream.sources.topic_history import TopicPosition

app = typer.Typer()

EXIT_CODES = {Outcome.NO_DRIFT: 0, Outcome.DRIFT: EXIT_FOUND, Outcome.TOO_LITTLE: EXIT_FAILED}
_OFFSET = "offset:"

Logs = Mapping[int, Iterable[LogBatch]]

_Alerts = Annotated[
    Path | None, typer.Option(callback=writable, help="Write the alerts to this file, each as one line of JSON.")
]
_ToTopic = Annotated[
    str | None,
    typer.Option(help="Also publish the alerts to this topic, in mode replay. It must not be a live topic."),
]
_From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Skip earlier events (RFC 3339). With a topic, each partition starts at its first record with this "
        "or a later Kafka timestamp; or at offset N, given as offset:N.",
    ),
]
_Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|kafka://TOPIC",
        help="Labels that come by themselves, read as `mapping.labels` says; a topic's for a topic. Models whose "
        "`outcomes` say nothing else are judged by them. Repeat for more files.",
    ),
]
_FromPanes = Annotated[
    bool,
    typer.Option(
        "--from-panes",
        help="The source is the panes topic of a live group (kafka://TOPIC): judge its panes and ticks again, in "
        "their order. That repeats the live alerts to the byte, if the topic still has the group's first pane and "
        "the configuration is that of then.",
    ),
]


@app.command(
    name="replay",
    epilog="Examples:\n\ndriftline replay live.jsonl.gz --baseline fraud.driftline --alerts alerts.jsonl\n\n"
    "driftline replay kafka://predictions -c driftline.yaml --from 2026-01-31T08:00:00Z --to 2026-01-31T20:00:00Z\n\n"
    "driftline replay live.jsonl.gz -b fraud.driftline --labels chargebacks.jsonl\n\n"
    "driftline replay kafka://driftline.panes --from-panes -c driftline.yaml --alerts again.jsonl",
)
def replay_command(
    context: typer.Context,
    sources: EventSources,
    config: ConfigFile = None,
    baseline: Annotated[
        list[Path] | None, typer.Option("--baseline", "-b", help="Baseline file. Repeat for more models.")
    ] = None,
    alerts: _Alerts = None,
    to_topic: _ToTopic = None,
    from_: _From = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Stop before this time or offset; same format as --from.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model of table rows that name no model.")] = None,
    max_rejected: MaxRejected = MAX_REJECTED,
    labels: _Labels = None,
    from_panes: _FromPanes = False,
    page: ReportFile = None,
    verbose: Verbose = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead, with the verdict and all counts.")
    ] = False,
) -> None:
    """Run the detection over events from files or from a topic's history, and print what drifted.

    Changes nothing live: no state, no consumer group, no live topic.

    Exit code 0: no drift. 1: drift found. 2: failed, or too little was judged to say that nothing drifts.
    """
    allowed = parse_share(max_rejected, "--max-rejected")
    settings = _with_labels(read_config(config), labels)
    folder = config.parent if config else Path()
    baselines, versions = _references(settings, folder, baseline or [])
    started, topic = time.monotonic(), topic_of(sources)
    _check_panes(from_panes, topic, to_topic or from_, page, labels)
    source = _files(settings, sources, model, from_, to) if topic is None else _history(settings, topic, from_, to)
    labelled = _label_logs(settings, labels, topic, model, from_)
    loader, calendars = schemas_of(settings, folder), load_calendars(settings, folder)
    schemas = loader.schemas if loader else None
    output = _alert_output(settings, alerts, to_topic, None if json else verbose)
    with source as logs, labelled as label_logs, output as on_alert:
        if from_panes:
            known = _stored_baselines(settings), calendars.for_model, versions
            result = replay_panes(settings, baselines, logs, on_alert, *known)
        else:
            read = _with_schemas(logs, loader)
            more = (topic, schemas, calendars.for_model, versions, page is not None, _with_schemas(label_logs, loader))
            result = replay(settings, baselines, read, on_alert, *more)
    print_remarks(result.remarks)
    verdict = decide(result, settings, baselines, allowed)
    if page:
        command = command_line(context, "page", "json", "alerts", "to_topic", "verbose")
        _write_page(page, result, verdict, settings, sources, command)
    if json:
        print_json(summary(result, verdict))
    else:
        report.print_summary(out, result, verdict, time.monotonic() - started, topic is None)
    raise typer.Exit(EXIT_CODES[verdict.outcome])


def _references(
    settings: Config, folder: Path, paths: list[Path]
) -> tuple[list[Baseline], dict[str, dict[str, Baseline]]]:
    """The baselines of models, and those of versions by model. paths: of files that are given by themselves."""
    given = load_given(paths)
    print_remarks(replaced_baselines(settings, given))
    baselines, versions = [*load_baselines(settings, folder, given).values()], load_versions(settings, folder, given)
    if not baselines and not versions:
        hint(f"no baseline given: each model's is learned from its first {settings.defaults.learn_events:,} events")
    return baselines, versions


def _check_panes(
    from_panes: bool, topic: str | None, others: str | None, page: Path | None, labels: list[str] | None
) -> None:
    """Refuse what a replay of the panes topic cannot do, if it is one. others: --to-topic or --from."""
    if not from_panes:
        return
    if topic is None or others:
        raise typer.BadParameter("--from-panes takes kafka://TOPIC, the panes topic, and neither --to-topic nor --from")
    if page:
        raise typer.BadParameter("--report: a replay of panes keeps no history; replay the predictions topic")
    if labels:
        raise typer.BadParameter("--labels: a replay of panes has the labels that the group has read")


def _write_page(
    page: Path, result: ReplayResult, verdict: Verdict, settings: Config, sources: list[str], command: str
) -> None:
    # Jinja2 takes a tenth of a second to import, which other commands should not pay.
    from driftline.stream.reports.page.page import replay_page

    page.write_text(replay_page(result, verdict, settings, ", ".join(sources), command), "utf-8")


def _with_schemas(logs: Logs, loader: SchemaLoader | None) -> Logs:
    return logs if loader is None else {partition: loader.before(log) for partition, log in logs.items()}


@contextmanager
def _files(settings: Config, paths: list[str], model: str | None, from_: str | None, to: str | None) -> Iterator[Logs]:
    """The files as the log of one partition."""
    first, end = (
        None if text is None else parse_time(text, option) for text, option in ((from_, "--from"), (to, "--to"))
    )
    check_order(first, end)
    with reading_messages(paths, settings, model) as batches:
        reader = EventReader(settings.mapping.event_mapping(), limits=settings.limits.of_messages())
        yield {0: select_time_range(as_single_partition(batches), reader, first, end)}


def _with_labels(settings: Config, labels: list[str] | None) -> Config:
    """The configuration of a replay with labels: where it says nothing of labels, they are those that are given.

    Raises BadParameter if it has no use for them.
    """
    if not labels:
        return settings
    if settings.labelled_by("topic") is None and settings.labelled_by("event") is not None:
        raise typer.BadParameter(
            "--labels: the configuration reads labels of events; write `outcomes: {labels: topic}`"
        )
    if settings.defaults.outcomes.labels is not None:
        return settings
    outcomes = settings.defaults.outcomes.model_copy(update={"labels": "topic"})
    return settings.model_copy(update={"defaults": settings.defaults.model_copy(update={"outcomes": outcomes})})


@contextmanager
def _label_logs(
    settings: Config, labels: list[str] | None, topic: str | None, model: str | None, from_: str | None
) -> Iterator[Logs]:
    """The labels' logs: of files one, of a topic one for each partition, from the predictions' first time on."""
    own = topic_of(labels or [])
    if not labels:
        yield {}
    elif (own is None) != (topic is None):
        raise typer.BadParameter("--labels: events of files have labels of files, those of a topic of kafka://TOPIC")
    elif own is not None:
        # Offsets of one topic say nothing of another.
        with _history(settings, own, None if from_ is None or from_.startswith(_OFFSET) else from_, None) as logs:
            yield logs
    else:
        with reading_messages(labels, _reading_labels(settings), model) as batches:
            yield {0: as_single_partition(batches)}


def _reading_labels(settings: Config) -> Config:
    """The configuration with the columns of labels in the place of those of events."""
    return settings.model_copy(update={"mapping": settings.mapping.labels})


@contextmanager
def _history(settings: Config, topic: str, from_: str | None, to: str | None) -> Iterator[Logs]:
    """The logs of a topic's partitions, with a progress bar over their offsets."""
    first, end = place_of(from_, "--from"), place_of(to, "--to")
    if type(first) is type(end):
        check_order(first, end)
    with reporting_kafka_errors():
        from driftline.stream.sources.topic_history import open_history

        with open_history(settings.kafka, topic, first, end, settings.limits.batch_bytes) as history:
            if not history.total:
                err.print(f"nothing to read: topic {topic} has no records in this range")
            with progress_bar("reading", history.total, MofNCompleteColumn()) as advance:
                yield history.logs(advance)


def place_of(text: str | None, option: str) -> TopicPosition | None:
    """The value of --from or --to of a topic, a time or an offset. Raises BadParameter."""
    from driftline.stream.sources.topic_history import AtOffset, AtTime

    if text is None:
        return None
    if not text.startswith(_OFFSET):
        return AtTime(parse_time(text, option))
    number = text.removeprefix(_OFFSET)
    if not (number.isascii() and number.isdecimal()):
        raise typer.BadParameter(f"{option}: expected {_OFFSET}N with N from 0, got {text!r}")
    return AtOffset(int(number))


def check_order(first: Any, end: Any) -> None:
    """Raises BadParameter unless the one is before the other."""
    if first is not None and end is not None and first >= end:
        raise typer.BadParameter("--from must be before --to")


@contextmanager
def _alert_output(
    settings: Config, path: Path | None, topic: str | None, shown: bool | None
) -> Iterator[Callable[[IncidentAlert], None]]:
    """A function that, as far as wanted, prints an alert, writes it to a file and publishes it to a topic.

    shown: whether it is printed with all its evidence; None: it is not printed.
    """
    with path.open("wb") if path else nullcontext() as file, _publisher(settings, topic) as publish:

        def on_alert(alert: IncidentAlert) -> None:
            if shown is not None:
                report.print_alert(out, alert.data, shown)
            if file:
                file.write(encode_alert(alert) + b"\n")
            publish(alert)

        yield on_alert


@contextmanager
def _publisher(settings: Config, topic: str | None) -> Iterator[Callable[[IncidentAlert], None]]:
    if topic is None:
        yield lambda _: None
        return
    with reporting_kafka_errors():
        from driftline.stream.kafka.produce import open_producer, publish_alert
        from driftline.stream.schemas.topics import wanted_topics

        if topic in {each.name for each in wanted_topics(settings.topics)}:
            raise typer.BadParameter(
                f"--to-topic: {topic} is a live topic, which a replay never writes to; name another"
            )
        with open_producer(settings.kafka, topic) as producer:
            yield lambda alert: publish_alert(producer, topic, alert)


def _stored_baselines(config: Config) -> Find:
    """Finds baselines that the group has used, in its Redis; none that it lacks, or while it cannot be reached."""
    from driftline.stream.state.client import StoreError, connect
    from driftline.stream.state.references import StoredBaselines

    unreachable = list[StoreError]()

    async def load(model: str, content_hash: str) -> bytes | None:
        async with aclosing(connect(config.redis)) as client:
            return await StoredBaselines(client, config.worker.group).load(model, content_hash)

    def find(model: str, content_hash: str) -> Baseline | None:
        if unreachable:
            return None
        try:
            content = asyncio.run(load(model, content_hash))
            return None if content is None else decode_baseline(content)
        except StoreError as error:
            unreachable.append(error)
            print_remarks([f"baselines that only the group's Redis has are not known: {error}"])
        except BaselineError as error:
            print_remarks([f"model {model}: baseline {content_hash[:12]}… in Redis is of no use: {error}"])
        return None

    return find
