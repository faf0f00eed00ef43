"""How well a model does, by tables or topics: predictions with their labels, or with labels that are joined by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np

from driftline.stream.config.load import parse_config
from driftline.stream.config.mapping import Mapping as EventPaths
from driftline.stream.config.sections import Config
from driftline.stream.events.candidates import likely_path
from driftline.stream.events.mapping import RECORD
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.inspect import Inspection
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.join import Joined, join
from driftline.stream.outcomes.performance import Performance, Wishes, performance
from driftline.stream.outcomes.rows import Labels, Rows
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.scan.outcome_rows import Schemas, as_log, read_labels, read_rows, with_origins
from driftline.stream.scan.tables import Table, inspect_table, is_timed, with_paths
from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.text.phrases import listed

# Parts of a table of labels.
_OF_LABELS = ("id", "ts", "unit", "format", "zone", "label", "nulls")
# Parts that people are shown.
_SHOWN = ("id", "ts", "prediction", "score", "label")
# Messages of a topic in which the names of its models are looked for.
_FIRST = 1_000


@dataclass(frozen=True)
class Tables:
    """What is read.

    reference_label: the column of the reference with the label; None for one of the same name, or one that looks like
    it. parts: columns that are settled, by the part of the event that they are; "label" is one of `labels` if that is
    given. model: the one to evaluate, where the table holds several.
    """

    live: Table
    reference: Table | None = None
    reference_label: str | None = None
    labels: Table | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    config: Config = field(default_factory=Config)
    model: str | None = None
    command: str = "driftline performance"


class TopicLog(Protocol):
    """A topic that can be read more than once; its schemas grow while it is read."""

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def schemas(self) -> Schemas:
        """The schemas of its frames."""
        ...

    def read(self) -> Iterator[tuple[int, LogBatch]]:
        """The batches of its partitions."""
        ...


@dataclass(frozen=True)
class Topics:
    """What is read: predictions as `config` maps them, and labels in the published format of label events."""

    config: Config
    live: TopicLog
    labels: TopicLog | None = None
    reference: Table | None = None
    reference_label: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """A performance, which column is what, and what a reader should know of what was read."""

    performance: Performance
    columns: Mapping[str, str]
    model: str
    notes: tuple[str, ...]


def evaluate(tables: Tables, wishes: Wishes) -> Evaluated:
    """How well the model of a table does. Raises InputError or ConfigError."""
    notes = dict[str, None]()
    own = {part: column for part, column in tables.parts.items() if part != "label" or tables.labels is None}
    found = inspect_table(tables.live, tables.config, own, tables.command)
    if found.configuration is None:
        raise InputError(f"{tables.live.title}: {found.problem or 'cannot be read'}")
    config = parse_config(found.configuration, "the proposal")
    model = _one_model(tables.live.title, sorted(found.models), tables.model)
    timed = found.proposal.fields["ts"].value != RECORD
    live, joined = _table_rows(tables.live, config, model, timed, notes), None
    if tables.labels is not None:
        live, joined = join(live, _table_labels(tables.labels, tables, config.mapping.id, notes))
    reference = _reference(tables.reference, tables.reference_label, config, model, timed, notes)
    result = _performance(tables.live.title, live, reference, wishes, joined, timed)
    return Evaluated(result, _columns(found), model, tuple(notes))


def evaluate_topics(topics: Topics, wishes: Wishes) -> Evaluated:
    """How well a model of a topic does. Raises InputError."""
    notes, config, title = dict[str, None](), topics.config, topics.live.title
    model = topics.model or _one_model(title, _first_models(topics), None)
    live, joined = read_rows(title, topics.live.read(), config, model, notes, topics.live.schemas), None
    if topics.labels is not None:
        native = config.model_copy(update={"mapping": EventPaths()})
        log = topics.labels.read()
        labels = read_labels(topics.labels.title, log, native, notes, model=model, schemas=topics.labels.schemas)
        live, joined = join(live, labels)
    reference = _reference(topics.reference, topics.reference_label, config, model, True, notes)
    mapping = config.mapping.event_mapping()
    columns = {part: str(getattr(mapping, part)) for part in _SHOWN}
    return Evaluated(_performance(title, live, reference, wishes, joined, True), columns, model, tuple(notes))


def _performance(
    title: str, live: Rows, reference: Rows | None, wishes: Wishes, joined: Joined | None, timed: bool
) -> Performance:
    try:
        return performance(live, reference, wishes, joined, timed)
    except OutcomesError as error:
        raise InputError(f"{title}: {error}") from None


def _columns(found: Inspection) -> dict[str, str]:
    fields = found.proposal.fields
    return {part: str(fields[part].value) for part in _SHOWN if part in fields}


def _one_model(title: str, names: list[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in names:
        raise InputError(f"{title}: holds no events of {wanted!r}; it has {listed(names)}")
    if wanted is None and len(names) != 1:
        raise InputError(f"{title}: holds events of {listed(names) or 'no model'}; name one with --model")
    return wanted or names[0]


def _first_models(topics: Topics) -> list[str]:
    """The models of the first messages of a topic."""
    config = topics.config
    mapping, limits = config.mapping.event_mapping(), config.limits.of_messages()
    reader, names = EventReader(mapping, topics.live.schemas, limits), set[str]()
    for message, origin in islice(with_origins(topics.live.title, topics.live.read()), _FIRST):
        try:
            names.add(reader.head(message, origin).model)
        except EventError:
            continue
    return sorted(names)


def _reference(
    table: Table | None, label: str | None, config: Config, model: str, timed: bool, notes: dict[str, None]
) -> Rows | None:
    """The labelled predictions to compare with. label: its column, if it is another one than in `config`."""
    if table is None:
        return None
    config = with_paths(config, label=_reference_label(table, label, config, notes))
    has_times = timed and is_timed(table, config)
    if timed and not has_times:
        notes.setdefault(f"{table.title}: has no times; its rows are taken to be in their order")
    return _table_rows(table, config, model, has_times, notes)


def _reference_label(table: Table, label: str | None, config: Config, notes: dict[str, None]) -> str:
    """The column of a reference that holds the label. Raises InputError if there is none."""
    usual, parts = config.mapping.event_mapping().label, {} if label is None else {"label": label}
    bare = with_paths(config, ts=RECORD, id=RECORD, label=None)
    found = inspect_table(table, bare, parts, "driftline performance")
    columns = [column.path for column in found.columns]
    if label is None and usual in columns:
        return usual
    own = found.proposal.fields.get("label")
    if own is None:
        raise InputError(
            f"{table.title}: has no column {usual!r} with the label. If another one has it, rename that, or name it: "
            f"driftline performance --reference-label COLUMN. The columns are {listed(columns, 20)}"
        )
    if label is None:
        notes.setdefault(f"{table.title}: the label is taken to be {own.value}")
    return str(own.value)


def _table_rows(table: Table, config: Config, model: str, timed: bool, notes: dict[str, None]) -> Rows:
    """The predictions of a model in a table; without times, all have the same one."""
    if not timed:
        config = with_paths(config, ts=RECORD)
    log = as_log(table.messages(config, _noting(notes)), None if timed else np.zeros_like)
    return read_rows(table.title, log, config, model, notes)


def _table_labels(table: Table, tables: Tables, id_path: str, notes: dict[str, None]) -> Labels:
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
    log = as_log(table.messages(config, _noting(notes)), np.copy)
    return read_labels(table.title, log, config, notes, timed=timed)


def _settled(table: Table, tables: Tables, id_path: str) -> dict[str, str]:
    """The id and, if it is given, the label: ids of labels repeat, so their name alone says which column it is."""
    columns = [column.path for column in inspect_table(table, tables.config, {}, tables.command).columns]
    given = {part: column for part, column in tables.parts.items() if part == "label"}
    named = (tables.parts.get("id"), id_path, likely_path("id", columns))
    if (id_ := next((each for each in named if each in columns), None)) is not None:
        given["id"] = id_
    return given


def _noting(notes: dict[str, None]) -> OnNote:
    def on_note(note: Note) -> None:
        notes.setdefault(f"{note.field}: {note.reason}")

    return on_note
