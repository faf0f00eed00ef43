"""Alerts, as other programs may write them too, and silences: what relay and commands make of them."""

from __future__ import annotations

import io
import random
from datetime import UTC, datetime, timedelta
from functools import cache

import orjson
from rich.console import Console

from driftline.stream.alerts.explain import as_row
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import AlertError, key_of, read_alert, read_complete_alert
from driftline.stream.config.sections import Config
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import build_notification
from driftline.stream.paging.notifications import Notifications, RecordPosition
from driftline.stream.paging.receivers import alertmanager
from driftline.stream.paging.receivers.registry import INTEGRATIONS
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.paging.silences import ActiveSilences, Matcher, Silence, SilenceError, read_silence, write_silence
from driftline.stream.reports.alert import print_explanation, print_incidents
from load_tests.fuzz.mutations import damage_json
from load_tests.fuzz.target import Target
from load_tests.harness.oracle import Replay, baseline_of, messages

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MODELS = ("fraud", "churn")
ENDPOINT = Endpoint("https://127.0.0.1/x", key="0" * 32)
# An outage of two models, and cascades.
RULES = GroupingRules(group_wait=0, outage_models=2, outage_window=600, upstream={"fraud": frozenset({"churn"})})
WORDS = (
    b'"resolved"',
    b'"critical"',
    b"9999-12-31T23:59:59Z",
    b"0001-01-01T00:00:00Z",
    b"1e400",
    b"\\u202e",
    b"[/red]",
)
MATCHERS = ("model=fraud", "signal=~features[.](amount|zip)", "class!~data-.*", 'severity!="info"', "a.b=~(?i)x+")
REGEXES = (b"(", b")*", b"[^", b"{9,}", b"\\", b"(?i", b"|", b"=~", b"!~", b'"')


def targets() -> list[Target]:
    """Alerts for people, alerts for receivers, stored silences, matchers of the command line."""
    return [
        Target("alert-explained", _write_alert, _explain, (AlertError,), damage_json, WORDS),
        Target("alert-paged", _write_alerts, _page, (AlertError,), _damage_lines, WORDS),
        Target("silence", _write_silence, _silence, (SilenceError,), damage_json, (*WORDS, *REGEXES)),
        Target("matcher", _write_matcher, _match, (SilenceError,), None, REGEXES),
    ]


@cache
def sample_alerts() -> list[bytes]:
    """The alerts of models that drift and recover."""
    config = Config.model_validate({"panes": {"events": 100}, "defaults": {"incidents": {"recovery": "1m"}}})
    replay = Replay(config, {model: baseline_of(model) for model in MODELS})
    for model in MODELS:
        replay.read(0, messages(model, 3000, drift=(1000, 2000), step=1000), first=3000 * len(replay.alerts))
    return list(map(orjson.dumps, replay.alerts))


def _write_alert(rng: random.Random) -> bytes:
    return rng.choice(sample_alerts())


def _explain(data: bytes) -> None:
    """All that `explain` and `incidents` print of an alert."""
    alert = read_alert(data)
    console = Console(file=io.StringIO(), width=80)
    print_explanation(console, alert, [alert], 1e-6)
    listed = ListedIncident.of(alert, [alert])
    print_incidents(console, [listed], NOW)
    orjson.dumps(as_row(listed, NOW))


def _write_alerts(rng: random.Random) -> bytes:
    return b"\n".join(rng.choices(sample_alerts(), k=rng.choice([1, 2, 5])))


def _damage_lines(data: bytes, rng: random.Random) -> bytes:
    return b"\n".join(damage_json(line, rng) if rng.random() < 0.6 else line for line in data.split(b"\n"))


def _page(data: bytes) -> None:
    """All pages of the alerts in lines, as requests to every receiver. Raises AlertError if no line holds one."""
    lines = [line for line in data.split(b"\n") if _is_alert(line)]
    if not lines:
        raise AlertError("no line holds an alert")
    records = [(line, RecordPosition("alerts", 0, number)) for number, line in enumerate(lines)]
    now, silences = NOW.timestamp(), ActiveSilences()
    notifications = decide(Notifications().receive(records, now), RULES, silences, now)
    while due := notifications.due(silences):
        notifications = notifications.mark_tried(due[0])
        message = build_notification(notifications, due[0], RULES, now)
        for integration in INTEGRATIONS.values():
            integration.build_request(message.alert, message.raw, ENDPOINT, NOW)
        alertmanager.request_body(list(alertmanager.updated_entries(message.alert, {}, NOW).values()), NOW)
        notifications = decide(notifications.mark_sent(due[0]), RULES, silences, now)


def _is_alert(line: bytes) -> bool:
    try:
        read_complete_alert(line)
        key_of(line)
    except AlertError:
        return False
    return True


def _write_silence(rng: random.Random) -> bytes:
    matchers = tuple(map(Matcher.parse, (MATCHERS[0], rng.choice(MATCHERS))))
    return write_silence(Silence("a1", matchers, NOW, NOW + timedelta(hours=1), "me", "backfill"))


def _silence(data: bytes) -> None:
    silence = read_silence(data)
    silence.active(NOW)
    for line in sample_alerts()[:2]:
        ActiveSilences([silence])(read_complete_alert(line))


def _write_matcher(rng: random.Random) -> bytes:
    return rng.choice(MATCHERS).encode()


def _match(data: bytes) -> None:
    matcher = Matcher.parse(data.decode("utf-8", "surrogateescape"))
    for value in ("", "features.amount", "x" * 500, data.decode("utf-8", "surrogateescape")):
        matcher.matches(value)
