"""Calendars: what a configuration says of holidays, planned work and time zones, read from it and from iCalendar files.

Bounded: a file has at most 1 MB and 2000 events, of which 100 recur, none of them more often than daily. So reading one
takes some seconds at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from driftline.detectors.decision.rates import SLOT
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar
from driftline.stream.config.calendar import Calendar as Section
from driftline.stream.config.calendar import Closed
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import Config
from driftline.stream.config.yaml import Path as ConfigPath

_MAX_BYTES, _MAX_EVENTS, _MAX_RECURRING = 1 << 20, 2000, 100
# Years of events that are read, before this one and after it: the oldest history that is replayed, and longer than a
# worker runs without a restart.
_BEFORE, _AFTER = 5, 2
_FREQUENT = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
_TIMES_OF_DAY = frozenset({"BYHOUR", "BYMINUTE", "BYSECOND"})
_DAY = timedelta(days=1)


class CalendarError(ValueError):
    """A calendar cannot be read; the message names the field, what is wrong, and what helps. path: of the calendar."""

    def __init__(self, message: str, path: ConfigPath = ()) -> None:
        self.path = path
        super().__init__(f"{dotted_path(path)}: {message}" if path else message)


@dataclass(frozen=True)
class Calendars:
    """The calendars of a configuration: that of all models, and of those with one of their own."""

    of_all: Calendar = EVERY_DAY
    own: tuple[tuple[str, Calendar], ...] = ()

    def for_model(self, model: str) -> Calendar:
        """The calendar of a model."""
        return dict(self.own).get(model, self.of_all)


def load_calendars(config: Config, folder: Path, now: datetime | None = None) -> Calendars:
    """The calendars of a configuration, whose paths are relative to `folder`. Raises CalendarError."""
    year = (now or datetime.now(UTC)).year
    span = datetime(year - _BEFORE, 1, 1, tzinfo=UTC), datetime(year + _AFTER, 12, 31, tzinfo=UTC)
    own = {
        model: config.for_model(model).calendar
        for model, section in config.models.items()
        if "calendar" in section.model_fields_set
    }
    return Calendars(
        _read_at(("defaults", "calendar"), config.defaults.calendar, folder, span),
        tuple((model, _read_at(("models", model, "calendar"), each, folder, span)) for model, each in own.items()),
    )


def calendar_remarks(config: Config, folder: Path) -> list[Remark]:
    """What is wrong with the calendars of a configuration."""
    try:
        load_calendars(config, folder)
    except CalendarError as error:
        return [Remark(error.path, str(error), "", "error")]
    return []


def _read_at(path: ConfigPath, section: Section, folder: Path, span: tuple[datetime, datetime]) -> Calendar:
    """The calendar of a section at a path of the configuration. Raises CalendarError, which names the path."""
    try:
        return _read(section, folder, *span)
    except CalendarError as error:
        raise CalendarError(str(error), path) from error


def _read(section: Section, folder: Path, first: datetime, last: datetime) -> Calendar:
    if section == Section():
        return EVERY_DAY
    try:
        zone = ZoneInfo(section.timezone)
    except (OSError, ValueError, KeyError):
        raise CalendarError(
            f"there is no time zone {section.timezone!r}; name one of the IANA's, such as Europe/Berlin"
        ) from None
    spans = [_span(each, zone) for each in section.closed]
    for name in section.files:
        spans += _events(folder / name, zone, first, last)
    since, offsets = _offsets(zone, first, last)
    return Calendar(since, offsets, tuple(sorted({_slots(*span) for span in spans})))


def _span(closed: Closed, zone: ZoneInfo) -> tuple[datetime, datetime]:
    since, until = datetime.fromisoformat(closed.since), datetime.fromisoformat(closed.until)
    first, last = _moment(since, zone), _moment(until + _DAY if len(closed.until) == len("2026-12-24") else until, zone)
    if last < first:
        raise CalendarError(f"closed from {closed.since} to {closed.until}: it ends before it begins in {zone}")
    return first, last


def _moment(moment: date, zone: ZoneInfo) -> datetime:
    """A date's begin, or a time, which is in `zone` unless it says otherwise."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _slots(begin: datetime, end: datetime) -> tuple[int, int]:
    """The slots [first, end) that a stretch of time touches."""
    return int(begin.timestamp() // SLOT), int(-(-end.timestamp() // SLOT))


def _events(path: Path, zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    import recurring_ical_events  # with icalendar, 80 ms that no other command should pay

    components = _components(path)
    try:
        for event in recurring_ical_events.of(components).between(first, last):
            yield _moment(event.start, zone), _moment(event.end, zone)
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise CalendarError(f"{path}: not an iCalendar file: {error}") from error


def _components(path: Path) -> Any:
    """A file's components. Raises CalendarError unless it is an iCalendar file within bounds."""
    import icalendar

    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CalendarError(f"{path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise CalendarError(f"{path}: has more than {_MAX_BYTES:,} bytes; leave out events of the past")
    try:
        components = icalendar.Calendar.from_ical(content)
        events = components.walk("VEVENT")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CalendarError(f"{path}: not an iCalendar file: {error}") from error
    recurring = [each for each in events if "RRULE" in each]
    if len(events) > _MAX_EVENTS or len(recurring) > _MAX_RECURRING:
        raise CalendarError(
            f"{path}: has {len(events):,} events, of which {len(recurring):,} recur; {_MAX_EVENTS:,} and "
            f"{_MAX_RECURRING} are read at most, so divide it or leave some out"
        )
    for event in recurring:
        _check_rule(path, event)
    return components


def _check_rule(path: Path, event: Any) -> None:
    for rule in event["RRULE"] if isinstance(event["RRULE"], list) else [event["RRULE"]]:
        if _FREQUENT & {str(each).upper() for each in rule.get("FREQ", [])} or _TIMES_OF_DAY & {*rule}:
            raise CalendarError(f"{path}: the event {event.get('SUMMARY', '')!s:.60} recurs more often than daily")


def _offsets(zone: ZoneInfo, first: datetime, last: datetime) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The Unix seconds at which the zone's offset from UTC changes, and the offsets in s: before, and after each."""
    since, offsets = list[int](), [_offset(zone, int(first.timestamp()))]
    for day in range(int(first.timestamp()), int(last.timestamp()), 86_400):
        if _offset(zone, day + 86_400) != offsets[-1]:
            at = next(each for each in range(day, day + 86_401, 900) if _offset(zone, each) != offsets[-1])
            since.append(at)
            offsets.append(_offset(zone, at))
    return tuple(since), tuple(offsets)


def _offset(zone: ZoneInfo, seconds: int) -> int:
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
