"""How well a model does, by tables: predictions whose rows hold their label, or labels in a table of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from driftline.stream.config.load import parse_config
from driftline.stream.config.mapping import Mapping as EventPaths
from driftline.stream.config.sections import Config
from driftline.stream.events.candidates import likely_path
from driftline.stream.events.columns import LABEL, Columns, Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import UnfitValueError, as_text
from driftline.stream.events.mapping import RECORD, Origin, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.inspect import Inspection
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.join import join
from driftline.stream.outcomes.performance import Performance, Wishes, performance
from driftline.stream.outcomes.rows import Labels, Rows
from driftline.stream.scan.tables import NO_TIME, Table, inspect_table, is_timed
from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.text.phrases import counted, listed

_CHUNK = 2_000
# What is read of an event; a prediction and a label are compared as text, and so is a number that a program wrote.
_FIELDS = Field("prediction", numeric=False, whole=True), Field("score", numeric=True)
_LABEL = Field(LABEL, numeric=False, whole=True)
# Parts of a table of labels.
_OF_LABELS = ("id", "ts", "unit", "format", "zone", "label", "nulls")


@dataclass(frozen=True)
class Tables:
    """What is read. parts: columns that are settled, by the part of the event that they are; "label" is one of `labels`
    if that is given. model: the one to evaluate, where the table holds several."""

    live: Table
    reference: Table | None = None
    labels: Table | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    config: Config = field(default_factory=Config)
    model: str | None = None
    command: str = "driftline performance"


@dataclass(frozen=True)
class Evaluated:
    """A performance, which column is what, and what a reader should know of the tables."""

    performance: Performance
    found: Inspection
    model: str
    notes: tuple[str, ...]


def evaluate(tables: Tables, wishes: Wishes) -> Evaluated:
    """How well the model of a table does. Raises InputError or ConfigError."""
    notes = dict[str, None]()
    own = {part: column for part, column in tables.parts.items() if part != "label" or tables.labels is None}
    found = inspect_table(tables.live, tables.config, own, tables.command)
    if found.configuration is None:
        raise InputError(f"{tables.live.title}: {found.problem or 'cannot be read'}")
    config, model = parse_config(found.configuration, "the proposal"), _model(found, tables)
    timed = found.proposal.fields["ts"].value != RECORD
    live, joined = _rows(tables.live, config, model, timed, notes), None
    if tables.labels is not None:
        live, joined = join(live, _labels(tables.labels, tables, config.mapping.id, notes))
    reference = None
    if tables.reference is not None:
        reference_timed = timed and is_timed(tables.reference, config)
        reference = _rows(tables.reference, config, model, reference_timed, notes)
        if timed and not reference_timed:
            notes.setdefault(f"{tables.reference.title}: has no times; its rows are taken to be in their order")
    try:
        return Evaluated(performance(live, reference, wishes, joined, timed), found, model, tuple(notes))
    except OutcomesError as error:
        raise InputError(f"{tables.live.title}: {error}") from None


def _model(found: Inspection, tables: Tables) -> str:
    names = sorted(found.models)
    if tables.model is not None and tables.model not in names:
        raise InputError(f"{tables.live.title}: holds no events of {tables.model!r}; it has {listed(names)}")
    if tables.model is None and len(names) > 1:
        raise InputError(f"{tables.live.title}: holds events of {listed(names)}; name one with --model")
    return tables.model or names[0]


def _rows(table: Table, config: Config, model: str, timed: bool, notes: dict[str, None]) -> Rows:
    """The predictions of a model in a table; without times, all have the same one."""
    if not timed:
        paths = config.mapping.model_copy(update={"ts": RECORD})
        config = config.model_copy(update={"mapping": EventPaths(**paths.model_dump(exclude_unset=True))})
    decoder = Decoder(
        {model: _FIELDS}, config.mapping.event_mapping(), limits=config.limits.of_messages(), extras=[_LABEL]
    )
    parts, offset, rejected, reason, others = list[Columns](), 0, 0, "", 0
    for messages in _chunks(table.messages(config, _noting(notes))):
        offsets = np.arange(offset, offset + len(messages))
        times = None if timed else np.full(len(messages), NO_TIME, np.int64)
        decoded = decoder.decode(messages, Origins(table.title, 0, offsets, times))
        parts += [decoded.known[model]] if model in decoded.known else []
        others += sum(map(len, decoded.unknown.values()))
        rejected += len(decoded.rejections)
        reason = reason or next((each.reason for each in decoded.rejections), "")
        offset += len(messages)
    if rejected:
        notes.setdefault(f"{table.title}: {counted(rejected, 'row')} of {offset:,} are no events: {reason}")
    if others:
        notes.setdefault(f"{table.title}: {counted(others, 'event')} of other models are left out")
    if not parts:
        raise InputError(f"{table.title}: holds no events of {model!r}" + (f": {reason}" if reason else ""))
    return _as_rows(Columns.concatenate(parts))


def _as_rows(columns: Columns) -> Rows:
    return Rows(columns.ids, columns.ts, columns.texts[0], columns.numeric[:, 0], columns.extras[LABEL])


def _labels(table: Table, tables: Tables, id_path: str, notes: dict[str, None]) -> Labels:
    """The labels of a table. id_path: of the predictions. Raises InputError if it names no id or no label."""
    found = inspect_table(table, tables.config, _settled(table, tables, id_path), tables.command)
    fields = {part: each.value for part, each in found.proposal.fields.items() if part in _OF_LABELS}
    for part in ("id", "label"):
        if fields.get(part, RECORD) == RECORD:
            columns = listed([column.path for column in found.columns], 20)
            raise InputError(
                f"{table.title}: no column is known as the {part}; name it with --{part}. It has {columns}"
            )
    timed = fields.setdefault("ts", RECORD) != RECORD
    config = tables.config.model_copy(update={"mapping": EventPaths(model="=labels", **fields)})
    reader = EventReader(config.mapping.event_mapping(), limits=config.limits.of_messages(), extras=[LABEL])
    ids, ts, label, odd, reason = list[str](), list[int](), list[str](), 0, ""
    for offset, message in enumerate(table.messages(config, _noting(notes))):
        try:
            head = reader.head(message, Origin(table.title, 0, offset, offset))
            text = as_text(head.extras[LABEL], whole=True)
            if text is None:
                raise EventError("label: missing")
        except (EventError, UnfitValueError) as error:
            odd, reason = odd + 1, reason or str(error)
            continue
        ids.append(head.id)
        ts.append(head.ts)
        label.append(text)
    if odd:
        notes.setdefault(f"{table.title}: {counted(odd, 'row')} of {odd + len(ids):,} are no labels: {reason}")
    if not timed:
        notes.setdefault(f"{table.title}: has no times; of several labels of an id, the last one counts")
    return Labels(ids, np.array(ts, np.int64), label, timed)


def _settled(table: Table, tables: Tables, id_path: str) -> dict[str, str]:
    """The id and, if it is given, the label: ids of labels repeat, so their name alone says which column it is."""
    columns = [column.path for column in inspect_table(table, tables.config, {}, tables.command).columns]
    given = {part: column for part, column in tables.parts.items() if part == "label"}
    named = (tables.parts.get("id"), id_path, likely_path("id", columns))
    if (id_ := next((each for each in named if each in columns), None)) is not None:
        given["id"] = id_
    return given


def _chunks(messages: Iterator[bytes]) -> Iterator[Sequence[bytes]]:
    while chunk := list(islice(messages, _CHUNK)):
        yield chunk


def _noting(notes: dict[str, None]) -> OnNote:
    def on_note(note: Note) -> None:
        notes.setdefault(f"{note.field}: {note.reason}")

    return on_note
