"""Prometheus Alertmanager: each incident is an entry that is sent again and again while it fires. Pure.

    firing   ──► entry, sent again every minute; it would end by itself 15 minutes after the last time
    resolved ──► the same entry with endsAt, sent for 5 minutes more, then forgotten

Alertmanager identifies an alert by its labels, so an incident keeps its labels as long as it is open. The one exception
is severity, by which people route: when it rises, the entry ends and another one begins, in one message. It never
falls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import SEVERITIES
from driftline.stream.text.printable import printable, printable_lines

#: An alert as Alertmanager wants it, with `endsAt` only when it has ended. Entries are stored by identity.
Entry = dict[str, Any]

ALERT_NAME, WATCHDOG_NAME = "ModelDrift", "DriftlineWatchdog"
# How long an entry outlives its last sending: a relay that restarts, or a network that recovers, within this time
# resolves nothing. At a third of it, five minutes without a network would end every incident, and page again.
_LIFE = timedelta(minutes=15)
# An Alertmanager that was away for less still gets the end.
_AFTER_THE_END = timedelta(minutes=5)
# How soon the watchdog of a dead relay ends.
_WATCHDOG = timedelta(minutes=5)
# Characters of an annotation. Alertmanager has no limit, but repeats annotations in every message.
_ANNOTATION = 3000


class _Labels(msgspec.Struct):
    incident: str
    severity: Severity


class _Held(msgspec.Struct, rename="camel"):
    """What is read of an entry that is held; it may have more."""

    labels: _Labels
    ends_at: str | None = None


_ENTRY = msgspec.json.Decoder(Entry)


def read_entry(data: bytes) -> Entry:
    """An entry from its JSON. Raises MsgspecError, ValueError or RecursionError for anything else."""
    entry = _ENTRY.decode(data)
    held = msgspec.convert(entry, _Held)
    if "endsAt" in entry and datetime.fromisoformat(held.ends_at or "").tzinfo is None:
        raise ValueError("endsAt has no time zone")
    return entry


def updated_entries(alert: CompleteAlert, held: Mapping[str, Entry], now: datetime) -> dict[str, Entry]:
    """The entries that an alert adds or changes, given the entries held of all incidents; by identity."""
    open_ones = {
        name: entry
        for name, entry in held.items()
        if entry["labels"]["incident"] == printable(alert.incident) and "endsAt" not in entry
    }
    severities = [alert.severity, *(entry["labels"]["severity"] for entry in open_ones.values())]
    entry = _entry(alert, max(severities, key=SEVERITIES.index), now)
    replaced = {name: {**each, "endsAt": _text(now)} for name, each in open_ones.items()}
    return replaced | {f"{alert.incident}/{entry['labels']['severity']}": entry}


def request_body(entries: Iterable[Entry], now: datetime) -> bytes:
    """The body of a POST to /api/v2/alerts."""
    end = _text(now + _LIFE)
    return msgspec.json.encode([{"endsAt": end, **entry} for entry in entries])


def is_forgettable(entry: Entry, now: datetime) -> bool:
    """Whether an entry's end has been sent for long enough."""
    return "endsAt" in entry and datetime.fromisoformat(entry["endsAt"]) < now - _AFTER_THE_END


def watchdog(relay: str, now: datetime) -> Entry:
    """An alert that fires as long as the relay sends it."""
    return {
        "labels": {"alertname": WATCHDOG_NAME, "relay": relay, "severity": "none"},
        "annotations": {"summary": "Driftline's relay is alive. Be alarmed when this stops."},
        "endsAt": _text(now + _WATCHDOG),
    }


def is_accepted(status: int, answer: bytes) -> bool:
    """Whether an answer means that Alertmanager accepted it: 200 with nothing or JSON, not with a proxy's page."""
    return status == 200 and not answer.lstrip().startswith(b"<")


def _entry(alert: CompleteAlert, severity: str, now: datetime) -> Entry:
    links = alert.web_links()
    entry: Entry = {
        "labels": {
            **{_label_name(name): printable(value) for name, value in alert.short_labels().items()},
            "alertname": ALERT_NAME,
            "model": cut(printable(alert.component), SHORT),
            "incident": printable(alert.incident),
            "severity": severity,
        },
        "annotations": {
            "summary": cut(printable(alert.title), _ANNOTATION),
            "description": cut(printable_lines(alert.description), _ANNOTATION),
            "class": cut(printable(alert.kind), SHORT),
            "since": _text(alert.starts_at),
            **({"owner": cut(printable(alert.owner), SHORT)} if alert.owner else {}),
            **{f"{_label_name(link.text)[:SHORT]}_url": link.href for link in links if link.text != link.href},
        },
        # Event time may run ahead of the clock, and Alertmanager wants the start before the end.
        "startsAt": _text(min(alert.starts_at, now)),
        **({"generatorURL": links[0].href} if links else {}),
    }
    return entry | {"endsAt": _text(now)} if alert.resolved else entry


def _label_name(text: str) -> str:
    """A label name that Prometheus allows: "Runbook" becomes runbook, "model-id" model_id."""
    name = re.sub(r"[^a-z0-9_]", "_", text.lower())
    return name if re.match("[a-z_]", name) else f"_{name}"


def _text(moment: datetime) -> str:
    return moment.isoformat()
