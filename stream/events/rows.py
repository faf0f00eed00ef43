"""Many rows in one message: what model servers log and clients send, as one object or value per row.

    [{"x": 1, "y": 2}, …]                                    objects        (KServe v1, MLflow records)
    [[1, 2], …]                                              lists          names are given, or the positions 0, 1, …
    [1, 2, …]                                                values         as many rows, or one row of as many names
    [{"name": "x", "shape": [2, 1], "data": [1, 3]}, …]      named tensors  (KServe v2, Triton)
    {"names": ["x", "y"], "ndarray": [[1, 2], …]}            Seldon; also with "tensor": {"shape": …, "values": …}
    {"columns": ["x", "y"], "data": [[1, 2], …]}             MLflow, pandas' orient="split"
    {"x": [1, 3], "y": [2, 4]}                               columns        (TensorFlow Serving)
    "1,2\\n3,4"  or JSON in a string                           SageMaker; also {"data": …, "encoding": "CSV"}

A block of another shape is a fault of the message, a bad row a fault of the row. No I/O, no clock.
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from driftline.stream.events.event import is_numeral, quoted
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits

Row = dict[str, Any]
# A row of a tensor with more values than this is an embedding or an image: its single values say nothing.
_MAX_COLUMNS = 1000
_MAX_RANK = 8
_WRAPPERS = ("instances", "inputs", "predictions", "outputs", "dataframe_split", "dataframe_records")


class RowsError(ValueError):
    """A block or one of its rows cannot be read; the text says why."""


def read_rows(
    blocks: Mapping[str, Any], names: Any = (), limits: MessageLimits = DEFAULT_LIMITS
) -> list[Row | RowsError]:
    """The rows of a message: each holds its part of every block, or is the fault of that row.

    blocks: by part, "features", "prediction" or "score". names: of the values of lists among the features. limits: of
    JSON in strings. A prediction or score of one column is a value, not an object. Raises RowsError if a block is of no
    known shape, or if two blocks differ in length.

    >>> read_rows({"features": [[1, 2], [3, 4]], "prediction": [0.1, 0.9]}, ["x", "y"])[1]
    {'features': {'x': 3, 'y': 4}, 'prediction': 0.9}
    """
    read = {part: _rows(block, names if part == "features" else (), limits) for part, block in blocks.items()}
    lengths = {part: len(rows) for part, rows in read.items()}
    if len(set(lengths.values())) > 1:
        raise RowsError("rows differ in number: " + ", ".join(f"{part} {n}" for part, n in lengths.items()))
    return [_joined(list(read), row) for row in zip(*read.values(), strict=True)]


def _joined(parts: Sequence[str], row: Sequence[Row | RowsError]) -> Row | RowsError:
    joined: Row = {}
    for part, value in zip(parts, row, strict=True):
        if isinstance(value, RowsError):
            return value
        joined[part] = next(iter(value.values())) if part != "features" and len(value) == 1 else value
    return joined


def _rows(block: Any, names: Any, limits: MessageLimits) -> list[Row | RowsError]:
    if isinstance(block, str):
        return _text_rows(block, names, limits)
    if isinstance(block, list):
        return _list_rows(block, names)
    if isinstance(block, dict):
        return _object_rows(block, names, limits)
    raise RowsError(f"expected rows, got {quoted(block)}")


def _text_rows(text: str, names: Any, limits: MessageLimits, is_csv: bool = False) -> list[Row | RowsError]:
    """The rows in a text: JSON or, if it is known for CSV or its columns have names, CSV. Any text could be CSV."""
    if text.lstrip()[:1] in ("[", "{"):
        return _rows(_parsed(text, limits), names, limits)
    if not is_csv and not names:
        raise RowsError(f"expected rows, got the text {quoted(text)}; if it is CSV, give `names`")
    try:
        cells = [row for row in csv.reader(text.splitlines(), strict=True) if row]
    except csv.Error as error:
        raise RowsError(f"not CSV in a string: {error}") from None
    return [_named([_cell(cell) for cell in row], names) for row in cells if row != list(names)]


def _parsed(text: str, limits: MessageLimits) -> Any:
    if limits.is_text_too_deep(text.encode("utf-8", "surrogatepass")):
        raise RowsError(limits.too_deep)
    try:
        return json.loads(text)
    except ValueError as error:
        raise RowsError(f"not JSON in a string: {error}") from None


def _cell(cell: str) -> Any:
    if is_numeral(cell):
        return float(cell) if any(each in cell for each in ".eE") else int(cell)
    return cell or None


def _list_rows(block: list[Any], names: Any) -> list[Row | RowsError]:
    if any(map(_is_tensor, block)):
        return _tensor_rows(block, names)
    if block and not any(isinstance(each, dict | list) for each in block):
        one_row = len(block) > 1 and isinstance(names, list | tuple) and len(names) == len(block)
        return [_named(block, names)] if one_row else [_named([value], names) for value in block]
    return [_row(each, names) for each in block]


def _is_tensor(value: Any) -> bool:
    """Whether an object is a named tensor, perhaps a damaged one, and not a row with features of these names."""
    is_named = isinstance(value, dict) and isinstance(value.get("name"), str)
    return is_named and (isinstance(value.get("data"), list) or isinstance(value.get("shape"), list))


def _row(value: Any, names: Any) -> Row | RowsError:
    if isinstance(value, list):
        return _named(value, names)
    if isinstance(value, dict) and value:
        return value
    return RowsError(f"expected an object or a list, got {'nothing' if value == {} else quoted(value)}")


def _named(values: Sequence[Any], names: Any) -> Row | RowsError:
    """A row of values by name. Without names, their positions are the names."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return RowsError(f"expected a list of names, got {quoted(names)}")
    if names and len(names) != len(values):
        return RowsError(f"{len(values)} values, but {len(names)} names")
    if not values:
        return RowsError("holds nothing")
    if not names and len(values) > _MAX_COLUMNS:
        return RowsError(f"{len(values)} values without names, and {_MAX_COLUMNS} is the most; give `names`")
    return dict(zip(names or map(str, range(len(values))), values, strict=True))


