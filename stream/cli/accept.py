"""`driftline baseline accept`: what an incident has found is the new normal."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.progress import MofNCompleteColumn
from rich.text import Text

from driftline.detectors.summaries.codes import Kind
from driftline.stream.alerts.build import iso
from driftline.stream.alerts.find import FoundAlert
from driftline.stream.alerts.read import ReadAlert
from driftline.stream.baselines.accept import accept
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli.incidents import find_alert
from driftline.stream.cli.terminal import (
    MAX_REJECTED,
    CommandError,
    ConfigFile,
    MaxRejected,
    current_user,
    out,
    parse_share,
    parse_time,
    print_json,
    progress_bar,
    read_config,
    reporting_kafka_errors,
    schemas_of,
)
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.judge.incidents import FIELDS, REJECTED, TRAFFIC
from driftline.stream.sources.baselines import load_baseline

# ms. Records are stamped by another clock than events, and it may be behind by this much.
_SKEW = 60_000


class _Place(NamedTuple):
    """The file of the baseline that an incident was found against, and the signals that drifted against it."""

    path: Path
    version: str
    signals: frozenset[str]
    since: int


class _Read(NamedTuple):
    """The newest events of a stretch, and how many messages of it could not be read."""

    events: list[Event]
    messages: int
    rejected: int


def baseline_accept(
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="Id of an open incident, or of one of its alerts.")
    ],
    config: ConfigFile = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="RFC 3339 time of the first event; by default, when it drifted."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="RFC 3339 time after the last event; by default, now.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who accepts it; the current user by default.")] = None,
    max_rejected: MaxRejected = MAX_REJECTED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, and say what would be written.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make what an incident has found the reference: of its signals alone, from the events since they drifted.

    It takes effect once workers load their configuration again (SIGHUP): the incident is then resolved as accepted.

    Nobody is paged; histories and incidents of other signals go on. The former baseline is kept beside the new one.

    Exit code 0: written, or would be. 2: failed: no such open incident, too few events, or some that cannot be read.
    """
    allowed, settings = parse_share(max_rejected, "--max-rejected"), read_config(config)
    folder, found = config.parent if config else Path(), find_alert(settings, incident)
    place = _place(settings, folder, found)
    first = place.since if from_ is None else parse_time(from_, "--from")
    end = None if to is None else parse_time(to, "--to")
    parent = load_baseline(place.path)
    if parent.model != found.alert.model:
        raise CommandError(f"{place.path}: is the baseline of {parent.model!r}, and not of {found.alert.model!r}")
    _check_not_accepted(parent, place.path, found.alert.incident_id)
    read = _read(settings, folder, found.alert.model, place.version, first, end, parent.total.n)
    if read.messages and read.rejected > allowed * read.messages:
        raise CommandError(
            f"nothing is written: {read.rejected:,} of {read.messages:,} messages could not be read; driftline doctor "
            "says why, and --max-rejected allows more"
        )
    new = _accepted(settings, parent, place, read.events, found.alert, by or current_user())
    former = place.path.with_name(f"{place.path.stem}.{parent.content_hash[:8]}{place.path.suffix}")
    if not dry_run:
        _write(former, encode_baseline(parent))
        _write(place.path, encode_baseline(new))
    facts: dict[str, Any] = {
        "file": str(place.path), "former": str(former), "written": not dry_run, "content_hash": new.content_hash,
        "events": new.total.n, "since": iso(first), **dict(new.about["accepted"]),
    }  # fmt: skip
    print_json(facts) if json else _print(facts, found.alert, config, dry_run)


def _place(settings: Config, folder: Path, found: FoundAlert) -> _Place:
    """Where an open incident was found. Raises CommandError if it is closed, or about no signal with a file."""
    alert = max(found.incident, key=lambda each: each.seq)
    if alert.resolved:
        raise CommandError(f"incident {alert.incident_id} is closed: {alert.resolution or 'resolved'}")
    signals = [signal for each in found.incident for signal in each.signals]
    if alert.about != "model" or any(each.name in (TRAFFIC, REJECTED, FIELDS) for each in signals):
        raise CommandError(f"incident {alert.incident_id} is about no signal: traffic that stays is learned by itself")
    versions = {each.version for each in signals}
    section = settings.models.get(alert.model)
    files = section.baselines if section else {}
    if len({version if version in files else "" for version in versions}) > 1:
        raise CommandError(f"incident {alert.incident_id} is about several versions: {', '.join(sorted(versions))}")
    version = next((each for each in versions if each in files), "")
    named = files.get(version) or (section.baseline if section else None)
    if named is None:
        raise CommandError(
            f"model {alert.model} has no baseline file in the configuration: build one of the topic's events with "
            "`driftline baseline build`, and name it under `models`"
        )
    since = max(parse_time(each.since, "since") for each in signals)
    return _Place(folder / named, version, frozenset(each.name for each in signals), since)


