"""What each shape of message costs to read: processor time an event, beside the plain events of the fast path.

    python -m load_tests.bench.shapes             20 numeric features
    python -m load_tests.bench.shapes --json

Reading means: from bytes to columns of a model with a baseline. The shapes take turns, so that ratios hold on a busy
machine, too. Every shape holds the same values, which is checked.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from io import SEEK_END, BytesIO
from typing import Any, NamedTuple

import fastavro
import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.stream.events.columns import Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.frames import parse_schema
from driftline.stream.events.mapping import NATIVE, PRESETS, EventMapping, Origins

START_MS = 1_767_225_600_000  # 2026-01-01
EVENTS, FEATURES, ROUNDS = 4096, 20, 9
NAMES = [f"feature_{j}" for j in range(FEATURES)]
CONSTANT = {"model": "=bench"}

Rows = list[list[float]]


def as_json(message: Any) -> bytes:
    return json.dumps(message).encode()


def as_framed_json(message: Any) -> bytes:
    return b"\0\0\0\0\1" + as_json(message)


def as_avro(message: Any) -> bytes:
    stream = BytesIO(b"\0\0\0\0\2")
    stream.seek(0, SEEK_END)
    fastavro.schemaless_writer(stream, _AVRO, message)
    return stream.getvalue()


def _record(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


_FEATURES = _record("Features", {name: ["null", "double"] for name in NAMES})
_EVENT = _record("Event", {"id": "string", "ts": "long", "model": "string", "features": _FEATURES})
_AVRO = fastavro.parse_schema(_EVENT)
SCHEMAS = {1: parse_schema("{}", "JSON"), 2: parse_schema(json.dumps(_EVENT), "AVRO")}


class Shape(NamedTuple):
    """A shape of message: how many rows a message holds, how they are written, and how they are read.

    encode: makes bytes of the message.
    """

    rows: int
    write: Callable[[Rows], Any]
    mapping: EventMapping = NATIVE
    encode: Callable[[Any], bytes] = as_json


def native(rows: Rows) -> Any:
    return {"features": dict(zip(NAMES, rows[0], strict=True))}


def tensors(rows: Rows) -> Any:
    columns = zip(NAMES, zip(*rows, strict=True), strict=True)
    return {"data": {"inputs": [{"name": n, "shape": [len(rows), 1], "data": list(c)} for n, c in columns]}}


def as_csv(rows: Rows) -> Any:
    text = "\n".join(",".join(map(repr, row)) for row in rows)
    return {"captureData": {"endpointInput": {"data": text, "encoding": "CSV"}}}


def strings(rows: Rows) -> Any:
    return {"features": {name: repr(value) for name, value in zip(NAMES, rows[0], strict=True)}}


V2 = EventMapping(**PRESETS["kserve-v2"] | CONSTANT | {"ts": "ts"})
SAGEMAKER = EventMapping(**PRESETS["sagemaker"] | CONSTANT | {"id": "id", "ts": "ts", "names": tuple(NAMES)})
SELDON = EventMapping(**PRESETS["seldon"] | CONSTANT)
SHAPES = {
    "plain events": Shape(1, native),
    "flat JSON, features: rest": Shape(1, lambda rows: native(rows)["features"], EventMapping(features="rest")),
    "times in seconds": Shape(1, native, EventMapping(ts="seconds")),
    "id and time of the record": Shape(1, native, EventMapping(id="$record", ts="$record")),
    "numbers in strings": Shape(1, strings),
    "frame of a JSON Schema": Shape(1, native, encode=as_framed_json),
    "frame in Avro": Shape(1, native, encode=as_avro),
    "KServe v2, 1 row": Shape(1, tensors, V2),
    "KServe v2, 32 rows": Shape(32, tensors, V2),
    "Seldon ndarray, 32 rows": Shape(32, lambda rows: {"request": {"data": {"names": NAMES, "ndarray": rows}}}, SELDON),
    "SageMaker CSV, 1 row": Shape(1, as_csv, SAGEMAKER),
}


def messages(shape: Shape, values: np.ndarray) -> list[bytes]:
    rows = values.tolist()
    return [
        shape.encode(
            {"id": f"event-{i}", "ts": START_MS + i, "seconds": (START_MS + i) / 1000, "model": "bench"}
            | shape.write(rows[i : i + shape.rows])
        )
        for i in range(0, len(rows), shape.rows)
    ]


def measure(values: np.ndarray) -> Mapping[str, float]:
    """Microseconds of processor time an event, by shape: the median of the rounds."""
    decoder_of = {
        name: Decoder({"bench": [Field(f"features.{each}", True) for each in NAMES]}, shape.mapping, SCHEMAS)
        for name, shape in SHAPES.items()
    }
    batches = {name: messages(shape, values) for name, shape in SHAPES.items()}
    times: dict[str, list[float]] = {name: [] for name in SHAPES}
    for _ in range(ROUNDS):
        for name, batch in batches.items():
            at = np.arange(len(batch))
            started = time.process_time()
            decoded = decoder_of[name].decode(batch, Origins("bench", 0, at, START_MS + at))
            times[name].append((time.process_time() - started) / EVENTS * 1e6)
            assert np.array_equal(decoded.known["bench"].numeric, values), name
    return {name: float(np.median(each)) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = measure(np.random.default_rng(1).normal(size=(EVENTS, FEATURES)))
    if arguments.json:
        print(json.dumps(found))
        return
    plain = found["plain events"]
    table = Table("message", "us an event", "times a plain one")
    for name, cost in found.items():
        table.add_row(name, f"{cost:.1f}", f"{cost / plain:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
