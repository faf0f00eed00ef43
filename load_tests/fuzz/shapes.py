"""Shapes of messages: how a table is written in each, and a naive second reading that shares no code with Driftline's.

A naive reading takes the JSON document of a message and returns one dictionary of dotted names per row, None for a row
that it cannot read. It raises one of `CANNOT` for a document that it cannot read at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from driftline.stream.events.mapping import NATIVE, PRESETS, EventMapping

CANNOT = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
START_MS = 1_767_225_600_000  # 2026-01-01
RESERVED = ("id", "ts", "model", "version", "prediction", "score", "label", "weight", "tags")

Row = dict[str, Any]
Table = list[Row]
Named = Callable[[Any], list[Row | None]]


class Shape(NamedTuple):
    """A shape: its mapping, how it writes a table of rows with the same names, and its naive reading."""

    mapping: EventMapping
    write: Callable[[Table], dict[str, Any]]
    read: Named
    rows: int | None = None  # a message's; None: any number


def names_of(table: Table) -> list[str]:
    return list(table[0])


def lists_of(table: Table) -> list[list[Any]]:
    return [list(row.values()) for row in table]


def flat(part: str, value: Any) -> Row:
    """Leaves by dotted name, found with a stack instead of recursion."""
    leaves, waiting = {}, [(part, value)]
    while waiting:
        name, node = waiting.pop()
        if isinstance(node, dict):
            waiting += [(f"{name}.{key}", inner) for key, inner in reversed(node.items())]
        elif len(name) <= 255:
            leaves[name] = node
    return leaves


def block(value: Any, names: Any = ()) -> list[Row | None]:
    """The rows of a block of any layout."""
    if isinstance(value, str):
        if value.lstrip()[:1] not in ("{", "["):
            raise ValueError
        return block(json.loads(value), names)
    if isinstance(value, list):
        return tensors(value) if any(map(is_tensor, value)) else rows_of(value, names)
    names = value.get("names") or value.get("columns") or names
    if isinstance(value.get("ndarray"), list):
        return block(value["ndarray"], names)
    if isinstance(value.get("tensor"), dict):
        tensor = value["tensor"]
        return rows_of(np.array(tensor["values"], object).reshape(tensor["shape"]).tolist(), names)
    if isinstance(value.get("data"), str):
        return captured(value["data"], value.get("encoding"))
    if isinstance(value.get("data"), list) and "columns" in value:
        return block(value["data"], names)
    return block(*value.values(), names) if len(value) == 1 and set(value) <= WRAPPERS else columns_of(value)


def columns_of(value: Row) -> list[Row | None]:
    (n,) = {len(column) for column in value.values() if isinstance(column, list)}
    return [flat("features", {name: column[row] for name, column in value.items()}) for row in range(n)]


def captured(text: str, encoding: Any) -> list[Row | None]:
    text = base64.b64decode(text, validate=True).decode() if encoding == "BASE64" else text
    if text.lstrip()[:1] in ("{", "["):
        return block(text)
    if encoding not in ("CSV", "BASE64"):
        raise ValueError
    return rows_of([[cell_value(cell) for cell in line.split(",")] for line in text.splitlines() if line], ())


WRAPPERS = {"instances", "inputs", "predictions", "outputs", "dataframe_split", "dataframe_records"}


def rows_of(rows: list[Any], names: Any) -> list[Row | None]:
    if rows and not any(isinstance(row, (list, dict)) for row in rows):
        rows = [rows] if isinstance(names, (list, tuple)) and len(rows) == len(names) > 1 else [[row] for row in rows]

    def one(row: Any) -> Row | None:
        if isinstance(row, dict):
            return flat("features", row) if row else None
        named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
        if not named or not isinstance(row, list) or not row:
            return None
        wanted = names or [str(place) for place in range(len(row))]
        return flat("features", dict(zip(wanted, row, strict=True))) if len(wanted) == len(row) <= 1000 else None

    return [one(row) for row in rows]


def is_tensor(value: Any) -> bool:
    named = isinstance(value, dict) and isinstance(value.get("name"), str)
    return named and (isinstance(value.get("data"), list) or isinstance(value.get("shape"), list))


def tensors(value: list[Any]) -> list[Row | None]:
    columns: dict[str, list[Any]] = {}
    for tensor in value:
        if tensor["name"] in columns or not isinstance(tensor["data"], list):
            raise ValueError
        if (
            tensor.get("shape") is None
            and len({len(row) if isinstance(row, list) else -1 for row in tensor["data"]}) > 1
        ):
            raise ValueError
        flattened = tensor["data"]
        while flattened and all(isinstance(each, list) for each in flattened):
            flattened = [inner for each in flattened for inner in each]
        cells = np.empty(len(flattened), object)
        for place, cell in enumerate(flattened):
            cells[place] = cell
        shape = [1] if tensor.get("shape") == [] else tensor.get("shape") or [len(tensor["data"])]
        folded = cells.reshape(shape).reshape(shape[0], -1)
        columns[tensor["name"]] = [row[0] if len(row) == 1 else dict(enumerate(row)) for row in folded.tolist()]
    (n,) = {len(column) for column in columns.values()}
    return [flat("features", {name: column[row] for name, column in columns.items()}) for row in range(n)]


def cell_value(cell: str) -> Any:
    for number in (int, float):
        try:
            value = number(cell)
        except ValueError:
            continue
        spelt = "_" not in cell and cell.strip().isascii() and any(each.isdigit() for each in cell)
        return value if spelt else cell
    return cell or None


def read_native(document: Any) -> list[Row | None]:
    parts = {part: document.get(part) for part in ("features", "prediction", "score")}
    if parts["features"] is not None and not isinstance(parts["features"], dict):
        raise TypeError
    return [
        {name: leaf for part, value in parts.items() if value is not None for name, leaf in flat(part, value).items()}
    ]


def read_rest(document: Any) -> list[Row | None]:
    row = flat("features", {key: value for key, value in document.items() if key not in RESERVED})
    for part in ("prediction", "score"):
        if document.get(part) is not None:
            row |= flat(part, document[part])
    return [row]


def write_tensors(table: Table) -> dict[str, Any]:
    shape = [len(table), 1]
    return {
        "data": {"inputs": [{"name": n, "shape": shape, "data": [row[n] for row in table]} for n in names_of(table)]}
    }


def write_csv(table: Table) -> dict[str, Any]:
    text = "\n".join(",".join("" if cell is None else str(cell) for cell in row) for row in lists_of(table))
    return {"captureData": {"endpointInput": {"data": text, "encoding": "CSV"}}}


def write_base64(table: Table) -> dict[str, Any]:
    document = write_csv(table)
    block = document["captureData"]["endpointInput"]
    block |= {"data": base64.b64encode(block["data"].encode()).decode(), "encoding": "BASE64"}
    return document


def write_columns(table: Table) -> dict[str, Any]:
    return {"instances": {name: [row[name] for row in table] for name in names_of(table)}}


def write_split(table: Table) -> dict[str, Any]:
    return {"instances": {"dataframe_split": {"columns": names_of(table), "data": lists_of(table)}}}


PLAIN = {"id": "id", "ts": "ts", "model": "model"}
INSTANCES = EventMapping(**PRESETS["instances"])
KSERVE = EventMapping(**PRESETS["kserve-v2"] | PLAIN)
SAGEMAKER = EventMapping(**PRESETS["sagemaker"] | PLAIN)
SHAPES = {
    "native": Shape(NATIVE, lambda table: {"features": table[0], "score": 0.5}, read_native, 1),
    "rest": Shape(EventMapping(features="rest"), lambda table: table[0] | {"prediction": "a"}, read_rest, 1),
    "objects": Shape(INSTANCES, lambda table: {"instances": table}, lambda d: block(d["instances"])),
    "lists": Shape(INSTANCES, lambda table: {"instances": lists_of(table)}, lambda d: block(d["instances"])),
    "columns": Shape(INSTANCES, write_columns, lambda d: block(d["instances"])),
    "MLflow": Shape(INSTANCES, write_split, lambda d: block(d["instances"])),
    "KServe v2": Shape(KSERVE, write_tensors, lambda d: block(d["data"]["inputs"])),
    "Seldon": Shape(
        EventMapping(**PRESETS["seldon"]),
        lambda table: {"request": {"data": {"names": names_of(table), "ndarray": lists_of(table)}}},
        lambda d: block(d["request"]["data"]),
    ),
    "CSV": Shape(SAGEMAKER, write_csv, lambda d: block(d["captureData"]["endpointInput"])),
    "Base64": Shape(SAGEMAKER, write_base64, lambda d: block(d["captureData"]["endpointInput"])),
}  # fmt: skip


def naive_ms(value: Any) -> int | None:
    """Epoch milliseconds of the forms that the messages have; None for another."""
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return None
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000 + 0.5)
    for digits, scale in ((11, 1000.0), (14, 1.0), (17, 0.001), (20, 0.000001)):
        if value < 10**digits:
            return int(value * scale + (0.5 if scale > 1 else 0))
    return None
