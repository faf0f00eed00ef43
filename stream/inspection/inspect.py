"""Inspects a sample of messages: what they hold, which mapping reads them, what stays unread. No I/O, no clock.

The proof of a proposal is the configuration itself: its text is parsed, and the exact reader reads the sample by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from driftline.stream.config.diagnostics import ConfigError
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.frames import Schema, schema_ids
from driftline.stream.events.mapping import PRESETS, REST, Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.columns import Column, describe_columns
from driftline.stream.inspection.configuration import configuration_text
from driftline.stream.inspection.draft import Choice, Proposal
from driftline.stream.inspection.proposal import propose
from driftline.stream.inspection.shapes import Shape, recognise_shape
from driftline.stream.text.phrases import counted

# Places of a fault that are named; the first ones are enough to find it.
_PLACES = 3
# Share of the records that must be events: with fewer, the mapping is not the right one.
_ENOUGH = 0.5
# Sections of a given configuration that are kept in the proposed one.
_KEPT = {"kafka", "topics", "files", "schemas"}
# Events from which a baseline is worth learning; a sample of less than twice as many is judged after half of it.
_LEAST, _DEFAULT = 100, 5000


class Message(NamedTuple):
    """A message and where it comes from."""

    origin: Origin
    data: bytes | None


@dataclass(frozen=True)
class Source:
    """Where a sample comes from.

    name: for a model that no column names. where, command: for people. notes: what its reader had to say. is_topic:
    whether records have a time of their own. is_whole: whether the sample is all there is. schemas: of its
    schema-registry frames, by id.
    """

    name: str = "model"
    where: str = ""
    command: str = "driftline inspect"
    notes: tuple[str, ...] = ()
    is_topic: bool = False
    is_whole: bool = True
    schemas: Mapping[int, Schema] | None = None


@dataclass
class Fault:
    """Why some records are no events: the first reason of its kind, how many there are, and the first places."""

    reason: str
    count: int
    places: list[str]


@dataclass(frozen=True)
class Inspection:
    """What a sample holds.

    source: where it comes from. records: messages read. documents: those that hold an object. columns: of the documents
    or, of messages with many rows, of their rows. proposal: how to map them. read: records that are events, `events`:
    of these, with many rows in a record. signals: names of the monitored ones. models: events of each. faults: why
    records are no events. schemas: ids of the schema-registry frames. configuration: YAML. problem: why the sample
    cannot be read, None if it can.
    """

    source: Source
    records: int
    documents: int = 0
    columns: Sequence[Column] = ()
    shape: Shape | None = None
    proposal: Proposal = field(default_factory=Proposal)
    read: int = 0
    events: int = 0
    signals: Sequence[str] = ()
    models: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    schemas: Sequence[int] = ()
    configuration: str | None = None
    problem: str | None = None

    @property
    def notes(self) -> list[str]:
        """What a reader should know, in sentences."""
        features = [name for name in self.signals if name.startswith("features.")]
        unnamed = bool(features) and all(name.removeprefix("features.").isdecimal() for name in features)
        nameless = ["the features have no names; list theirs in `mapping.names`"] if unnamed else []
        left_out = [
            f"{name.removeprefix('features.')} is left out: {why}" for name, why in self.proposal.excluded.items()
        ]
        return [*self.source.notes, *left_out, *self.proposal.notes, *nameless]

    def use(self, column: Column) -> str:
        """What becomes of a column: the part of an event that it is, a feature, or nothing."""
        for part, choice in self.proposal.fields.items():
            if choice.value == column.path:
                return part
        mapped = self.proposal.fields.get("features")
        home = "" if mapped is None or mapped.value == REST else f"{mapped.value}."
        name = column.path if column.path in self.signals else f"features.{column.path.removeprefix(home)}"
        if name in self.signals:
            return name.partition(".")[0].removesuffix("s")
        return "left out" if name in self.proposal.excluded else "not monitored"

    @property
    def outcome(self) -> str:
        """What the mapping reads, in a sentence."""
        rows = "" if self.events == self.read else f" with {self.events:,} rows"
        features = sum(name.startswith("features.") for name in self.signals)
        return (
            f"With this mapping {self.read:,} of {self.records:,} records are events{rows}, "
            f"{counted(features, 'feature')}."
        )


def inspect_messages(
    messages: Sequence[Message],
    source: Source,
    settings: Config = Config(),  # noqa: B008 # frozen
) -> Inspection:
    """What the messages hold, and a configuration that should read them; `prove` says whether it does.

    settings: what it sets is kept.
    """
    documents, faults = _open(messages, _reader(settings, source))
    found = Inspection(
        source, len(messages), len(documents), faults=faults, schemas=sorted(schema_ids(each.data for each in messages))
    )
    if len(documents) < _ENOUGH * max(len(messages), 1) or not documents:
        return replace(found, problem=_worst(found) if faults else "there are no records")
    given = settings.mapping.model_dump(include=settings.mapping.model_fields_set, mode="json")
    shape, columns = _shape(given, documents), describe_columns(documents)
    proposal = propose(columns, shape, name=source.name, is_topic=source.is_topic, given=given)
    found = replace(found, columns=columns, shape=shape, proposal=proposal, problem=proposal.problem)
    return found if found.problem else replace(found, configuration=_text(found, source, settings))


def prove(found: Inspection, messages: Sequence[Message], source: Source, settings: Config) -> Inspection:
    """The inspection with what its own configuration reads from the messages.

    messages: the same ones, as the configuration has them read. settings: as those of the inspection.
    """
    if found.configuration is None:
        return found
    try:
        config = parse_config(found.configuration, "the proposal")
    except ConfigError as error:
        return replace(found, problem=f"no mapping found: {error}", configuration=None)
    mapping = config.mapping.event_mapping()
    events, read, faults = _read(messages, _reader(config, source))
    monitored = {
        name: None for event in events for name, value in event.signals.items()
        if isinstance(value, str | int | float) and config.defaults.signals.selects(name)
    }  # fmt: skip
    found = replace(
        found, read=read, events=len(events), faults=faults, signals=list(monitored),
        columns=_row_columns(events) if mapping.rows and events else found.columns,
        models=Counter(event.model for event in events),
    )  # fmt: skip
    if read < _ENOUGH * found.records:
        return replace(found, problem=_worst(found), configuration=None)
    if not monitored:
        return replace(found, problem="nothing to monitor: all columns are left out", configuration=None)
    return replace(found, configuration=_text(found, source, settings))


def watching(found: Inspection, names: Collection[str], source: Source, settings: Config) -> Inspection:
    """The inspection where signals of these names are not left out, whatever their values look like."""
    excluded = {name: why for name, why in found.proposal.excluded.items() if name not in names}
    kept = [name for name in found.proposal.excluded if name in names]
    proposal = replace(found.proposal, excluded=excluded)
    found = replace(found, proposal=proposal, signals=[*found.signals, *kept])
    return replace(found, configuration=_text(found, source, settings))


def _row_columns(events: Sequence[Event]) -> list[Column]:
    """The columns of events, which are their signals; the objects around these are none."""
    return describe_columns([
        {name: value for name, value in event.signals.items() if value != {}} for event in events
    ])  # fmt: skip


def _text(found: Inspection, source: Source, settings: Config) -> str:
    sections = settings.model_dump(include=_KEPT, exclude_defaults=True, mode="json")
    if source.is_topic:
        sections["topics"] = {**sections.get("topics", {}), "predictions": source.name}
    outcome = found.outcome if found.read else None
    return configuration_text(found.proposal, source.command, outcome, sections, _learning(found, source))


def _learning(found: Inspection, source: Source) -> Choice | None:
    """Events of the warm-up for a sample that is too small for the default; None if it is not."""
    most = max(found.models.values(), default=0)
    if not source.is_whole or not 0 < most < 2 * _DEFAULT:
        return None
    if most < 2 * _LEAST:
        return Choice(_LEAST, f"the least possible; {most:,} events are few")
    return Choice(most // 2, f"half of the {most:,} events; the default, {_DEFAULT}, is for longer logs")


def _reader(settings: Config, source: Source) -> EventReader:
    return EventReader(settings.mapping.event_mapping(), source.schemas, settings.limits.of_messages())


def _open(messages: Iterable[Message], reader: EventReader) -> tuple[list[dict[str, Any]], list[Fault]]:
    documents, faults = list[dict[str, Any]](), _Faults()
    for message in messages:
        try:
            documents.append(reader.document(message.data))
        except EventError as error:
            faults.add(str(error), message.origin)
    return documents, faults.ranked()


def _shape(given: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Shape | None:
    if preset := given.get("preset"):
        return Shape(preset, given.get("features", PRESETS[preset]["features"]), "given")
    return None if "features" in given else recognise_shape(documents)


def _read(messages: Iterable[Message], reader: EventReader) -> tuple[list[Event], int, list[Fault]]:
    """The events of the messages, how many messages hold any, and why the others do not."""
    events, read, faults = list[Event](), 0, _Faults()
    for message in messages:
        try:
            parsed = reader.read(message.data, message.origin)
        except EventError as error:
            faults.add(str(error), message.origin)
            continue
        events += parsed.events
        read += bool(parsed.events)
        for fault in parsed.faults:
            faults.add(f"a row: {fault.reason}", message.origin)
    return events, read, faults.ranked()


class _Faults:
    """Faults by kind: the part of the reason before the value, as values are unbounded."""

    def __init__(self) -> None:
        self._found: dict[str, Fault] = {}

    def add(self, reason: str, origin: Origin) -> None:
        fault = self._found.setdefault(reason.partition(", got ")[0], Fault(reason, 0, []))
        fault.count += 1
        if fault.count <= _PLACES:
            fault.places.append(place(origin))

    def ranked(self) -> list[Fault]:
        return sorted(self._found.values(), key=lambda fault: -fault.count)


def place(origin: Origin) -> str:
    """Where a record is, for people: rows of a file count from 1."""
    if origin.timestamp is None:
        return f"record {origin.offset + 1:,}"
    return f"offset {origin.offset:,} (partition {origin.partition})"


def _worst(found: Inspection) -> str:
    worst = found.faults[0]
    return f"{worst.count:,} of {found.records:,} records are no events: {worst.reason} ({', '.join(worst.places)})"
