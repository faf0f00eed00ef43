"""Tables, from files or from memory, that can be read more than once; and which of their columns is what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import combinations, islice
from typing import Protocol

from driftline.stream.config.files import FileOptions
from driftline.stream.config.load import parse_config
from driftline.stream.config.mapping import Mapping as EventPaths
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import RECORD, Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.inspect import Inspection, Message, Source, watching
from driftline.stream.sources.inputs import InputError, OnNote
from driftline.stream.sources.inspected import inspect_records

# Rows from which it is guessed which column is what.
_INSPECTED = 10_000
#: The time of rows that have none, epoch ms.
NO_TIME = 0


class Table(Protocol):
    """Rows that become messages as the mapping and the section `files` of a configuration say."""

    @property
    def name(self) -> str:
        """The name of the model if no column has it."""
        ...

    @property
    def title(self) -> str:
        """What people call it: its path, or its place among the arguments."""
        ...

    def messages(self, settings: Config, on_note: OnNote) -> Iterator[bytes]:
        """Its rows from the first one on. Raises InputError."""
        ...

    def describe(self, options: FileOptions) -> str:
        """Its title and format. Raises InputError."""
        ...


def inspect_table(table: Table, config: Config, parts: Mapping[str, str], command: str) -> Inspection:
    """Which column is what; where none is a time, rows are read as records without one.

    config: settings that are kept. parts: columns that are settled, by the part of the event that they are. command:
    for people. Raises InputError.
    """
    _check_names(table, config, parts)
    found = _inspect_as(table, config, parts, command)
    if found.configuration is None and found.proposal.timeless and "ts" not in parts:
        found = _inspect_as(table, config, {**parts, "ts": RECORD}, command)
    _check_columns(found, table, config, parts)
    return found


def inspect_both(
    live: Table, reference: Table, config: Config, parts: Mapping[str, str], command: str
) -> tuple[Inspection, str | None]:
    """Which column is what in `live`, where nothing is left out that is a signal in the reference; and the label of the
    reference, if `live` has none yet.

    A column that turned into ids, free text or a counter has changed; by itself it would be left out as useless.
    Raises InputError, also if the tables have no column in common.
    """
    comes_later = (
        "label" in parts and not _has(live, parts["label"], config) and _has(reference, parts["label"], config)
    )
    label = {"label": parts["label"]} if comes_later else {}
    parts = {part: column for part, column in parts.items() if part not in label}
    found = inspect_table(live, config, parts, command)
    if found.configuration is None:
        return found, None
    proposed, id_ = parse_config(found.configuration, "the proposal"), found.proposal.fields.get("id")
    is_guessed = id_ is not None and id_.value != RECORD and "id" not in {*parts, *config.mapping.model_fields_set}
    paths = proposed.mapping.model_dump(exclude_unset=True)
    mapping = EventPaths(**{part: path for part, path in paths.items() if part != "id" or not is_guessed})
    settings = config.model_copy(update={"mapping": mapping, "files": proposed.files})
    before = _inspect_as(reference, settings, {"ts": RECORD, **label}, command)
    _check_common(found, before, live, reference)
    if is_guessed and id_ is not None and f"features.{id_.value}" in before.signals:
        return inspect_both(live, reference, config, {**parts, **label, "id": RECORD}, command)
    names = [name for name in found.proposal.excluded if name in before.signals and not _counts(name, found, before)]
    watched = watching(found, names, found.source, config) if names else found
    return watched, _later(found, before, is_named=bool(label))


def _later(found: Inspection, before: Inspection, is_named: bool) -> str | None:
    """The label of a reference whose other table has none yet. Without predictions, a guess might hide a lost one."""
    label, fields = before.proposal.fields.get("label"), found.proposal.fields
    is_there = label is None or label.value in [column.path for column in found.columns]
    is_likely = is_named or not {"prediction", "score"}.isdisjoint(fields)
    return None if label is None or is_there or not is_likely else str(label.value)


def _has(table: Table, column: str, config: Config) -> bool:
    """Whether a table has a column."""
    return column in [each.path for each in _inspect_as(table, config, {"ts": RECORD, "id": RECORD}, "").columns]


def _counts(name: str, found: Inspection, before: Inspection) -> bool:
    """Whether a column counts the rows now and has numbers of rows, of which none is twice, in the reference."""
    short = name.removeprefix("features.")
    now, then = (
        next((column for column in each.columns if f".{column.path}".endswith(f".{short}")), None)
        for each in (found, before)
    )
    return now is not None and then is not None and now.is_counter and then.is_whole and then.is_unique


def _check_common(found: Inspection, before: Inspection, live: Table, reference: Table) -> None:
    """Raise InputError if all that the tables share says who and when, and nothing of what changed."""
    fields = found.proposal.fields.items()
    named = {str(each.value) for part, each in fields if part in ("id", "ts", "model", "version")}
    here, there = ([each.path for each in found.columns if each.path not in named] for found in (found, before))
    if here and there and not set(here) & set(there):
        raise InputError(
            f"{live.title} and {reference.title} have no column in common to compare: {_listed(here)} in one, "
            f"{_listed(there)} in the other; rename the columns of one, or name another reference"
        )


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:20]) + ", …" * (len(columns) > 20)


def _inspect_as(table: Table, config: Config, parts: Mapping[str, str], command: str) -> Inspection:
    settings = with_paths(config, **parts)
    source = Source(name=table.name, command=command)

    def read(config: Config, on_note: OnNote) -> Iterator[Message]:
        for offset, message in enumerate(table.messages(config, on_note)):
            yield Message(Origin(table.title, 0, offset, NO_TIME if parts.get("ts") == RECORD else None), message)

    return inspect_records(read, source, table.describe, settings, _INSPECTED)


def _check_names(table: Table, config: Config, parts: Mapping[str, str]) -> None:
    """Raises InputError if parts were given columns that can be none, or one column twice."""
    for part, column in parts.items():
        if not all(map(str.strip, column.split("."))):
            raise InputError(f"{table.title}: {column!r} is no name of a column for the {_option(part)}; name one")
    for (part, column), (other, same) in combinations(parts.items(), 2):
        if column == same:
            raise InputError(
                f"{table.title}: the column {column!r} cannot be the {_option(part)} and the {_option(other)}; name two"
            )
    try:
        with_paths(config, **parts)
    except ValueError:
        usual = {str(path): part for part, path in config.mapping.model_dump().items() if part not in parts}
        part, column = next((part, column) for part, column in parts.items() if column in usual)
        other = _option(usual[column])
        raise InputError(
            f"{table.title}: the column {column!r} is the {other} by its name, and cannot be the {_option(part)}, too; "
            f"name another column for the {other}, or rename this one"
        ) from None


def _option(part: str) -> str:
    return "time" if part == "ts" else part


def _check_columns(found: Inspection, table: Table, config: Config, parts: Mapping[str, str]) -> None:
    """Raises InputError if a part was given a column that the table does not have."""
    columns = [each.path for each in found.columns]
    if "id" in parts and parts["id"] != RECORD:  # rows of a table are given the id that they lack
        columns = [each.path for each in _inspect_as(table, config, {**parts, "id": RECORD}, "").columns]
    for part, column in parts.items():
        if column not in columns and found.documents and column != RECORD:
            near = get_close_matches(column, columns, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(
                f"{table.title}: has no column {column!r} for the {_option(part)}{hint} "
                f"The columns are {_listed(columns)}"
            )


def with_paths(config: Config, **paths: str | None) -> Config:
    """The configuration where these parts of an event lie elsewhere; None: where they lie by default."""
    given = {**config.mapping.model_dump(exclude_unset=True), **paths}
    mapping = EventPaths(**{part: path for part, path in given.items() if path is not None})
    return config.model_copy(update={"mapping": mapping})


def is_timed(table: Table, config: Config) -> bool:
    """Whether the first rows of a table have times."""
    reader = EventReader(config.mapping.event_mapping(), limits=config.limits.of_messages())
    first = list(islice(table.messages(config, lambda _: None), 100))
    return any(_reads(reader, row, index) for index, row in enumerate(first))


def _reads(reader: EventReader, row: bytes, index: int) -> bool:
    try:
        reader.head(row, Origin("", 0, index))
    except EventError:
        return False
    return True
