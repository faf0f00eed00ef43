"""Tables of CSV: their delimiter, and what a cell means.

    cell                    value
    (empty)                 missing
    12, 12.5, 1e3, inf      a number; with `decimal: ","` 12,5 instead of 12.5
    true, False             a boolean
    2,604  26.8 %  $12      text, as is everything else; a note counts the cells that look like numbers

A row whose number of cells differs from the header's is passed on as a sentence that names its line, which the decoder
rejects as it does a malformed line of JSON. If cells look like numbers with a decimal comma, the file is refused: as
text they would be categories that say nothing of a shift.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import orjson

from driftline.stream.config.files import FileOptions
from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.sources.table import (
    ABSENT,
    Column,
    Converter,
    EventWriter,
    RowWriter,
    number,
    opened,
    plan_columns,
)

if TYPE_CHECKING:
    from _csv import Reader

# Of two delimiters that fit alike, the first is taken: the one that is rarer in texts and numbers.
_DELIMITERS = "\t|;,"
_WORDS = {"\t": "tabs", "|": "bars", ";": "semicolons", ",": "commas"}
# Lines from which the delimiter is found: enough that a few ragged rows are outvoted.
_SAMPLE = 50
# A row of more lines is checked for swallowed rows. Longer texts are rare, and hold few delimiters; with half as many,
# addresses in quotes would be checked, too.
_MANY_LINES = 10
# Texts of a column whose meaning is remembered. A category has few of them; an id, new ones in every row.
_REMEMBERED = 1000
_EXACT = 2**53  # a float64 holds every integer below this; larger numbers are read as floats
_BOOLEANS = {"true": True, "false": False}

_UNITS = "%‰$€£¥₹"
# Digits, maybe with commas, apostrophes or blanks among them, and a unit beside them ...
_FORMATTED = re.compile(rf"[{_UNITS}]?\s?[+-]?[.,]?\d[\d.,'\s]*[{_UNITS}]?")
# ... but with nothing else than dots among them, they are a version or an address.
_DOTTED = re.compile(r"[\d.+-]*")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def csv_events(
    path: str, text: TextIOWrapper, options: FileOptions, rows: EventWriter, note: OnNote
) -> Iterator[bytes]:
    """The events of a table. Raises InputError, which names the line."""
    lines = _lines(path, text)
    sample = list(islice(lines, _SAMPLE))
    delimiter = options.delimiter or find_delimiter(sample)
    reader = csv.reader(chain(sample, lines), delimiter=delimiter, strict=True)
    try:
        filled = _filled(path, reader)
        header = next(filled, [])
        columns = plan_columns(path, header, rows.mapping, note)
        cells = [_Cells(column, options, delimiter) for column in columns]
        writer = RowWriter(rows, [(each.column, each.converter) for each in cells])
        empty = columns
        for row in filled:
            if len(row) != len(header):
                yield orjson.dumps(f"line {reader.line_num}: {len(row)} cells, but the header has {len(header)}")
                continue
            if empty:
                empty = [column for column in empty if not row[column.index]]
            yield writer.write(row)
    except _DecimalCommaError as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}", {"decimal": ","}) from None
    for each in cells:
        each.report(note)
    for column in empty:
        note(Note(column.title, "is empty in every row"))


def _filled(path: str, reader: Reader) -> Iterator[list[str]]:
    """The rows that are not empty. Raises InputError, which names the line where the row begins that is no row."""
    end, width = 0, 0
    try:
        for row in reader:
            width = width or len(row)
            if reader.line_num > end + _MANY_LINES and _holds_rows(row, width, reader.dialect.delimiter):
                raise csv.Error("rows of the table lie in one cell")
            end = reader.line_num
            if row:
                yield row
    except csv.Error as error:
        opened = f" (in a quote that opens here and goes on to line {reader.line_num})" * (reader.line_num > end + 1)
        raise InputError(f"{path}: line {end + 1}: {error}{opened}; correct or delete it") from None


def _holds_rows(row: Sequence[str], width: int, delimiter: str) -> bool:
    """Whether a cell has swallowed rows: two stray quotes, each valid by itself, make one cell of all between them."""
    inner = [line.count(delimiter) + 1 for cell in row for line in cell.splitlines()[1:-1]]
    return width > 1 and sum(cells >= width for cells in inner) > len(inner) / 2


def describe_delimiter(path: str, text: TextIOWrapper, options: FileOptions) -> str:
    """The delimiter of a table in words, as in "commas". Raises InputError."""
    delimiter = options.delimiter or find_delimiter(list(islice(_lines(path, text), _SAMPLE)))
    return _WORDS.get(delimiter, repr(delimiter))


def find_delimiter(sample: Sequence[str]) -> str:
    """The delimiter with which most lines have as many cells as the first; of equals, that with most cells.

    >>> find_delimiter(["id;amount, EUR", "1;2,5", "2;3,0"])
    ';'
    """
    best = max(_DELIMITERS, key=lambda delimiter: _fit(sample, delimiter))
    return best if _fit(sample, best)[1] else ","


def _fit(sample: Sequence[str], delimiter: str) -> tuple[int, int]:
    try:
        header, *rows = map(len, filter(None, csv.reader(sample, delimiter=delimiter)))
    except (csv.Error, ValueError):  # a cell is too long, or there is no line
        return 0, 0
    return (rows.count(header), header) if header > 1 else (0, 0)


def _lines(path: str, text: TextIOWrapper) -> Iterator[str]:
    read = count()
    try:
        for line in text:
            next(read)
            yield line
    except UnicodeDecodeError as error:
        # All lines before this block of bytes have been read, and none that ends in it.
        number_of_line = next(read) + len((error.object[: error.start] + b".").splitlines())
        encoding = text.encoding.removesuffix("-sig").upper()
        raise InputError(
            f"{path}: line {number_of_line}: not {encoding}; save the file as UTF-8, or name its encoding in the "
            "configuration, as in `files: {encoding: latin-1}`",
            {"encoding": "latin-1"},
        ) from None


class _DecimalCommaError(Exception):
    """A cell looks like a number with a decimal comma, and nobody has said that it is text."""


class _Cells(dict[str, object]):
    """The values of a column's cells, worked out when first asked for; those of repeated texts are remembered."""

    def __init__(self, column: Column, options: FileOptions, delimiter: str) -> None:
        super().__init__({"": ABSENT})
        self.column = column
        self._comma = options.decimal == ","
        self._delimiter = "," if "decimal" in options.model_fields_set else delimiter
        self._formatted, self._example = 0, ""

    @property
    def converter(self) -> Converter:
        """The function from a cell to its value."""
        if self.column.kind == "text":
            return lambda cell: cell or ABSENT
        return (lambda cell: opened(self[cell])) if self.column.kind == "object" else self.__getitem__

    def __missing__(self, cell: str) -> object:
        # Python reads "18_24" as 1824.0, but in a CSV file it is an age bracket.
        if "_" in cell or (self._comma and "." in cell):
            return self._text(cell)
        try:
            value = float(cell.replace(",", ".") if self._comma else cell)
        except ValueError:
            return self._text(cell)
        is_integer = cell.lstrip("+-").isdecimal() and abs(value) < _EXACT
        return int(value) if is_integer else number(value)

    def _text(self, cell: str) -> object:
        if self.column.kind == "value" and (self._comma or not _DOTTED.fullmatch(cell)) and _FORMATTED.fullmatch(cell):
            self._check_comma(cell)
            self._formatted, self._example = self._formatted + 1, self._example or cell
            return cell
        value = _BOOLEANS.get(cell.lower(), cell)
        if len(self) < _REMEMBERED:
            self[cell] = value
        return value

    def _check_comma(self, cell: str) -> None:
        """Refuse a decimal comma, unless cells are split at commas, so that a comma in one was quoted with intent."""
        is_decimal = self._delimiter != "," and _DECIMAL_COMMA.fullmatch(cell)
        if is_decimal and (self._delimiter == ";" or not _THOUSANDS.fullmatch(cell)):
            raise _DecimalCommaError(
                f"column {self.column.title!r}: {cell!r} looks like a number with a decimal comma; say in the "
                "configuration what it is: `files: {decimal: ','}`, or {decimal: '.'} if it is text"
            )

    def report(self, note: OnNote) -> None:
        """Say how many cells look like numbers but are text."""
        if self._formatted:
            reason = (
                f"{self._formatted:,} cells such as {self._example!r} are read as text, though they look like numbers"
            )
            note(Note(self.column.title, reason))
