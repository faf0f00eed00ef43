"""Tables of outcomes as bytes: compact, the same for the same outcomes, and nothing that is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.outcomes import PackedTable

SIZE = 1800
cells = st.dictionaries(st.integers(0, SIZE - 1), st.integers(-(2**62), 2**62).filter(bool), max_size=40)


def table(filled: dict[int, int], n: int = 9, odd: int = 2) -> OutcomeTable:
    return OutcomeTable.of("layout", n, odd, row(filled))


def row(filled: dict[int, int]) -> IntArray:
    full = np.zeros(SIZE, np.int64)
    full[[*filled]] = [*filled.values()]
    return full


@given(cells)
def test_a_table_is_read_as_it_was_written(filled: dict[int, int]) -> None:
    own = table(filled)
    packed = PackedTable.of(own)
    assert packed.unpack() == own
    assert PackedTable.of(packed.unpack()) == packed
    assert (own.row(SIZE) == row(filled)).all()


small = st.dictionaries(st.integers(0, SIZE - 1), st.integers(-100, 100).filter(bool), max_size=40)


@given(small, small, small)
def test_tables_add_in_any_order_to_the_same_bytes(a: dict[int, int], b: dict[int, int], c: dict[int, int]) -> None:
    first, second, third = map(table, (a, b, c))
    left, right = (first + second) + third, third + (second + first)
    assert left == right
    assert (left.row(SIZE) == row(a) + row(b) + row(c)).all()
    assert PackedTable.of(left) == PackedTable.of(right)


def test_a_cell_takes_two_bytes_in_a_pane() -> None:
    packed = PackedTable.of(table({7 * i: 1 + i % 3 for i in range(160)}))
    assert len(packed.steps) + len(packed.values) == 2 * 160 + 2


GOOD = PackedTable.of(table({3: 1, 9: 700}))


@pytest.mark.parametrize(
    "bad",
    [
        PackedTable("l", -1, 0, GOOD.steps, GOOD.values),
        PackedTable("l", 9, -1, GOOD.steps, GOOD.values),
        PackedTable("l", 9, 0, b"", GOOD.values),
        PackedTable("l", 9, 0, GOOD.steps[:-1], GOOD.values),
        PackedTable("l", 9, 0, b"\3" + GOOD.steps[1:], GOOD.values),
        PackedTable("l", 9, 0, b"\1\3\0", GOOD.values),
        PackedTable("l", 9, 0, b"\1\3\xff", GOOD.values),
        PackedTable("l", 9, 0, GOOD.steps, b"\1\0\5"),
        PackedTable("l", 9, 0, b"\x08" + b"\xff" * 7 + b"\x7f", b"\1\1"),
        PackedTable("l", 9, 0, b"\4" + b"\0\0\x0f\0" * 2, b"\1\1\1"),
    ],
)
def test_bytes_that_are_no_table_are_refused(bad: PackedTable) -> None:
    with pytest.raises(FormatError):
        bad.unpack()
