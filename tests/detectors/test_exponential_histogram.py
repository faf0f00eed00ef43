"""The histogram, with strings as the additive item: a bucket then shows which items it holds, and in which order."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram

ITEMS = st.text(alphabet="abcdefghijklmnop", max_size=300)
MAX_BUCKETS = st.integers(2, 9)


def histogram_of(items: str, max_buckets: int) -> ExponentialHistogram[str]:
    histogram: ExponentialHistogram[str] = ExponentialHistogram(max_buckets)
    for item in items:
        histogram = histogram.push(item)
    return histogram


def rows_by_definition(items: str, max_buckets: int) -> list[list[str]]:
    """The definition literally: append to row 0; a row beyond M merges its two oldest into the next."""
    rows: list[list[str]] = [[]]
    for item in items:
        rows[0].append(item)
        for level in range(len(rows)):
            if len(rows[level]) > max_buckets:
                rows += [[]] if level + 1 == len(rows) else []
                rows[level + 1].append(rows[level].pop(0) + rows[level].pop(0))
    return rows if rows[0] else []


@given(ITEMS, MAX_BUCKETS)
def test_rows_follow_the_definition(items: str, max_buckets: int) -> None:
    assert [list(row) for row in histogram_of(items, max_buckets).rows] == rows_by_definition(items, max_buckets)


@given(ITEMS, MAX_BUCKETS)
def test_every_item_is_kept_once_and_in_order(items: str, max_buckets: int) -> None:
    assert "".join(histogram_of(items, max_buckets)) == items


@given(ITEMS, MAX_BUCKETS)
def test_a_bucket_of_row_i_holds_2_to_the_i_items_and_no_row_exceeds_max_buckets(items: str, max_buckets: int) -> None:
    for level, row in enumerate(histogram_of(items, max_buckets).rows):
        assert 1 <= len(row) <= max_buckets
        assert {len(bucket) for bucket in row} == {2**level}


@given(st.integers(1, 5000), MAX_BUCKETS)
def test_the_number_of_buckets_is_logarithmic(n: int, max_buckets: int) -> None:
    histogram = ExponentialHistogram[int](max_buckets).extend([1] * n)
    assert sum(histogram) == n
    assert len(histogram) == len(list(histogram)) <= max_buckets * (math.log2(n / max_buckets + 1) + 1)


@given(st.lists(ITEMS, max_size=8), MAX_BUCKETS)
def test_extending_is_pushing_one_by_one(parts: list[str], max_buckets: int) -> None:
    histogram: ExponentialHistogram[str] = ExponentialHistogram(max_buckets)
    for part in parts:
        histogram = histogram.extend(part)
    assert histogram == histogram_of("".join(parts), max_buckets)


@given(ITEMS, MAX_BUCKETS, st.data())
def test_dropping_the_oldest_bucket_leaves_the_newer_ones(items: str, max_buckets: int, data: st.DataObject) -> None:
    histogram = histogram_of(items, max_buckets)
    for _ in range(data.draw(st.integers(0, len(histogram)))):
        _, *newer = histogram
        histogram = histogram.drop_oldest()
        assert list(histogram) == newer


@given(ITEMS, ITEMS, MAX_BUCKETS, st.data())
def test_a_shortened_histogram_keeps_its_shape_when_it_grows_again(
    items: str, more: str, max_buckets: int, data: st.DataObject
) -> None:
    histogram = histogram_of(items, max_buckets)
    for _ in range(data.draw(st.integers(0, len(histogram)))):
        histogram = histogram.drop_oldest()
    kept = "".join(histogram)
    histogram = histogram.extend(more)
    sizes = [len(bucket) for bucket in histogram]
    assert "".join(histogram) == kept + more
    assert all(older >= newer for older, newer in pairwise(sizes))
    assert all(len(bucket) == 2**level for level, row in enumerate(histogram.rows) for bucket in row)


def test_a_histogram_is_immutable() -> None:
    before = histogram_of("abcdefg", 2)
    rows = before.rows
    before.push("h")
    before.drop_oldest()
    assert before.rows == rows


def test_an_empty_histogram_has_no_oldest_bucket() -> None:
    with pytest.raises(IndexError, match="empty exponential histogram"):
        ExponentialHistogram[int]().drop_oldest()


@pytest.mark.parametrize("max_buckets", [1, 0, -3])
def test_fewer_than_two_buckets_a_row_are_refused(max_buckets: int) -> None:
    with pytest.raises(ValueError, match="max_buckets must be at least 2"):
        ExponentialHistogram[int](max_buckets)


@given(ITEMS, ITEMS, MAX_BUCKETS)
def test_a_snapshot_survives_json_and_grows_as_the_original(items: str, more: str, max_buckets: int) -> None:
    histogram = histogram_of(items, max_buckets)
    restored: ExponentialHistogram[str] = ExponentialHistogram.restore(
        json.loads(json.dumps(histogram.snapshot(list))), "".join
    )
    assert restored == histogram
    assert restored.extend(more) == histogram.extend(more)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_snapshot_of_an_unknown_version_is_refused(version: object) -> None:
    snapshot = histogram_of("abc", 2).snapshot(str) | {"version": version}
    with pytest.raises(ValueError, match=r"histogram snapshot has version .*; this program reads versions 1 to 1"):
        ExponentialHistogram.restore(snapshot, str)


@pytest.mark.parametrize("rows", [[["a", "b", "c"]], [["a"], []]])
def test_a_snapshot_with_impossible_rows_is_refused(rows: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="every row must have 1 to 2 buckets"):
        ExponentialHistogram.restore({"version": 1, "max_buckets": 2, "rows": rows}, str)
