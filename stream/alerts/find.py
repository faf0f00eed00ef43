"""Incidents put together from their alerts, and how an alert is found by its id. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from driftline.stream.alerts.read import AlertError, ReadAlert, ReadSignal, read_alert
from driftline.stream.judge.incidents import SEVERITIES

#: Alerts in the order in which they were sent; each call starts over at the first one.
Lines = Callable[[], Iterable[bytes | None]]

# An id has 16 digits; prefixes of fewer than 4 characters would match several alerts too often.
_ID = re.compile(r"[\w-]{4,128}")
# Alerts named when an id is ambiguous.
_NAMED = 5


class ListedIncident(NamedTuple):
    """An incident. newest: its newest alert. signals: those of all its alerts. phase: "" if that is unknown."""

    newest: ReadAlert
    signals: list[ReadSignal]
    phase: str = ""

    @classmethod
    def of(cls, newest: ReadAlert, alerts: Iterable[ReadAlert], phase: str = "") -> ListedIncident:
        """The incident of `newest`, with the signals of all its alerts among `alerts`, which come newest first."""
        own = [newest, *(each for each in alerts if each.incident_id == newest.incident_id)]
        signals = {signal.name: signal for each in reversed(own) for signal in reversed(each.signals)}
        return cls(newest, sorted(signals.values(), key=lambda each: -each.ratio), phase)

    @property
    def open(self) -> bool:
        """Whether it is not resolved."""
        return not self.newest.resolved

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Sort key of incidents: open ones first, then the worst, then the oldest."""
        severity, starts_at = self.newest.severity, self.newest.starts_at
        rank = SEVERITIES.index(severity) if severity in SEVERITIES else -1
        return not self.open, -rank, starts_at.timestamp() if starts_at else 0.0


class AmbiguousIdError(Exception):
    """Several ids begin with the text that was asked for; the message names them."""


class FoundAlert(NamedTuple):
    """An alert, its bytes, and all alerts of its incident in the order of `seq`."""

    alert: ReadAlert
    line: bytes
    incident: list[ReadAlert]


def may_be_id(text: str) -> bool:
    """Whether a text may be an alert's or an incident's id, or enough of the beginning of one."""
    return _ID.fullmatch(text) is not None


def find(lines: Lines, wanted: str) -> FoundAlert | None:
    """The alert with an id, or the newest of the incident with it; `wanted` may be just the beginning of the id.

    None if there is none. Raises AmbiguousIdError. It reads the lines twice.
    """
    hits = {each.id: (each, line) for each, line in _containing(lines, wanted) if each.matches(wanted)}
    if not hits:
        return None
    whole = [hit for hit in hits.values() if wanted in (hit[0].id, hit[0].incident_id)]
    meant = [hits[wanted]] if wanted in hits else whole or list(hits.values())
    if len({each.incident_id or each.id for each, _ in meant}) > 1:
        raise AmbiguousIdError("\n".join(f"  {each.id}  {each.title}" for each, _ in meant[:_NAMED]))
    alert, line = max(meant, key=lambda hit: hit[0].seq)
    others = _containing(lines, alert.incident_id) if alert.incident_id else ()
    incident = {each.id: each for each, _ in ((alert, line), *others) if each.incident_id == alert.incident_id}
    return FoundAlert(alert, line, sorted(incident.values(), key=lambda each: each.seq))


def _containing(lines: Lines, text: str) -> Iterator[tuple[ReadAlert, bytes]]:
    """The alerts whose JSON holds a text; lines that are no alert are skipped."""
    wanted = text.encode()
    for line in lines():
        if line and wanted in line:
            with suppress(AlertError):
                yield read_alert(line), line
