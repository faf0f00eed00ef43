"""Times: what every common form means, what is refused, and that the fast path agrees with the exact reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.events.columns import Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.events.times import PLAIN_TIMES, TimeRule, Unit

NOW = 1767225600000  # 2026-01-01T00:00:00Z
FIELD = {"m": [Field("score", True)]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1767225600, NOW),
        (1767225600.25, NOW + 250),
        ("1767225600", NOW),
        ("1767225600.25", NOW + 250),
        (NOW, NOW),
        (str(NOW), NOW),
        (NOW * 1000 + 999, NOW),
        (NOW * 10**6 + 999_999, NOW),
        ("20260101T000000Z", NOW),
        ("2026-01-01T00:00:00,123Z", NOW + 123),
        ("2026-01-01T00:00:00.123456789Z", NOW + 123),
        ("2026-01-01T00:00:00 UTC", NOW),
        ("2026-01-01 00:00:00 GMT", NOW),
        ("2026-01-01T00:00Z", NOW),
        ("2026-01-01 00:00:00.123+00", NOW + 123),
        ("2026-01-01T01:00:00+01", NOW),
        ("2026-01-01 00:00:00", NOW),
        ("2026-01-01", NOW),
        ("2026/01/01 00:00:00", NOW),
        ("Thu, 01 Jan 2026 01:00:00 +0100", NOW),
    ],
)
def test_common_forms_of_a_time_are_read(value: Any, expected: int) -> None:
    assert PLAIN_TIMES.epoch_ms(value) == expected


@pytest.mark.parametrize("text", ["01/02/2026 10:00", "1.2.2026", "31-12-26 00:00"])
def test_whether_the_day_or_the_month_comes_first_is_asked_and_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="is the day or the month first"):
        PLAIN_TIMES.epoch_ms(text)


@pytest.mark.parametrize("value", [20260101, "20260101", 0, 10**8 - 1])
def test_a_number_too_small_for_a_time_names_the_options_that_read_it(value: Any) -> None:
    with pytest.raises(ValueError, match="give `unit` or `format`"):
        PLAIN_TIMES.epoch_ms(value)


@pytest.mark.parametrize(
    "value", ["", "soon", "12:00", "2026-13-01", "99999-01-01", "\ud800", [], {}, True, None, -1.0]
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        PLAIN_TIMES.epoch_ms(value)


def test_a_given_unit_reads_every_number_of_the_years_1970_to_9999() -> None:
    assert TimeRule("s").epoch_ms(0) == 0
    assert TimeRule("ms").epoch_ms(253_402_300_799_999) == 253_402_300_799_999
    with pytest.raises(ValueError, match="in the years 1970 to 9999"):
        TimeRule("s").epoch_ms(NOW)


def test_a_given_format_reads_only_that() -> None:
    rule = TimeRule(format="%d/%m/%Y %H:%M", zone="Europe/Berlin")
    assert rule.epoch_ms("31/01/2026 01:00") == NOW + 30 * 86_400_000
    with pytest.raises(ValueError, match="expected a time in the format '%d/%m/%Y %H:%M', got '2026-01-31'"):
        rule.epoch_ms("2026-01-31")


def test_a_time_without_a_zone_is_in_the_given_one() -> None:
    rule = TimeRule(zone="America/New_York")
    assert rule.epoch_ms("2026-07-01 00:00") == rule.epoch_ms("2026-07-01T04:00:00Z")
    assert rule.epoch_ms("2026-12-01 00:00") == rule.epoch_ms("2026-12-01T05:00:00Z")


INSTANTS = st.datetimes(datetime(1974, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 # hypothesis takes naive bounds
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)


@given(INSTANTS, st.integers(-14 * 60, 14 * 60))
def test_one_instant_is_the_same_in_every_spelling(time: datetime, offset: int) -> None:
    ms = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    there = time.astimezone(timezone(timedelta(minutes=offset)))
    whole = time.replace(microsecond=0)
    spellings = [ms, ms * 1000, ms * 10**6, ms / 1000, there.isoformat(), there.isoformat(" "), time.isoformat()]
    assert {PLAIN_TIMES.epoch_ms(each) for each in spellings} == {ms}
    assert PLAIN_TIMES.epoch_ms(format_datetime(whole)) == ms // 1000 * 1000


RULES = [
    {"unit": unit, "zone": zone, "format": form}
    for unit in ("auto", "s", "ms", "us", "ns")
    for zone in ("UTC", "Asia/Kolkata")
    for form in (None, "%Y-%m-%d %H:%M:%S", "%Y-%d-%m")
]
VALUES = (
    st.integers(-1, 10**21)
    | st.floats(0, 1e21)
    | st.sampled_from([1767225600, NOW, NOW * 1000, NOW * 10**6, 1e8 - 1, 10**14, 10**14 - 1, 2**63, 1e300])
    | st.datetimes().map(datetime.isoformat)
    | st.datetimes().map(lambda time: f"{time:%Y-%m-%d %H:%M:%S}")
    | st.sampled_from(["2026-01-02", "1767225600", "2026-01-01T00:00:00Z", "1970-01-01T00:00:00", "", "x"])
)


def time_or_reason(data: bytes, mapping: EventMapping) -> int | str:
    try:
        return parse_event(data, mapping).ts
    except EventError as error:
        return str(error)


@given(VALUES, st.sampled_from(RULES))
def test_the_fast_path_reads_times_as_the_exact_reader_does(value: Any, rule: dict[str, Any]) -> None:
    mapping = EventMapping(**rule)
    data = json.dumps({"id": 1, "ts": value, "model": "m", "score": 0.5}).encode()
    decoded = Decoder(FIELD, mapping).decode([data])
    found = decoded.known["m"].ts.tolist() if decoded.known else [each.reason for each in decoded.rejections]
    assert found == [time_or_reason(data, mapping)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epoch_times_of_every_unit_take_the_fast_path(unit: Unit) -> None:
    times = {"s": NOW // 1000, "ms": NOW, "us": NOW * 1000, "ns": NOW * 10**6}
    data = json.dumps({"id": 1, "ts": times[unit], "model": "m", "score": 0.5}).encode()
    known, refused = Decoder(FIELD)._parse_plain([data])
    assert not refused
    assert known["m", None].ts.tolist() == [NOW]


def test_the_zone_of_daylight_saving_is_that_of_the_place() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day in (datetime(2026, 1, 15, 12, tzinfo=berlin), datetime(2026, 7, 15, 12, tzinfo=berlin)):
        naive = f"{day:%Y-%m-%dT%H:%M:%S}"
        assert TimeRule(zone="Europe/Berlin").epoch_ms(naive) == int(day.timestamp() * 1000)
