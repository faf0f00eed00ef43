"""The messages of a chaos run, decided by the seed alone: 30 models, planted drifts, and what producers do besides.

Every 8th event is written in another shape (`load_tests.chaos.shapes`); some have values that do not fit, or features
with ever new names; some messages are no events, too large or too deep. Some events are of models with ever new names.

| models    | how many | baseline | partition                                            |
|-----------|----------|----------|------------------------------------------------------|
| keyed-N   | 24       | given    | one each: their order is that of its log             |
| learns-N  | 2        | learned  | one each                                             |
| spread-N  | 3        | given    | all, in turn                                         |
| seeks-N   | 1        | learned  | all, in turn                                         |
| guest-N   | any      | none     | one each                                             |

Nearly all events have a label, which follows the score but while they drift: the concept drifts with them. Baselines of
some models have outcomes, those of the others learn them. Labels of some models may come by themselves
(`load_tests.chaos.labels`).

Hours of event time pass between two bursts, so that a run has weeks, of which models know what to expect.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.events.columns import LABEL
from driftline.stream.events.event import Event
from driftline.stream.events.parse import EventReader
from load_tests.chaos.labels import LABELLED, OUTCOMES, Truth
from load_tests.chaos.shapes import AT_LIMITS, BROKEN, ODD_VALUES, SHAPES, Document, odd, with_new_names
from load_tests.harness.oracle import EPOCH

PARTITIONS = 8
KEYED = [f"keyed-{i}" for i in range(24)] + [f"learns-{i}" for i in range(2)]
SPREAD = [f"spread-{i}" for i in range(3)] + ["seeks-0"]
MODELS = KEYED + SPREAD
GIVEN = [model for model in MODELS if model.startswith(("keyed", "spread"))]
#: A model of which a version has a baseline of its own, and that version.
ROLLED, VERSION = "keyed-23", "5.0"

# Events of a model from one drift to the next, and the part of them that drifts, by 2 σ. The warm-up of a learned
# baseline ends before the first drift.
_CYCLE, _DRIFT = 1500, (700, 1100)
# Microseconds of event time from one message to the next. A pane's second then holds some 1000 events of one partition
# and 250 of one model, so that some runs end by time and some by their number of events.
_STEP_US = 125
# One message in this many is no event, has a value that does not fit, has features of new names, or is of a new model.
# Each is prime to the number of models, so that all models have all of them.
_BROKEN, _ODD, _NEW_NAMES, _GUEST = 997, 499, 307, 521
# One event in this many has no label, or one of these that are none of the model's classes.
_UNLABELLED, _ODD_LABEL = 11, 211
_ODD_LABELS: Sequence[Any] = ("maybe", ["yes"], "", {"is": "yes"}, 1, "\u00fcber" * 100)
# One event in this many has another shape: each costs the exact reader some 100 µs.
_SHAPED = 7
# ms of event time between two bursts: few enough for the ticks to keep up, so many that two days pass in a short run.
BETWEEN_BURSTS = 6 * 3_600_000
# Messages in a row with the time of one producer, and how many producers there are.
_OF_ONE, _PRODUCERS = 600, 6
_ROWS = 500
# Events of a given baseline: few blocks, so that judging starts soon.
_BEFORE = 2000


class Sent(NamedTuple):
    """A message and its place: modulo the number of partitions, its partition. model: "" if it has none that stays.

    truth: of a prediction whose label comes by itself.
    """

    place: int
    value: bytes | None
    model: str = ""
    truth: Truth | None = None


@dataclass
class EventTime:
    """The time of events, and how far a version of a model is rolled out by then.

    passed: ms between the bursts so far. wrong: ms by which the clock of one of the producers is ahead. rolled: how
    many of 10 events of `ROLLED` are of `VERSION`.
    """

    passed: int = 0
    wrong: int = 0
    rolled: int = 0

    def version(self, model: str, i: int) -> Document:
        """What event `i` of a model says of its version."""
        return {"version": VERSION} if model == ROLLED and i % 10 < self.rolled else {}

    def of(self, n: int) -> int:
        """The time of message `n`, epoch ms."""
        wrong = self.wrong if n // _OF_ONE % _PRODUCERS == 0 else 0
        return EPOCH + n * _STEP_US // 1000 + self.passed + wrong


def traffic(seed: int, count: int, time: EventTime | None = None, labels: bool = False) -> Iterator[Sent]:
    """`count` messages in the order of appending. time: of their events, which may change meanwhile.

    labels: whether the labels of some models come by themselves.
    """
    time = time or EventTime()
    rng = np.random.default_rng([seed, 0xE7])
    n = 0
    while n < count:
        first = n // len(MODELS)
        for i, row in enumerate(_rows(rng, _ROWS), first):
            for model, values in zip(MODELS, row, strict=True):
                if n < count:
                    yield _sent(n, i, model, values, time, labels and model in LABELLED)
                n += 1


def _rows(rng: np.random.Generator, count: int) -> list[list[list[float]]]:
    """`count` rows of five normal values for each model."""
    rows: list[list[list[float]]] = rng.normal(size=(count, len(MODELS), 5)).tolist()
    return rows


def _sent(n: int, i: int, model: str, values: Sequence[float], time: EventTime, apart: bool) -> Sent:
    """A message. apart: whether its label comes by itself."""
    ts, place = time.of(n), i if model in _SPREAD else _HOME[model]
    if n % _BROKEN == _BROKEN - 1:
        return Sent(place, _BAD[n // _BROKEN % len(_BAD)])
    if n % _GUEST == _GUEST - 1:
        guest = f"guest-{n}"
        return Sent(zlib.crc32(guest.encode()) % PARTITIONS, orjson.dumps(_document(n, guest, values, ts)))
    drifts = _DRIFT[0] <= i % _CYCLE < _DRIFT[1]
    document = _document(n, model, values, ts, drifts) | time.version(model, i)
    truth = Truth(document["id"], model, ts, document.pop("label", "no")) if apart else None
    return Sent(place % PARTITIONS if apart else place, _written(n, document), model, truth)


def _document(n: int, model: str, values: Sequence[float], ts: int, drifts: bool = False) -> Document:
    amount, place, age, lat, score = values
    labels = {} if n % _UNLABELLED == _UNLABELLED - 1 else {"label": _label(n, age if drifts else score + age)}
    features = {
        "amount": amount + 2.0 * drifts,
        "country": "at" if place > 1 else "ch",
        "age": round(40 + 9 * age),
        "vip": place + age > 2,
        "geo": {"lat": 47 + lat},
    }
    prediction = "yes" if score > 0 else "no"
    document = {"id": f"{model}-{n}", "ts": ts, "model": model, "features": features}
    return document | {"prediction": prediction, "score": score} | labels


def _label(n: int, truth: float) -> Any:
    """The label of event `n`, if that is what it depends on."""
    if n % _ODD_LABEL == _ODD_LABEL - 1:
        return _ODD_LABELS[n // _ODD_LABEL % len(_ODD_LABELS)]
    return "yes" if truth > 0 else "no"


def _written(n: int, document: Document) -> bytes:
    if n % _ODD == _ODD - 1:
        return odd(document, ODD_VALUES[n // _ODD % len(ODD_VALUES)])
    if n % _NEW_NAMES == _NEW_NAMES - 1:
        return with_new_names(document, n)
    if n % _SHAPED == _SHAPED - 1:
        return SHAPES[n // _SHAPED % len(SHAPES)](document)
    return orjson.dumps(document)


def closing(partitions: int, ts: int) -> list[Sent]:
    """An event for each partition that says how late it is."""
    return [
        Sent(each, orjson.dumps(_document(ts, "spread-1", [0.0] * 5, ts)), "spread-1") for each in range(partitions)
    ]


_READER = EventReader(extras=[LABEL])
_BAD = (*BROKEN, *AT_LIMITS)
_SPREAD = frozenset(SPREAD)
_HOME = {model: zlib.crc32(model.encode()) % PARTITIONS for model in KEYED}


def write_baselines(folder: Path, labels: bool = False) -> dict[str, dict[str, Any]]:
    """Write the given baselines into a folder; the section `models` of a configuration that names them.

    labels: whether the labels of some models come by themselves.
    """
    for model in GIVEN:
        (folder / f"{model}.driftline").write_bytes(encode_baseline(baseline_of(model)))
    (folder / "rolled.driftline").write_bytes(encode_baseline(baseline_of(ROLLED, 0xBC)))
    sections: dict[str, dict[str, Any]] = {model: {"baseline": f"{model}.driftline"} for model in GIVEN}
    sections[ROLLED]["baselines"] = {VERSION: "rolled.driftline"}
    for model in LABELLED if labels else ():
        sections.setdefault(model, {})["outcomes"] = OUTCOMES
    return sections


def baseline_of(model: str, seed: int = 0xBA, without: str = "") -> Baseline:
    """A baseline of a model. without: a feature that its events do not have."""
    events = list[Event]()
    for n, row in enumerate(_rows_before(seed)):
        document = _document(n, model, row[MODELS.index(model)], EventTime().of(n))
        document["features"].pop(without, None)
        if document.get("label") not in ("yes", "no"):
            document.pop("label", None)
        events += _READER.read(orjson.dumps(document)).events
    built = build_baseline(events, {"model": model}, BuildSettings(blocks=16))
    return replace(built, outcomes=outcomes_of(events)) if MODELS.index(model) % 2 else built


@cache
def _rows_before(seed: int) -> list[list[list[float]]]:
    return _rows(np.random.default_rng(seed), _BEFORE)
