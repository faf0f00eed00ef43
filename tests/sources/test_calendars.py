"""Calendars: which time is closed, as people write it down, and what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest

from driftline.detectors.decision.traffic import EVERY_DAY
from driftline.stream.config.diagnostics import ConfigError
from driftline.stream.config.load import check_config, parse_config
from driftline.stream.sources.calendars import CalendarError, Calendars, calendar_remarks, load_calendars

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def calendars(section: str, folder: Path = Path()) -> Calendars:
    return load_calendars(parse_config(f"defaults:\n  calendar:\n{indent(section, '    ')}"), folder, NOW)


def closed(loaded: Calendars, model: str = "fraud") -> Iterator[tuple[str, str]]:
    """The closed stretches of time in UTC."""
    for first, end in loaded.for_model(model).excluded:
        yield tuple(datetime.fromtimestamp(slot * 10, UTC).strftime("%Y-%m-%dT%H:%M") for slot in (first, end))


def ics(folder: Path, *events: str) -> str:
    """A calendar of events, each given by its lines, in a file of this folder; returns the section that names it."""
    body = "".join(
        f"BEGIN:VEVENT\nUID:{i}\nDTSTAMP:20260101T000000Z\n{each}\nEND:VEVENT\n" for i, each in enumerate(events)
    )
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\n{body}END:VCALENDAR\n"
    (folder / "holidays.ics").write_text(text.replace("\n", "\r\n"))
    return "files: [holidays.ics]"


def test_without_a_calendar_every_day_counts() -> None:
    assert load_calendars(parse_config(""), Path(), NOW).for_model("fraud") is EVERY_DAY


def test_a_date_counts_as_a_whole_day_in_the_time_zone_and_a_time_as_it_is() -> None:
    loaded = calendars(
        """
timezone: Europe/Berlin
closed:
  - {from: 2026-12-24, to: 2026-12-26}
  - {from: 2026-07-01T18:00, to: 2026-07-01T18:30:05}
  - {from: "2026-08-01 18:00+00:00", to: 2026-08-01T19:00Z}
"""
    )
    assert [*closed(loaded)] == [
        ("2026-07-01T16:00", "2026-07-01T16:30"),
        ("2026-08-01T18:00", "2026-08-01T19:00"),
        ("2026-12-23T23:00", "2026-12-26T23:00"),
    ]
    assert loaded.of_all.excluded[0][1] * 10 % 60 == 10  # a slot that is closed in part is closed


def test_summer_time_moves_no_hour_of_the_week() -> None:
    calendar = calendars("timezone: Europe/Berlin").of_all
    nine_local = [datetime(2026, month, 5, hour, tzinfo=UTC) for month, hour in ((1, 8), (10, 7), (11, 8))]
    cells = calendar.cells(np.array([int(each.timestamp()) // 3600 for each in nine_local]))
    assert {int(cell) % 24 for cell in cells} == {9}


def test_a_model_may_have_a_calendar_of_its_own_beside_what_holds_for_all() -> None:
    text = """
defaults:
  calendar: {timezone: Europe/Vienna, closed: [{from: 2026-01-06, to: 2026-01-06}]}
models:
  fraud: {calendar: {closed: [{from: 2026-07-04, to: 2026-07-04}]}}
