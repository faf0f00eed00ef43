"""What the columns of a sample hold."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.stream.inspection.columns import Column, ColumnKind, describe_columns


def column(*values: Any) -> Column:
    (described,) = describe_columns([{"x": value} for value in values])
    return described


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, 2.5, 3), ColumnKind.NUMERIC),
        (("1", "2.5", "3"), ColumnKind.NUMERIC),
        (("a", "b", "a"), ColumnKind.CATEGORICAL),
        ((True, False), ColumnKind.BOOLEAN),
        (("true", "False"), ColumnKind.BOOLEAN),
        ((5, 5, 5), ColumnKind.CONSTANT),
        (([1, 2], [3]), ColumnKind.ARRAY),
        ((None, None), ColumnKind.EMPTY),
        (({}, {}), ColumnKind.OBJECT),
    ],
)
def test_the_kind_of_a_column_is_that_of_its_values(values: tuple[Any, ...], kind: ColumnKind) -> None:
    assert column(*values).kind is kind


def test_objects_are_opened_into_columns() -> None:
    columns = describe_columns([{"user": {"age": 7, "home": {"city": "x"}}, "n": 1}, {"user": None, "n": 2}])

    assert [(each.path, each.present) for each in columns] == [("user.age", 1), ("user.home.city", 1), ("n", 2)]


def test_texts_that_spell_missing_are_counted_as_missing_and_named() -> None:
    described = column(1, "NA", 2, None, "n/a", "NA")

    assert described.kind is ColumnKind.NUMERIC
    assert described.missing == pytest.approx(4 / 6)
    assert described.nulls == {"NA": 2, "n/a": 1}


def test_a_few_texts_among_numbers_are_named_and_leave_the_column_numeric() -> None:
    described = column(*range(99), "12 EUR")

    assert (described.kind, described.odd, described.odd_count) == (ColumnKind.NUMERIC, "12 EUR", 1)


def test_numbers_in_text_are_told_from_numbers() -> None:
    assert column("1", "2", "3").numerals
    assert not column(1, 2, 3).numerals


def test_a_key_with_a_dot_is_a_column_that_no_mapping_can_name() -> None:
    (described,) = describe_columns([{"a.b": 1}])

    assert described.path == "a.b"
    assert not described.reachable


def test_numbers_of_rows_are_told_from_other_integers() -> None:
    assert column(*range(50)).is_counter
    assert not column(*range(0, 100, 2)).is_counter


def test_numbers_beyond_floats_are_described() -> None:
    assert column(10**400, 1, 2).present == 3
