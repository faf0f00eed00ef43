"""What people say of pages, and how many pages came beside how many are allowed. Pure.

Feedback is reported and changes no threshold: what is allowed is stated, and one page says little of a rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from driftline.stream.alerts.explain import as_row
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import AlertError, ReadAlert, read_alert
from driftline.stream.alerts.schema import cut
from driftline.stream.config.sections import Config
from driftline.stream.judge.promise import Promise
from driftline.stream.text.printable import printable, printable_lines

#: The time in which pages are counted: that in which a budget is stated.
PERIOD: Final = timedelta(days=30)
#: Characters of a comment, or of a name, that are stored: a long paragraph. All of them are read at once.
LONGEST: Final = 1000


class Feedback(msgspec.Struct, frozen=True):
    """What somebody says of an incident. real: whether its model had really changed. at: epoch seconds."""

    incident: str
    model: str
    real: bool
    by: str
    at: float
    comment: str = ""

    @property
    def words(self) -> str:
        """The feedback in two words."""
        return f"{'real' if self.real else 'false'} page"


class FeedbackError(ValueError):
    """Stored bytes are no feedback."""


_FEEDBACK = msgspec.json.Decoder(Feedback)


def read_feedback(stored: bytes) -> Feedback:
    """Feedback as `write_feedback` stored it. Raises FeedbackError."""
    try:
        return _FEEDBACK.decode(stored)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FeedbackError(f"no feedback: {error}") from None


def write_feedback(feedback: Feedback) -> bytes:
    """The bytes that are stored of feedback: its texts printable, and the first LONGEST characters of each."""
    by, comment = cut(printable(feedback.by), LONGEST), cut(printable_lines(feedback.comment), LONGEST)
    return msgspec.json.encode(msgspec.structs.replace(feedback, by=by, comment=comment))


class PageCount(NamedTuple):
    """The pages of a model. days: in which they came. allowed: false pages in as many days; None if not stated by time.

    real, false: of how many somebody says so.
    """

    model: str
    days: float
    pages: int
    allowed: float | None
    real: int
    false: int

    def __str__(self) -> str:
        """The count in words.

        >>> str(PageCount("fraud", 30.0, 3, 1.0, 1, 2))
        'fraud: 3 pages in 30 days, 1 false one allowed; of these, 1 is said to be real, 2 false'
        """
        count = f"{self.pages} page{'s' * (self.pages != 1)} in {self.days:.3g} days"
        allowed = "" if self.allowed is None else f", {self.allowed:.2g} false {_ones(self.allowed)} allowed"
        is_said = f"; of these, {self.real} {'is' if self.real == 1 else 'are'} said to be real, {self.false} false"
        return f"{self.model}: {count}{allowed}{is_said if self.real or self.false else ''}"


def _ones(count: float) -> str:
    return "one" if count == 1 else "ones"


def page_counts(
    config: Config, kept: Iterable[tuple[Iterable[bytes], bool]], feedback: Mapping[str, Feedback], now: datetime
) -> list[PageCount]:
    """The pages of every model within PERIOD, by name.

    kept: of each partition, the newest alerts, newest first, and whether older ones were dropped: their time is then
    all that is known. feedback: by incident.
    """
    found = list[PageCount]()
    for lines, dropped in kept:
        alerts = list(_alerts(lines))
        times = [each.emitted_at for each in alerts if each.emitted_at is not None]
        since = max(now - PERIOD, min(times)) if dropped and times else now - PERIOD
        paged = {
            each.incident_id: each.model
            for each in alerts
            if each.status == "firing" and each.mode == "live" and each.about == "model" and _is_after(each, since)
        }
        found += _of_partition(config, paged, feedback, (now - since) / timedelta(days=1))
    return sorted(found)


def incident_rows(
    incidents: Iterable[ListedIncident], counts: Iterable[PageCount], feedback: Mapping[str, Feedback], now: datetime
) -> list[dict[str, Any]]:
    """Incidents as JSON values, each with what is said of it and the pages of its model; null without either."""
    said = {each: {"real": own.real, "by": own.by, "comment": own.comment} for each, own in feedback.items()}
    pages = {each.model: each._asdict() for each in counts}
    return [
        as_row(each, now) | {"feedback": said.get(each.newest.incident_id), "model_pages": pages.get(each.newest.model)}
        for each in incidents
    ]


def _of_partition(
    config: Config, paged: Mapping[str, str], feedback: Mapping[str, Feedback], days: float
) -> Iterable[PageCount]:
    for model, pages in Counter(paged.values()).items():
        said = Counter(feedback[each].real for each, own in paged.items() if own == model and each in feedback)
        promised = Promise.of(model, config.for_model(model), None).pages
        allowed = None if promised is None else promised * days / (PERIOD / timedelta(days=1))
        yield PageCount(model, days, pages, allowed, said[True], said[False])


def _alerts(lines: Iterable[bytes]) -> Iterable[ReadAlert]:
    for line in lines:
        with suppress(AlertError):
            yield read_alert(line)


def _is_after(alert: ReadAlert, since: datetime) -> bool:
    return alert.emitted_at is not None and alert.emitted_at.astimezone(UTC) >= since
