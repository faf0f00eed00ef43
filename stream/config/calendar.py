"""The section `calendar`: holidays and planned work, and in which time zone a model's days and weeks are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from driftline.stream.config.fields import RuleError, Section, Text

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
Moment = Annotated[
    str,
    Field(
        pattern=rf"^{_DATE}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}})?(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?$",
        examples=["2026-12-24", "2026-12-31T18:00"],
    ),
]


class Closed(Section):
    """A stretch of time without the usual traffic."""

    since: Moment = Field(
        alias="from", description="Its begin: a date, or a time, in `timezone` unless it has an offset."
    )
    until: Moment = Field(alias="to", description="Its end: a date, which counts as a whole day, or a time.")

    @model_validator(mode="after")
    def _is_a_stretch_of_time(self) -> Self:
        moments = list[datetime]()
        for field, text in (("from", self.since), ("to", self.until)):
            try:
                moments.append(datetime.fromisoformat(text))
            except ValueError:
                raise RuleError("there is no such date or time", field) from None
        first, last = moments
        if _is_date(self.until) and not _is_date(self.since):  # it counts as a whole day
            last += timedelta(days=1)
        # If only one has an offset, it takes the time zone to compare them: `stream.sources.calendars` does.
        if (first.tzinfo is None) == (last.tzinfo is None) and last < first:
            raise RuleError("ends before it begins", "to")
        return self


def _is_date(moment: str) -> bool:
    return len(moment) == len("2026-12-24")


class Calendar(Section):
    """Holidays and planned work: a model's traffic is neither judged nor learned then."""

    timezone: Text = Field(
        "UTC",
        description="Time zone in which the days and weeks of the model's callers are, such as Europe/Berlin: with it, "
        "summer time moves no hour of the week. Stated, also as UTC, it lets baselines expect other values at other "
        "hours; without it they do not, since an hour that is wrong half of the year would page.",
        examples=["Europe/Berlin"],
    )
    closed: tuple[Closed, ...] = Field(
        (), max_length=10_000, description="Stretches of time without the usual traffic."
    )
    files: tuple[Text, ...] = Field(
        (),
        max_length=100,
        description="Paths of iCalendar files (.ics), relative to this file: the time of each of their events counts "
        "as closed. They are read at the start and at SIGHUP, from five years ago to two years ahead; at most 1 MB "
        "each, and nothing that recurs more often than daily.",
    )

    @property
    def stated_timezone(self) -> str | None:
        """The time zone; None if nobody has stated one."""
        return self.timezone if "timezone" in self.model_fields_set else None
