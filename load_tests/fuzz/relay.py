"""What the relay keeps in Redis: a receiver's notifications, and the entries that Alertmanager holds.

What is accepted is used as the relay uses it: it decides, sends and notes until nothing is due, and refreshes.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec

from driftline.stream.alerts.read import read_complete_alert
from driftline.stream.paging.grouping import decide
from driftline.stream.paging.messages import build_notification
from driftline.stream.paging.notifications import Notifications, RecordPosition
from driftline.stream.paging.receivers import alertmanager
from driftline.stream.paging.receivers.registry import INTEGRATIONS
from driftline.stream.paging.silences import ActiveSilences
from driftline.stream.state.notification_log import (
    UNREADABLE,
    notification_fields,
    read_entries,
    read_notifications,
)
from load_tests.fuzz.alerts import ENDPOINT, NOW, RULES, WORDS, sample_alerts
from load_tests.fuzz.mutations import damage_json
from load_tests.fuzz.target import Target

# The names of fields that belong to others, or to nobody.
_NAMES = ("case:", "case:x/1", "page:", "page:x/1", "told:", "told:\u202e", "revision", "epoch", "new:x")
_CASES = 40


def targets() -> list[Target]:
    """The notification log, and the entries of Alertmanager, as hashes of Redis."""
    return [
        Target("notification-log", _write_notifications, _go_on, UNREADABLE, _damage_hash, WORDS),
        Target("alertmanager-entries", _write_entries, _refresh, UNREADABLE, _damage_hash, WORDS),
    ]


@cache
def _histories() -> list[Notifications]:
    """What a relay has open after some alerts, before and after it has sent what is due."""
    rng, histories = random.Random(1), list[Notifications]()
    for _ in range(_CASES):
        notifications = _with(Notifications(), rng.choices(sample_alerts(), k=4))
        histories += [notifications, _sent(notifications, rng.choice([1, 9]))]
    return histories


def _with(notifications: Notifications, lines: Sequence[bytes]) -> Notifications:
    """The notifications after some records."""
    records = [(line, RecordPosition("alerts", 0, at)) for at, line in enumerate(lines)]
    return decide(notifications.receive(records, NOW.timestamp()), RULES, ActiveSilences(), NOW.timestamp())


def _sent(notifications: Notifications, pages: int) -> Notifications:
    """The notifications after so many pages at most, sent to every receiver, were noted."""
    now, silences = NOW.timestamp(), ActiveSilences()
    for _ in range(pages):
        if not (due := notifications.due(silences)):
            break
        notifications = notifications.mark_tried(due[0])
        message = build_notification(notifications, due[0], RULES, now)
        for integration in INTEGRATIONS.values():
            integration.build_request(message.alert, message.raw, ENDPOINT, NOW)
        entries = alertmanager.updated_entries(message.alert, notifications.entries, NOW)
        alertmanager.request_body(entries.values(), NOW)
        notifications = replace(notifications.mark_sent(due[0]), entries={**notifications.entries, **entries})
        notifications = decide(notifications, RULES, silences, now)
    return notifications


def _write_notifications(rng: random.Random) -> bytes:
    fields = notification_fields(rng.choice(_histories()))
    return _hash({**fields, "epoch": 3, "revision": 7})


def _write_entries(rng: random.Random) -> bytes:
    return _hash(rng.choice(_histories()).entries)


def _hash(fields: Mapping[str, Any]) -> bytes:
    """The fields of a hash, of which each value is JSON, as a map of msgpack."""
    return msgspec.msgpack.encode({name.encode(): msgspec.json.encode(value) for name, value in fields.items()})


def _fields(data: bytes) -> dict[bytes, bytes]:
    try:
        return msgspec.msgpack.decode(data, type=dict[bytes, bytes])
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("no hash") from error


def _go_on(data: bytes) -> None:
    """Read the notifications, add alerts, send what is due, store what is left, and read it again."""
    after = _sent(_with(read_notifications(_fields(data)), sample_alerts()[:2]), 20)
    read_notifications(_fields(_hash(notification_fields(after))))


def _refresh(data: bytes) -> None:
    """Read the entries, send them again, forget those that ended long ago, and update those of an incident."""
    held = read_entries(_fields(data))
    alertmanager.request_body(held.values(), NOW)
    for entry in held.values():
        alertmanager.is_forgettable(entry, NOW + timedelta(hours=1))
    for message in map(read_complete_alert, sample_alerts()[:2]):
        read_entries(_fields(_hash({**held, **alertmanager.updated_entries(message, held, NOW)})))


def _damage_alert(case: bytes, rng: random.Random) -> bytes:
    """An incident whose newest alert is damaged, which is stored as base64."""
    incident = json.loads(case)
    incident["raw"] = b64encode(damage_json(b64decode(incident["raw"]), rng)).decode()
    return json.dumps(incident).encode()


def _damage_hash(data: bytes, rng: random.Random) -> bytes:
    """The fields of a hash, one of them damaged, left out, renamed or put in the place of another."""
    fields = _fields(data)
    if not fields:
        return data
    name, kind = rng.choice(list(fields)), rng.randrange(10)
    if kind < 7:
        fields[name] = (_damage_alert if kind < 3 and name.startswith(b"case:") else damage_json)(fields[name], rng)
    elif kind == 7:
        del fields[name]
    elif kind == 8:
        fields[rng.choice(_NAMES).encode()] = fields.pop(name)
    else:
        fields[name] = rng.choice(list(fields.values()))
    return msgspec.msgpack.encode(fields)