def _check_not_accepted(parent: Baseline, path: Path, incident: str) -> None:
    """Raises CommandError if the baseline has what was accepted of an incident that is open still."""
    before = parent.about.get("accepted")
    if isinstance(before, Mapping) and before.get("incident") == incident:
        raise CommandError(
            f"{path}: incident {incident} was accepted already, by {before.get('by')} at {before.get('at')}: send "
            "SIGHUP to a worker that has this file, and it is in effect"
        )


def _read(settings: Config, folder: Path, model: str, version: str, first: int, end: int | None, wanted: int) -> _Read:
    """The newest events of a model in the predictions topic from `first` on, `wanted` at least. Times: epoch ms."""
    loader, found = schemas_of(settings, folder), _Read([], 0, 0)
    reader = EventReader(
        settings.mapping.event_mapping(), loader.schemas if loader else None, settings.limits.of_messages()
    )
    with reporting_kafka_errors():
        from driftline.stream.sources.topic_history import AtTime, open_history, with_origins

        topic = settings.topics.predictions
        with (
            open_history(settings.kafka, topic, AtTime(first - _SKEW), None, settings.limits.batch_bytes) as history,
            progress_bar("reading", history.total, MofNCompleteColumn()) as advance,
        ):
            logs = history.logs(advance)
            opened = logs if loader is None else {partition: loader.before(log) for partition, log in logs.items()}
            for message, origin in with_origins(topic, opened):
                found = found._replace(messages=found.messages + 1)
                try:
                    events, faults = reader.read(message, origin)
                except EventError:
                    found = found._replace(rejected=found.rejected + 1)
                    continue
                found = found._replace(rejected=found.rejected + bool(faults))
                found.events.extend(
                    each
                    for each in events
                    if each.model == model
                    and version in ("", each.version)
                    and each.ts >= first
                    and (end is None or each.ts < end)
                )
                if len(found.events) >= 2 * max(wanted, 10_000):
                    found.events[:] = sorted(found.events, key=lambda each: each.ts)[-wanted:]
    return found


def _accepted(
    settings: Config, parent: Baseline, place: _Place, events: Sequence[Event], alert: ReadAlert, by: str
) -> Baseline:
    own = settings.for_model(alert.model)
    facts = {"incident": alert.incident_id, "by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    zone = parent.cycles.timezone if parent.cycles else own.calendar.stated_timezone
    kinds = {name: Kind(kind) for name, kind in own.kinds.items()}
    try:
        return accept(parent, place.signals, events, facts, kinds, zone)
    except BaselineError as error:
        kept = f"; the topic holds it since {iso(min(each.ts for each in events))}" if events else ""
        raise CommandError(f"nothing is written: {error}{kept}") from error


def _write(path: Path, content: bytes) -> None:
    """Write a file at once: a worker that loads it meanwhile reads the former one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _print(facts: dict[str, Any], alert: ReadAlert, config: Path | None, dry_run: bool) -> None:
    signals = ", ".join(facts["signals"])
    stretch = f"{iso(facts['time_from'])} to {iso(facts['time_to'])}"
    would = "would be" if dry_run else "is"
    text = (
        f"{facts['file']} {would} the baseline in which {signals} of {alert.model} {would} as in {facts['events']:,} "
    )
    out.print(Text(f"{text}events from {stretch}"), soft_wrap=True)
    if dry_run:
        return
    check = ["driftline", "incidents", "--past", *(["-c", str(config)] if config else [])]
    out.print(Text(f"the one before is kept as {facts['former']}"), soft_wrap=True)
    out.print(
        Text(
            "send SIGHUP to a worker that has this file, and it is in effect in all: the incident is resolved as "
            f"accepted with the model's next events: {shlex.join(check)}"
        ),
        soft_wrap=True,
    )