"""
    loaded = load_calendars(parse_config(text), Path(), NOW)
    assert [*closed(loaded, "churn")] == [("2026-01-05T23:00", "2026-01-06T23:00")]
    assert [*closed(loaded, "fraud")] == [("2026-07-03T22:00", "2026-07-04T22:00")]


def test_events_of_a_file_are_closed_with_those_that_recur(tmp_path: Path) -> None:
    section = ics(
        tmp_path,
        "DTSTART;VALUE=DATE:20251224\nDTEND;VALUE=DATE:20251226\nRRULE:FREQ=YEARLY;COUNT=3\nTRANSP:TRANSPARENT",
        "DTSTART:20260310T220000Z\nDTEND:20260310T233000Z\nRRULE:FREQ=WEEKLY;COUNT=3\nEXDATE:20260317T220000Z",
        "DTSTART;TZID=America/New_York:20260704T090000\nDURATION:PT1H",
        "DTSTART:20260501T080000\nDTEND:20260501T090000",
    )
    assert [*closed(calendars(f"timezone: Europe/Berlin\n{section}", tmp_path))] == [
        ("2025-12-23T23:00", "2025-12-25T23:00"),
        ("2026-03-10T22:00", "2026-03-10T23:30"),
        ("2026-03-24T22:00", "2026-03-24T23:30"),
        ("2026-05-01T06:00", "2026-05-01T07:00"),
        ("2026-07-04T13:00", "2026-07-04T14:00"),
        ("2026-12-23T23:00", "2026-12-25T23:00"),
        ("2027-12-23T23:00", "2027-12-25T23:00"),
    ]


@pytest.mark.parametrize("rule", ["FREQ=HOURLY", "FREQ=SECONDLY", "FREQ=DAILY;BYHOUR=1,2,3", "FREQ=minutely;COUNT=3"])
def test_an_event_that_recurs_more_often_than_daily_is_refused_by_name(rule: str, tmp_path: Path) -> None:
    section = ics(tmp_path, f"SUMMARY:backup\nDTSTART:20260101T000000Z\nRRULE:{rule}")
    with pytest.raises(CalendarError, match=r"holidays\.ics: the event backup recurs more often than daily"):
        calendars(section, tmp_path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    section = ics(tmp_path, *["DTSTART:20260101T000000Z"] * 2001)
    with pytest.raises(CalendarError, match="2,001 events"):
        calendars(section, tmp_path)
    (tmp_path / "holidays.ics").write_bytes(b"x" * (1 << 20 | 1))
    with pytest.raises(CalendarError, match="more than 1,048,576 bytes"):
        calendars(section, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"\xff\xfe\x00", b"BEGIN:VCALENDAR\r\n", b"BEGIN:VEVENT\r\nDTSTART:x"]
)
def test_what_is_no_calendar_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "holidays.ics").write_bytes(content)
    with pytest.raises(CalendarError, match=r"holidays\.ics: not an iCalendar file"):
        calendars("files: [holidays.ics]", tmp_path)


def test_an_absent_file_and_an_unknown_time_zone_are_named(tmp_path: Path) -> None:
    with pytest.raises(CalendarError, match=r"none\.ics: No such file"):
        calendars("files: [none.ics]", tmp_path)
    with pytest.raises(CalendarError, match="no time zone 'Mars/Olympus'"):
        calendars("timezone: Mars/Olympus")
    config = parse_config("defaults: {calendar: {timezone: ../../etc/passwd}}")
    (remark,) = calendar_remarks(config, tmp_path)
    assert (remark.severity, remark.path) == ("error", ("defaults", "calendar"))


def test_an_error_of_a_models_own_calendar_names_its_place(tmp_path: Path) -> None:
    config = parse_config("models: {fraud: {calendar: {files: [none.ics]}}}")
    (remark,) = calendar_remarks(config, tmp_path)
    assert remark.path == ("models", "fraud", "calendar")
    assert remark.message == f"models.fraud.calendar: {tmp_path}/none.ics: No such file or directory"


def test_times_with_offsets_are_compared_as_moments() -> None:
    assert calendars('closed: [{from: "2026-07-01T18:00+09:00", to: "2026-07-01T12:00Z"}]').of_all.excluded
    with pytest.raises(ConfigError):
        calendars('closed: [{from: "2026-07-01T12:00Z", to: "2026-07-01T18:00+09:00"}]')
    in_tokyo = "timezone: Asia/Tokyo\nclosed: [{from: 2026-07-01T%s, to: 2026-07-01T12:00Z}]"
    assert calendars(in_tokyo % "18:00").of_all.excluded
    with pytest.raises(CalendarError, match=r"defaults\.calendar: .* ends before it begins in Asia/Tokyo"):
        calendars(in_tokyo % "22:00")


def test_a_date_at_the_end_counts_as_a_whole_day_after_a_time_of_that_day() -> None:
    half, whole = (calendars(f"closed: [{{from: 2026-12-24{time}, to: 2026-12-24}}]") for time in ("T12:00", ""))
    ((first, last),), ((begin, end),) = half.of_all.excluded, whole.of_all.excluded
    assert (first - begin, last) == ((end - begin) // 2, end)
    with pytest.raises(ConfigError, match="ends before it begins"):
        calendars("closed: [{from: 2026-12-24T12:00, to: 2026-12-23}]")


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ("{from: 2026-12-26, to: 2026-12-24}", "ends before it begins"),
        ("{from: 2026-13-01, to: 2026-12-24}", "no such date or time"),
        ("{from: tomorrow, to: 2026-12-24}", "a date, or a time"),
        ("{from: 2026-12-26}", "to"),
    ],
)
def test_a_stretch_of_time_that_cannot_be_is_refused(closed: str, message: str) -> None:
    text = f"defaults: {{calendar: {{closed: [{closed}]}}}}"
    with pytest.raises(ConfigError):
        parse_config(text)
    assert any(message in f"{each.message} {each.help}" for each in check_config(text)), check_config(text)
