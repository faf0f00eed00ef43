"""How columns read as times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driftline.stream.inspection.times import elapsed_form, old_form, time_form

START = datetime(2026, 1, 9, 22, tzinfo=UTC)
HOURS = [START + timedelta(hours=hour) for hour in range(200)]


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%d %b %Y %H:%M:%S %z", "%m/%d/%Y %I:%M:%S %p"]
)
def test_a_format_is_found_when_a_day_over_12_shows_which_number_is_the_day(form: str) -> None:
    found = time_form([hour.strftime(form) for hour in HOURS])

    assert found is not None
    assert (found.format, found.others) == (form, ())


def test_both_formats_are_named_when_no_day_shows_which_one_is_meant() -> None:
    found = time_form(["01/02/2026 10:00", "02/02/2026 10:00"])

    assert found is not None
    assert {found.format, *found.others} == {"%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1767225600, "epoch seconds"),
        (1767225600000, "epoch milliseconds"),
        ("1767225600000000", "epoch microseconds in text"),
        (1767225600000000000, "epoch nanoseconds"),
        ("2026-01-01 00:00:00+01", "text such as 2026-01-01 00:00:00+01"),
    ],
)
def test_the_unit_of_times_is_said_in_words(value: object, words: str) -> None:
    found = time_form([value])

    assert found is not None
    assert found.words.startswith(words)
    assert (found.unit, found.format) == ("auto", None)


@pytest.mark.parametrize("value", ["2026-01-01", "2026-01-01 10:00:00", "2026-01-01T10:00"])
def test_times_without_a_zone_are_told_from_times_with_one(value: str) -> None:
    naive, zoned = time_form([value]), time_form(["2026-01-01T10:00Z"])

    assert naive is not None
    assert zoned is not None
    assert (naive.is_zoned, zoned.is_zoned) == (False, True)


@pytest.mark.parametrize("values", [[], ["a"], [True], [[1]], [{}], [7], ["1985-03-01"], [float("nan")]])
def test_other_values_are_no_times(values: list[object]) -> None:
    assert time_form(values) is None


def test_seconds_since_a_start_must_not_fall() -> None:
    assert elapsed_form([0, 1, 1, 5.5]) is not None
    assert elapsed_form([0, 2, 1]) is None


def test_times_of_old_data_sets_are_read_if_they_hardly_ever_fall() -> None:
    days = [datetime(1996, 12, 1, tzinfo=UTC) + timedelta(days=day) for day in range(60)]
    births = [days[(7919 * index) % 60].date().isoformat() for index in range(60)]

    found = old_form([day.isoformat() for day in days])

    assert found is not None
    assert found.words.endswith("1996-12-01 to 1997-01-29")
    assert old_form(births) is None
    assert old_form(["soon"] * 60) is None
    assert old_form(list(range(60))) is None
