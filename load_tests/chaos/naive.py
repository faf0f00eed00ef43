"""A second reader of events, written to be checked by eye, that shares no code with the one it checks. Pure.

It knows the native mapping alone, reads one message at a time into plain dictionaries, and finds a value's cell in a
baseline by bisection. `docs/EVENTS.md` says what an event is; where this file and the workers differ, one is wrong.

Rule 1: nothing is imported from `driftline.stream.events` or `driftline.detectors` but the types of a baseline's data.
"""

from __future__ import annotations

import json
import math
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from driftline.detectors.summaries.layout import Layout, Signal

#: The ids of the schemas in the traffic's schema-registry frames.
AVRO_SCHEMA, JSON_SCHEMA = 1, 2
# The bounds: bytes of a message, objects or arrays in each other, names of signals in an event, characters of a name.
MAX_BATCH = 64 << 20  #: bytes of what one batch holds; here, each large message is a batch
_MAX_BYTES, _MAX_DEPTH, _MAX_NAMES, _MAX_NAME = 1 << 20, 64, 2000, 255
# Cells after the regular ones of every signal, in their order in a stored row of counts.
_SPECIAL = ("missing", "nan", "-inf", "+inf", "invalid", "unseen")
_DAY = 86_400_000
_FLAGS = {"false": 0.0, "0": 0.0, "0.0": 0.0, "true": 1.0, "1": 1.0, "1.0": 1.0}

Cell = int | str
Code = Callable[[Any], Cell]


class Reading(NamedTuple):
    """An event: model, time in epoch ms, values by signal, version, "" if it has none, label and id."""

    model: str
    ts: int
    values: Mapping[str, Any]
    version: str = ""
    label: Any = None
    id: str = ""


class NoEventError(ValueError):
    """A message is no event. The text is a word that the reason of its dead letter must have."""


def read(message: bytes | None) -> Reading:
    """The event in a message. Raises NoEventError."""
    document, id_, ts, model = _head(message)
    parts = {part: document[part] for part in ("features", "prediction", "score") if document.get(part) is not None}
    _need(parts, "nothing to monitor")
    _need(isinstance(parts.get("features", {}), dict), "features")
    values = dict(_flat(parts, ""))
    _need(len(values) <= _MAX_NAMES, "limits.signals")
    version = _named(document.get("version"))
    version = version if len(version) <= _MAX_NAME else ""
    return Reading(model, ts, values, version, document.get("label"), id_)


def read_label(message: bytes | None, now: int) -> Reading:
    """The label in a message of the labels topic that was written at `now`, epoch ms, as text. Raises NoEventError."""
    document, id_, ts, model = _head(message)
    label = document.get("label")
    _need(label is not None and not isinstance(label, dict | list), "label")
    _need(ts <= now + _DAY, "ts: more than a day after its record was written")
    text = str(label).lower() if isinstance(label, bool) else str(label)
    return Reading(model, ts, {}, "", text, id_)


def _head(message: bytes | None) -> tuple[dict[str, Any], str, int, str]:
    """The document in a message, its id, its time in epoch ms and its model."""
    document = _document(message)
    _need(isinstance(document, dict), "expected object")
    if document.keys() == {"schema", "payload"} and isinstance(document["payload"], dict):
        document = document["payload"]
    id_, ts, model = _name(document, "id"), _epoch_ms(document.get("ts")), _name(document, "model")
    _need(len(model) <= _MAX_NAME, "model")
    return document, id_, ts, model


def _name(document: Mapping[str, Any], part: str) -> str:
    name = _named(document.get(part))
    _need(name, part)
    return name


def _named(value: Any) -> str:
    """A text, or a number as text; "" for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
    return str(value) if number or isinstance(value, str) else ""


def _need(rule: object, word: str) -> None:
    if not rule:
        raise NoEventError(word)


def _document(message: bytes | None) -> Any:
    _need(message is not None, "tombstone")
    message = bytes(message or b"")
    _need(len(message) <= MAX_BATCH, "limits.batch_bytes")
    _need(len(message) <= _MAX_BYTES, "limits.message_bytes")
    if message[:1] == b"\0":
        number, message = int.from_bytes(message[1:5], "big"), message[5:]
        _need(number in (AVRO_SCHEMA, JSON_SCHEMA), "unknown")
        if number == AVRO_SCHEMA:
            return _avro(message)
    try:
        document = json.loads(message.decode("utf-8-sig", "surrogateescape"), parse_int=_integer)
    except RecursionError:
        raise NoEventError("limits.depth") from None
    except ValueError:
        raise NoEventError("not JSON") from None
    may_be_deep = message.count(b"[") + message.count(b"{") > _MAX_DEPTH
    _need(not may_be_deep or _depth(document) <= _MAX_DEPTH, "limits.depth")
    return document


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 1000 else float(digits)


def _avro(data: bytes) -> dict[str, Any]:
    """The document in a payload of `traffic.AVRO`: id, ts, model, features.amount or null, features.country, score."""

    def long() -> int:
        nonlocal at
        value = shift = 0
        while True:
            at, byte = at + 1, data[at]
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value >> 1 ^ -(value & 1)

    def text() -> str:
        nonlocal at
        size = long()
        at += size
        return data[at - size : at].decode()

    def double() -> float:
        nonlocal at
        at += 8
        return float(struct.unpack("<d", data[at - 8 : at])[0])

    at = 0
    head = {"id": text(), "ts": long(), "model": text()}
    features = {"amount": double() if long() else None, "country": text()}
    return {**head, "features": features, "score": double()}


def _epoch_ms(value: Any) -> int:
    """A time in epoch ms, of a number in any unit or a text in ISO 8601."""
    _need(value is not None and not isinstance(value, bool | dict | list), "ts")
    if isinstance(value, str) and not value.isdigit():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise NoEventError("ts") from None
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return math.floor(zoned.timestamp() * 1000)
    number = int(value) if isinstance(value, str) else value
    _need(10**8 <= number < 10**20, "ts")
    if number < 10**11:
        return round(number * 1000)
    return int(number // (1 if number < 10**14 else 10**3 if number < 10**17 else 10**6))


def _flat(branch: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in branch.items():
        if len(prefix + key) <= _MAX_NAME:
            yield prefix + key, value
            if isinstance(value, dict):
                yield from _flat(value, f"{prefix}{key}.")


# ---- cells


class Cells:
    """How many values of a model's events lie in each cell of each signal of its baseline."""

    def __init__(self, layout: Layout) -> None:
        self._codes: list[tuple[str, Code]] = [(signal.name, _code(signal)) for signal in layout.signals]
        self._sizes = [_size(signal) for signal in layout.signals]
        self.counts = Counter[tuple[str, Cell]]()

    def add(self, values: Mapping[str, Any], counts: bool = True) -> bool:
        """Look at an event, and count it if it counts; whether one of its values is defective."""
        cells = [(name, code(values.get(name))) for name, code in self._codes]
        if counts:
            self.counts.update(cells)
        return any(cell in ("nan", "invalid") for _, cell in cells)

    def of_row(self, row: Sequence[int]) -> Counter[tuple[str, Cell]]:
        """A stored row of counts by signal and cell: regular cells of all signals, then the special ones of each."""
        names = [name for name, _ in self._codes]
        regular = [(name, cell) for name, size in zip(names, self._sizes, strict=True) for cell in range(size)]
        special = [(name, cell) for name in names for cell in _SPECIAL]
        return Counter({place: count for place, count in zip([*regular, *special], row, strict=True) if count})


