"""The section `history`: for how long a model's signals are kept over time, for people to look at."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from driftline.stream.config.fields import LongDuration, RuleError, Section, duration_field, duration_text

_HOUR, _DAY = 3600.0, 86_400.0
# Two months by the hour, and three years by the day: more would be more stretches than anybody can look at.
_HOURS, _DAYS = 62 * _DAY, 1100 * _DAY


class History(Section):
    """For how long a model's signals are kept over time, for `driftline serve`.

    A stretch takes about 80 bytes a signal in Redis: with 100 signals, 7 days by the hour and 400 by the day are 4.5 MB
    at most.
    """

    hours: LongDuration = duration_field("7d", "How long each hour is kept: 1h to 62d. An hour is one of UTC.")
    days: LongDuration = duration_field("400d", "How long each day is kept: 1d to 1100d. A day is one of UTC.")

    @model_validator(mode="after")
    def _lengths_are_kept_whole(self) -> Self:
        for field, seconds, unit, most in (("hours", self.hours, _HOUR, _HOURS), ("days", self.days, _DAY, _DAYS)):
            if not unit <= seconds <= most or seconds % unit:
                limits = f"{duration_text(unit)} to {duration_text(most)}"
                raise RuleError(f"expected whole {field}, {limits}", field)
        return self

    @property
    def whole_hours(self) -> int:
        """Number of hours."""
        return int(self.hours / _HOUR)

    @property
    def whole_days(self) -> int:
        """Number of days."""
        return int(self.days / _DAY)
