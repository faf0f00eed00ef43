"""The events of a chaos run: 30 models, planted drifts, some messages that are no events. Decided by the seed alone.

| models    | how many | baseline | partition                                            |
|-----------|----------|----------|------------------------------------------------------|
| keyed-N   | 24       | given    | one each: their order is that of its log             |
| learns-N  | 2        | learned  | one each                                             |
| spread-N  | 3        | given    | all, in turn                                         |
| seeks-N   | 1        | learned  | all, in turn                                         |
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from driftline.stream.baselines.file import encode_baseline
from load_tests.harness.oracle import EPOCH, baseline_of

PARTITIONS = 8
KEYED = [f"keyed-{i}" for i in range(24)] + [f"learns-{i}" for i in range(2)]
SPREAD = [f"spread-{i}" for i in range(3)] + ["seeks-0"]
MODELS = KEYED + SPREAD
GIVEN = [model for model in MODELS if model.startswith(("keyed", "spread"))]

# Events of a model from one drift to the next, and the part of them that drifts, by 2 σ. The warm-up of a learned
# baseline ends before the first drift.
_CYCLE, _DRIFT = 1500, (700, 1100)
# Microseconds of event time from one message to the next. A pane's second then holds some 1000 events of one partition
# and 250 of one model, so that some runs end by time and some by their number of events.
_STEP_US = 125
# One message in 1000 is no event, and another one has a value of a wrong type.
_ODD = 1000
_ROWS = 500
_BROKEN: list[bytes | None] = [None, b"", b"{", b"[]", b"\xff\xfe", b'{"id": "1", "model": "keyed-0", "score": 1}']


class Sent(NamedTuple):
    """A message and its partition."""

    partition: int
    value: bytes | None


def traffic(seed: int, count: int) -> Iterator[Sent]:
    """`count` messages in the order of appending."""
    rng = np.random.default_rng([seed, 0xE7])
    n = 0
    while n < count:
        first = n // len(MODELS)
        for i, row in enumerate(rng.normal(size=(_ROWS, len(MODELS), 3)).tolist(), first):
            for model, values in zip(MODELS, row, strict=True):
                if n < count:
                    yield _sent(n, i, model, values)
                n += 1


def _sent(n: int, i: int, model: str, values: list[float]) -> Sent:
    partition = (i if model in _SPREAD else _HOME[model]) % PARTITIONS
    if n % _ODD == _ODD - 1:
        return Sent(partition, _BROKEN[n // _ODD % len(_BROKEN)])
    amount, place, score = values
    drifts = _DRIFT[0] <= i % _CYCLE < _DRIFT[1]
    features: dict[str, Any] = {"amount": amount + 2.0 * drifts, "country": "at" if place > 1 else "ch"}
    if n % _ODD == _ODD // 2:
        features["amount"] = "N/A"
    event = {"id": f"{model}-{i}", "ts": EPOCH + n * _STEP_US // 1000, "model": model, "features": features}
    return Sent(partition, orjson.dumps(event | {"score": score}))


_SPREAD = frozenset(SPREAD)
_HOME = {model: zlib.crc32(model.encode()) for model in KEYED}


def write_baselines(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the given baselines into a folder; the section `models` of a configuration that names them."""
    for model in GIVEN:
        (folder / f"{model}.driftline").write_bytes(encode_baseline(baseline_of(model)))
    return {model: {"baseline": f"{model}.driftline"} for model in GIVEN}
