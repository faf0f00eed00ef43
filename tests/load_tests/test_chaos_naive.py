"""The second reader of chaos runs agrees with that of the workers on any value, although they share no code."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.baselines.build import build_baseline
from driftline.stream.events.parse import EventError, parse_event
from load_tests.chaos.naive import Cells, NoEventError, read

_ROWS = [
    {
        "amount": i * 1.5, "few": i % 3, "country": ("at", "ch")[i % 2], "flag": i % 5 == 0, "bit": i % 2,
        "one": 7, "same": "eur", "geo": {"lat": i / 7},
    }
    for i in range(400)
]  # fmt: skip
BASELINE = build_baseline(
    [
        parse_event(
            orjson.dumps({"id": str(i), "ts": 1767225600000 + i, "model": "m", "features": row, "score": i / 9})
        )
        for i, row in enumerate(_ROWS)
    ],
    {"model": "m"},
)
ODD = [None, True, False, 0, 1, 1.0, 7, -3, 1e308, "1", "True", "at", "AT", " 2.5 ", "1_0", "nan", "", [], [1], {}]
VALUES = st.sampled_from(ODD) | st.floats() | st.integers(-(10**400), 10**400) | st.text() | st.sampled_from(_ROWS)
FEATURES = st.dictionaries(st.sampled_from([*_ROWS[0], "geo.lat", "other"]) | st.text(max_size=3), VALUES, max_size=9)


def both(message: bytes | None) -> tuple[Any, Any]:
    """What the reader of the workers counts of a message, and what the second one does; None for no event."""
    first: Any = None
    second: Any = None
    cells = Cells(BASELINE.layout)
    try:
        sketch = BASELINE.sketch_events([event := parse_event(message)])
        first = event.model, event.ts, cells.of_row(sketch.counts.tolist())
    except EventError:
        pass
    try:
        reading = read(message)
        cells.add(reading.values)
        second = reading.model, reading.ts, cells.counts
    except NoEventError:
        pass
    return first, second


@given(FEATURES, VALUES)
def test_both_readers_put_every_value_into_the_same_cell(features: dict[str, Any], score: Any) -> None:
    document = {"id": "1", "ts": 1767225600000, "model": "m", "features": features, "score": score}
    message = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    first, second = both(message)
    assert first == second


TIMES = [
    1767225600, 1767225600.25, 1767225600123, 1767225600123456, 1767225600123456789, "1767225600123",
    "2026-01-01T00:00:00Z", "2026-01-01T01:00:00.5+01:00", "2026-01-01 00:00", "", "soon", 5, -1, True, [], math.nan,
]  # fmt: skip


@pytest.mark.parametrize("ts", TIMES)
def test_both_readers_read_the_same_times(ts: Any) -> None:
    first, second = both(json.dumps({"id": 1, "ts": ts, "model": "m", "score": 1}).encode())
    assert first == second
