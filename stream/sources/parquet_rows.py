"""Tables of Parquet: which types become which JSON.

    numbers, decimals, booleans, text     themselves
    dates                                 days since 1970-01-01
    timestamps                            seconds since 1970-01-01
    durations, times of day               seconds
    structs, maps with names as keys      objects
    lists of plain values                 arrays, which are not monitored
    anything else                         left out

An event's time becomes text; without a time zone if the column has none, so that the zone of the mapping holds. A note
reports each column that was converted or left out, and those that hold nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.sources.table import (
    ABSENT,
    INDEX_LEVEL,
    Column,
    EventWriter,
    RowWriter,
    number,
    opened,
    plan_columns,
)


def parquet_batches(path: str, rows: EventWriter, note: OnNote, chunk: int) -> Iterator[tuple[list[bytes], int]]:
    """Lists of up to `chunk` events, each with the bytes of the file read so far. Raises InputError."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow; install it with: pip install 'driftline[parquet]'") from None
    size, read = Path(path).stat().st_size, 0
    try:
        with ParquetFile(path) as file:
            table = ArrowRows(path, file.schema_arrow, rows, note)
            for batch in file.iter_batches(chunk):
                read += batch.num_rows
                yield table.events(batch), size * read // file.metadata.num_rows
            table.report(note)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; the file is cut off or damaged, copy it again") from None


class ArrowRows:
    """Makes events of the rows of Arrow tables with one schema; remembers which columns have held nothing so far."""

    def __init__(self, path: str, schema: Any, rows: EventWriter, note: OnNote) -> None:
        flat = _flat(schema.empty_table())
        planned = plan_columns(path, _titles(flat.schema), rows.mapping, note)
        self._columns = [column for column in planned if _is_read(column, flat.schema.field(column.index).type, note)]
        self._empty = set(self._columns)
        own_values = [replace(column, index=at) for at, column in enumerate(self._columns)]
        self._writer = RowWriter(rows, [(column, _CONVERTERS[column.kind]) for column in own_values])

    def events(self, batch: Any) -> list[bytes]:
        """The events of a pyarrow.RecordBatch."""
        from pyarrow import Table

        flat = _flat(Table.from_batches([batch]))
        columns = {column: flat.column(column.index) for column in self._columns}
        self._empty -= {column for column, values in columns.items() if values.null_count < len(values)}
        values = [_python_values(column, values) for column, values in columns.items()]
        rows: Iterable[tuple[object, ...]] = zip(*values, strict=True) if values else [()] * batch.num_rows
        return list(map(self._writer.write, rows))

    def report(self, note: OnNote) -> None:
        """Say which columns hold nothing."""
        for column in self._columns:
            if column in self._empty:
                note(Note(column.title, "is null in every row"))


def _titles(schema: Any) -> list[str]:
    """The titles of the columns, where an index of times without a name is called `index`, unless a column is."""
    from pyarrow import types

    return [
        "index"
        if INDEX_LEVEL.fullmatch(name) and types.is_temporal(schema.field(at).type) and "index" not in schema.names
        else name
        for at, name in enumerate(schema.names)
    ]


def _flat(table: Any) -> Any:
    """The table with a column STRUCT.FIELD for each field of a struct, at any depth."""
    from pyarrow import types

    while any(types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _is_read(column: Column, kind: Any, note: OnNote) -> bool:
    """Whether a column is read; says what happens to a column that is left out or converted."""
    if column.kind != "value":
        return True
    words = next((words for fits, words in _conversions() if fits(kind)), None)
    if words:
        note(Note(column.title, words))
    elif not _is_plain(kind):
        note(Note(column.title, f"is left out: values of the type {kind} cannot be monitored"))
        return False
    return True


def _conversions() -> Iterator[tuple[Any, str]]:
    from pyarrow import types

    yield types.is_date, "dates are read as days since 1970-01-01"
    yield types.is_timestamp, "timestamps are read as seconds since 1970-01-01"
    yield types.is_duration, "durations are read in seconds"
    yield types.is_time, "times of day are read as seconds since midnight"


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_map(kind):
        return types.is_string(kind.key_type) and _is_scalar(kind.item_type)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return _is_scalar(kind.value_type) if any(fits(kind) for fits in lists) else _is_scalar(kind)


def _is_scalar(kind: Any) -> bool:
    from pyarrow import types

    scalars = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return any(fits(kind) for fits in (*scalars, *texts))


def _python_values(column: Column, values: Any) -> list[Any]:
    """The values of a column as Python and JSON have them."""
    from pyarrow import types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if types.is_temporal(kind):
        return _amounts(values) if column.kind == "value" else _times(values)
    python: list[Any] = values.to_pylist()
    if types.is_map(kind):
        return [None if pairs is None else dict(pairs) for pairs in python]
    if types.is_binary(kind) or types.is_large_binary(kind):
        return [None if value is None else value.decode("utf-8", "backslashreplace") for value in python]
    return python


def _amounts(values: Any) -> list[Any]:
    """Dates as days, all other temporal values as seconds."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_date(values.type):
        days: list[Any] = values.cast(pyarrow.date32()).cast(pyarrow.int32()).to_pylist()
        return days
    zone = getattr(values.type, "tz", None)
    fine = pyarrow.timestamp("us", zone) if types.is_timestamp(values.type) else pyarrow.duration("us")
    if types.is_time(values.type):
        fine = pyarrow.time64("us")
    microseconds = values.cast(fine, safe=False).cast(pyarrow.int64()).cast(pyarrow.float64(), safe=False)
    seconds: list[Any] = compute.divide(microseconds, 1e6).to_pylist()
    return seconds


def _times(values: Any) -> list[Any]:
    """Dates and timestamps as ISO 8601 text, with Z if they have a time zone."""
    import pyarrow
    from pyarrow import types

    if not (types.is_date(values.type) or types.is_timestamp(values.type)):
        return [None if value is None else str(value) for value in values.to_pylist()]
    zone = getattr(values.type, "tz", None)
    instants = values.cast(pyarrow.timestamp("us", zone), safe=False)
    texts = instants.cast(pyarrow.timestamp("us")).cast(pyarrow.string()).to_pylist()
    end = "Z" if zone else ""
    return [text and text.replace(" ", "T") + end for text in texts]


_CONVERTERS = {
    "text": lambda value: ABSENT if value is None else str(value),
    "time": lambda value: ABSENT if value is None else value,
    "object": lambda value: ABSENT if value is None else opened(value),
    "value": lambda value: number(value) if type(value) is float else value,
}