class OutcomeCells:
    """How many outcomes of a model lie in each cell: score, prediction and label, -1 for none; or "odd".

    classes: the two of the model. cuts: between the codes of its scores, one by one as they are stored.
    """

    def __init__(self, classes: Sequence[str], cuts: Sequence[float]) -> None:
        self._cuts = cuts
        self._codes: Mapping[Any, Cell] = {name: code for code, name in enumerate(classes)}
        self.counts = Counter[tuple[int, int, int] | str]()

    def add(self, reading: Reading, counts: bool = True) -> bool:
        """Look at an event, and count it if it counts; whether its label is defective."""
        label, cell = _text_cell(reading.label, False, self._codes), self.cell(reading)
        if cell is not None and counts:
            self.counts[cell] += 1
        return label in ("nan", "invalid")

    def cell(self, reading: Reading) -> tuple[int, int, int] | str | None:
        """The cell of an event; None if it has neither a label nor a prediction that is one of the classes."""
        label = _text_cell(reading.label, False, self._codes)
        prediction = _text_cell(reading.values.get("prediction"), False, self._codes)
        score = _number_cell(reading.values.get("score"), False, lambda number: bisect_left(self._cuts, number))
        score = score if isinstance(score, int) else len(self._cuts) + 1
        if label == "missing":
            return None if isinstance(prediction, str) else (score, prediction, -1)
        return "odd" if isinstance(label, str) or isinstance(prediction, str) else (score, prediction, label)

    def of_row(self, row: Sequence[int], odd: int) -> Counter[tuple[int, int, int] | str]:
        """A stored table by cell: two for each code of scores, without a label, then the four of its outcomes."""
        codes = len(self._cuts) + 2
        found = {(i // 4, i // 2 % 2, i % 2): count for i, count in enumerate(row[2 * codes : 6 * codes]) if count}
        found |= {(i // 2, i % 2, -1): count for i, count in enumerate(row[: 2 * codes]) if count}
        return Counter({**found, **({"odd": odd} if odd else {})})


def _size(signal: Signal) -> int:
    return len(signal.coder.cuts) + 1 if signal.ordered else len(signal.coder.values)  # type: ignore[union-attr]


def _code(signal: Signal) -> Code:
    """How the values of a signal become cells."""
    if signal.ordered:
        cuts = signal.coder.cuts.tolist()  # type: ignore[union-attr]
        flag = cuts == [math.nextafter(0.0, -1.0), 0.0, math.nextafter(1.0, 0.0), 1.0]
        return lambda value: _number_cell(value, flag, lambda number: bisect_left(cuts, number))
    known = signal.coder.values  # type: ignore[union-attr]
    cells: Mapping[Any, Cell] = {value: cell for cell, value in enumerate(known)}
    flag = set(known) <= {"false", "true", 0.0, 1.0}
    if signal.numeric:
        return lambda value: _number_cell(value, flag, lambda number: cells.get(number, "unseen"))
    return lambda value: _text_cell(value, flag, cells)


def _number_cell(value: Any, flag: bool, cell: Callable[[float], Cell]) -> Cell:
    if value is None:
        return "missing"
    if flag and isinstance(value, str | bool) and str(value).lower() in _FLAGS:
        value = _FLAGS[str(value).lower()]
    if isinstance(value, str):
        value = _spelt(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "invalid"
    if value != value:
        return "nan"
    if abs(value) > 1.7976931348623157e308:
        return "+inf" if value > 0 else "-inf"
    return cell(float(value))


def _spelt(text: str) -> float | None:
    """The number that a text spells, None if it is none."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _text_cell(value: Any, flag: bool, cells: Mapping[Any, Cell]) -> Cell:
    if value is None:
        return "missing"
    if isinstance(value, dict | list):
        return "invalid"
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return "invalid"
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    if flag and text.lower() in _FLAGS:
        text = "true" if _FLAGS[text.lower()] else "false"
    return cells.get(text, "unseen")
