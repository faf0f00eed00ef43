"""Tables in memory: pandas, Polars, Arrow and whatever else exports Arrow streams, columns in a dict, rows as dicts.

All of them become Arrow, so a frame is read as a Parquet file with the same columns is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from warnings import catch_warnings, simplefilter

from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.sources.inputs import InputError, OnNote
from driftline.stream.sources.parquet_rows import ArrowRows
from driftline.stream.sources.table import EventWriter

# Rows that are converted at once.
_CHUNK = 2_000
_KINDS = "a pandas or Polars data frame, an Arrow table, a dict of columns or a list of dicts"


class Frame:
    """A table in memory. name: of the model if no column has it. title: which argument it is.

    Raises InputError if it cannot become an Arrow table.
    """

    def __init__(self, frame: Any, name: str, title: str) -> None:
        self.name, self.title = name, title
        self._table = _as_arrow(frame, title)
        if not self._table.num_rows:
            raise InputError(f"{title}: has no rows")

    def messages(self, settings: Config, on_note: OnNote) -> Iterator[bytes]:
        """Its rows, as the mapping says."""
        rows = ArrowRows(self.title, self._table.schema, EventWriter(settings.mapping.event_mapping()), on_note)
        for batch in self._table.to_batches(_CHUNK):
            yield from rows.events(batch)
        rows.report(on_note)

    def describe(self, _options: FileOptions) -> str:
        """Its title and size."""
        return f"{self.title}: {self._table.num_rows:,} rows of {self._table.num_columns:,} columns"


def _as_arrow(frame: Any, title: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"{title}: needs pyarrow; install it with: pip install 'driftline[parquet]'") from None
    try:
        if isinstance(frame, pyarrow.Table):
            return frame
        if isinstance(frame, Mapping):
            return pyarrow.table(_named(frame))
        if isinstance(frame, Sequence) and all(isinstance(row, Mapping) for row in frame):
            return pyarrow.table(_columns(frame))
        if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__dataframe__"):
            with catch_warnings():  # pandas: names that are no text become text, which is what is wanted
                simplefilter("ignore", UserWarning)
                return pyarrow.table(frame)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{title}: {error}; give each column values of one type, and all columns one length") from None
    raise InputError(f"{title}: expected {_KINDS}, got {type(frame).__name__}")


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return _named({name: [row.get(name) for row in rows] for name in names})


def _named(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """The columns by names that are text. Raises ValueError if two are the same."""
    named = {str(name): values for name, values in columns.items()}
    if len(named) < len(columns):
        raise ValueError(f"two columns have one name: {', '.join(map(repr, columns))}")
    return named