def _object_rows(block: dict[str, Any], names: Any, limits: MessageLimits) -> list[Row | RowsError]:
    own = block.get("names") or block.get("columns") or names
    if isinstance(block.get("ndarray"), list):
        return _list_rows(block["ndarray"], own)
    if isinstance(tensor := block.get("tensor"), dict):
        data = _folded(tensor.get("values"), tensor.get("shape"))
        return _list_rows([list(row) for row in data], own)
    if isinstance(block.get("data"), str):
        encoding = block.get("encoding")
        return _text_rows(_decoded(block["data"], encoding), names, limits, is_csv=encoding in ("CSV", "BASE64"))
    if isinstance(block.get("data"), list) and "columns" in block:
        return _list_rows(block["data"], own)
    if len(block) == 1 and (inner := next(iter(block))) in _WRAPPERS:
        return _rows(block[inner], names, limits)
    if block and all(isinstance(column, list) for column in block.values()):
        return _column_rows(block)
    raise RowsError(f"rows of an unknown shape: an object of {', '.join(map(quoted, list(block)[:5])) or 'nothing'}")


def _decoded(text: str, encoding: Any) -> str:
    if encoding != "BASE64":
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise RowsError("not text in Base64") from None


def _column_rows(columns: dict[str, list[Any]]) -> list[Row | RowsError]:
    lengths = set(map(len, columns.values()))
    if len(lengths) != 1:
        raise RowsError(f"columns differ in length: {', '.join(map(str, sorted(lengths)))}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _tensor_rows(tensors: list[Any], names: Any) -> list[Row | RowsError]:
    if not all(map(_is_tensor, tensors)):
        raise RowsError("expected tensors only, each with a name and data")
    folded = [(tensor["name"], _folded(tensor.get("data"), tensor.get("shape"))) for tensor in tensors]
    if len(folded) == 1 and names:
        return _list_rows(folded[0][1], names)
    columns: dict[str, list[Any]] = {}
    for name, rows in folded:
        if name in columns:
            raise RowsError(f"expected tensors of distinct names, got {quoted(name)}")
        columns[name] = list(map(_tensor_value, rows))
    return _column_rows(columns)


def _tensor_value(row: list[Any]) -> Any:
    """A row of a tensor: its only value, or its values by position. An embedding stays an array: not monitored."""
    if len(row) == 1:
        return row[0]
    return row if len(row) > _MAX_COLUMNS else {str(position): value for position, value in enumerate(row)}


def _folded(data: Any, shape: Any) -> list[list[Any]]:
    """The values of a tensor as one list per row. Raises RowsError if they do not fill the shape."""
    if not isinstance(data, list):
        raise RowsError(f"expected the data of a tensor as an array, got {quoted(data)}")
    if shape is None:
        rows = [_flat(row) if isinstance(row, list) else [row] for row in data]
        if len({(isinstance(value, list), len(row)) for value, row in zip(data, rows, strict=True)}) > 1 or not all(
            rows
        ):
            raise RowsError("the rows of a tensor differ in length, or are empty")
        return rows
    flat = _flat(data)
    # No size exceeds their product, which is compared only then: a message can spell numbers of a thousand digits.
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size <= len(flat) for size in shape):
        raise RowsError("the shape of a tensor does not fit its data")
    if len(shape) > _MAX_RANK or math.prod(shape) != len(flat):
        raise RowsError(f"a tensor of shape {shape[:_MAX_RANK]} does not have {len(flat)} values")
    width = len(flat) // (shape[0] if shape else 1)
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _flat(data: list[Any]) -> list[Any]:
    while data and all(isinstance(each, list) for each in data):
        data = list(chain.from_iterable(data))
    return data
