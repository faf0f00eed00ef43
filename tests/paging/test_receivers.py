"""Requests to receivers: within the limits that each service documents, whatever the alert."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.stream.alerts.read import AlertError, CompleteAlert, read_complete_alert
from driftline.stream.paging.receivers.alertmanager import (
    Entry,
    is_accepted,
    is_forgettable,
    request_body,
    updated_entries,
    watchdog,
)
from driftline.stream.paging.receivers.registry import INTEGRATIONS
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.paging.receivers.slack import mrkdwn
from tests.harness.services import PAGERDUTY_LIMIT, ROUTING_KEY, VIOLATIONS, alert_data, cloud_event
from tests.harness.topic_tools import driftline, traffic, write_lines

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ACCESS = Endpoint("http://127.0.0.1/x", key=ROUTING_KEY)
SERVICES = sorted(INTEGRATIONS)

TEXTS = st.text(max_size=40) | st.sampled_from(
    ["<!channel> & <@U1>", "\0\r\n", "é" * 5000, "💥" * 5000, "&" * 4000, "x" * 99]
)
EVIDENCE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("id", "title", "description", "source", "component", "group", "class", "resolution"), TEXTS),
        **dict.fromkeys(("key", "incident"), TEXTS),
        "status": st.sampled_from(["firing", "updated", "resolved"]),
        "severity": st.sampled_from(["critical", "error", "warning", "info"]),
        "labels": st.dictionaries(TEXTS, TEXTS, max_size=40),
        "evidence": st.dictionaries(TEXTS, EVIDENCE, max_size=4)
        | st.fixed_dictionaries({"signals": st.lists(st.dictionaries(TEXTS, EVIDENCE), max_size=60) | EVIDENCE}),
        "links": st.lists(TEXTS | st.fixed_dictionaries({"href": TEXTS | st.just("https://x/y"), "text": TEXTS})),
    }
)


def alert(*args: Any, **fields: Any) -> CompleteAlert:
    return read_complete_alert(cloud_event(*args, **fields))


def sent(service: str, *args: Any, **fields: Any) -> Any:
    """The JSON that a service is sent for an alert."""
    raw = cloud_event(*args, **fields)
    return json.loads(INTEGRATIONS[service].build_request(read_complete_alert(raw), raw, ACCESS, NOW).body)


# --- reading


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The alerts of a planted fault, as `driftline replay` writes them."""
    folder = tmp_path_factory.mktemp("replay")
    lines, alerts = write_lines(folder / "live.jsonl", traffic(9000, seed=1, broken_from=7000)), folder / "alerts.jsonl"
    assert driftline("replay", lines, "--alerts", alerts) == 1
    return alerts.read_bytes().splitlines()


def test_the_alerts_that_driftline_writes_are_read(replayed: list[bytes]) -> None:
    for line in replayed:
        written, read = json.loads(line)["data"], read_complete_alert(line)
        assert (read.alert_key, read.incident_id, read.seq) == ("taxi", written["incident_id"], written["seq"])
        assert (read.title, read.kind, read.mode) == (written["title"], written["class"], "replay")
        for service in SERVICES:
            request = INTEGRATIONS[service].build_request(read, line, ACCESS, datetime.now(UTC))
            assert VIOLATIONS[service](request.body, request.headers) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "truncated"),
        (b"\xff\xfe", "'utf-8' codec can't decode byte 0xff in position 0"),
        (cloud_event(1, more="?").replace(b"?", b"\xff"), "'utf-8' codec can't decode"),  # in a field that nobody reads
        (b"[" * 100_000, "no alert"),
        (b"{}", "missing required field `specversion`"),
        (cloud_event("2"), r"Expected `int`, got `str` - at `\$.data.seq`"),
        (cloud_event(-1), "seq"),
        (cloud_event(1, "over"), "Invalid enum value 'over'"),
        (cloud_event(1, starts_at="yesterday"), "starts_at"),
        (cloud_event(1, starts_at="2026-01-31T12:00:00"), "timezone"),
        (cloud_event(1).replace(b"alert.v1", b"alert.v2"), "driftline.alert.v2"),
        (cloud_event(1).replace(b"amount", b"\\ud800"), "no alert"),
    ],
)
def test_a_record_that_is_not_an_alert_is_refused_with_a_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(AlertError, match=reason):
        read_complete_alert(value)


@pytest.mark.parametrize("fields", [{"commands": "call me"}, {"commands": None}, {"resolution": {"by": "hand"}}])
def test_what_no_receiver_looks_at_may_have_any_form(fields: dict[str, Any]) -> None:
    assert read_complete_alert(cloud_event(7, **fields)).seq == 7


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_but_an_alert_error(value: bytes) -> None:
    with pytest.raises(AlertError):
        read_complete_alert(value)


def test_an_alert_without_a_mode_is_not_live() -> None:
    data = json.loads(cloud_event(1))
    del data["data"]["mode"]
    assert read_complete_alert(json.dumps(data).encode()).mode != "live"


# --- all services


@pytest.mark.parametrize("service", SERVICES)
@settings(max_examples=60, deadline=None)
@given(fields=FIELDS)
def test_the_documented_limits_are_kept_whatever_the_alert(service: str, fields: dict[str, Any]) -> None:
    raw = cloud_event(1, **{**fields, "evidence": {}})
    raw = json.dumps(
        json.loads(raw) | {"data": {**json.loads(raw)["data"], "evidence": finite(fields["evidence"])}}
    ).encode()
    request = INTEGRATIONS[service].build_request(read_complete_alert(raw), raw, ACCESS, datetime.now(UTC))
    assert VIOLATIONS[service](request.body, request.headers) == []
    assert all(value.isascii() and value.isprintable() for value in request.headers.values())


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return json.loads(json.dumps(value), parse_constant=str)


# --- PagerDuty


def test_pagerduty_triggers_updates_and_resolves_one_alert_per_incident() -> None:
    steps = [sent("pagerduty", 1), sent("pagerduty", 2, "updated"), sent("pagerduty", 3, "resolved")]
    assert [step["event_action"] for step in steps] == ["trigger", "trigger", "resolve"]
    assert {step["dedup_key"] for step in steps} == {"fraud/a1"}
    assert sent("pagerduty", 4, incident="b2")["dedup_key"] == "fraud/b2"
    first = steps[0]
    assert first["routing_key"] == ROUTING_KEY
    assert first["links"] == [{"href": "https://wiki.example/fraud", "text": "Runbook"}]
    assert first["payload"]["summary"] == "fraud: amount ×100 since 14:05"
    assert (first["payload"]["class"], first["payload"]["component"]) == ("data-drift", "fraud")
    assert first["payload"]["custom_details"]["evidence"] == alert_data(1)["evidence"]


def test_an_alert_too_large_for_pagerduty_loses_its_last_signals_and_says_so() -> None:
    signals = [{"signal": f"features.f{i}", "histogram": ["∎" * 20] * 40} for i in range(1000)]
    details = sent("pagerduty", 1, evidence={"baseline": "b", "signals": signals})["payload"]["custom_details"]
    kept, left_out = details["evidence"]["signals"], details["evidence"]["signals_left_out"]
    assert kept == signals[: len(kept)]
    assert len(kept) + left_out == 1000
    assert len(json.dumps(kept, ensure_ascii=False).encode()) > PAGERDUTY_LIMIT / 4
    assert details["evidence"]["baseline"] == "b"


def test_one_signal_too_large_for_pagerduty_still_pages() -> None:
    event = sent("pagerduty", 1, evidence={"signals": [{"signal": "x" * 10**6}], "other": "y" * 10**6})
    assert event["payload"]["custom_details"]["evidence"] == {"left_out": "more than PagerDuty takes"}
    assert event["payload"]["summary"] == "fraud: amount ×100 since 14:05"


def test_any_number_that_json_allows_is_passed_on() -> None:
    raw = cloud_event(1).replace(b"40.1", b"123456789012345678901234567890")
    body = json.loads(INTEGRATIONS["pagerduty"].build_request(read_complete_alert(raw), raw, ACCESS, NOW).body)
    (signal,) = body["payload"]["custom_details"]["evidence"]["signals"]
    assert signal["evidence_nats"] == pytest.approx(1.2345678901234568e29)


# --- Slack


def test_slack_gets_title_circumstances_figures_and_links() -> None:
    message = sent("slack", 1)
    texts = [block["text"]["text"] for block in message["blocks"] if "text" in block]
    assert texts == [
        "🟡 fraud: amount ×100 since 14:05",
        "features.amount: mean 3 → 300",
        "features.amount: ks, evidence 40.1 nats, 350 events",
        "<https://wiki.example/fraud|Runbook>",
    ]
    assert message["blocks"][-1]["elements"][0]["text"].startswith("firing · warning · fraud · since 20")
    assert sent("slack", 2, "resolved", title="back")["text"] == "✅ back"


def test_slack_shows_commands_instead_of_obeying_them() -> None:
    message = sent("slack", 1, title="<!channel> a&b", description="<@U1> > 3")
    assert message["text"] == "🟡 &lt;!channel&gt; a&amp;b"
    assert message["blocks"][1]["text"]["text"] == "&lt;@U1&gt; &gt; 3"


@given(st.text(alphabet="a&<>é💥", max_size=60), st.integers(10, 40))
def test_an_escaped_text_is_the_text_or_its_beginning(text: str, limit: int) -> None:
    shown = html.unescape(mrkdwn(text, limit))
    assert len(mrkdwn(text, limit)) <= limit
    if shown != text:
        assert shown.endswith("…")
        assert text.startswith(shown[:-1])
        assert len(html.escape(text, quote=False)) > limit
        assert len(mrkdwn(text, limit)) > limit - 5, "cut no more than one escape too short"


# --- webhook


def test_a_webhook_gets_the_unchanged_event_signed_after_standard_webhooks() -> None:
    raw = cloud_event(1)
    secret = base64.b64encode(b"secret of 24 bytes or so").decode()
    for key, plain in ((f"whsec_{secret}", base64.b64decode(secret)), ("simple", b"simple"), ("whsec_?", b"whsec_?")):
        request = INTEGRATIONS["webhook"].build_request(
            read_complete_alert(raw), raw, Endpoint("http://h", key, "Bearer t"), NOW
        )
        assert request.body == raw
        assert request.headers["Authorization"] == "Bearer t"
        assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("a1-1", "1769860800")
        signed = hmac.new(plain, b"a1-1.1769860800." + raw, hashlib.sha256).digest()
        assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    unsigned = INTEGRATIONS["webhook"].build_request(read_complete_alert(raw), raw, Endpoint("http://h"), NOW)
    assert not {"webhook-signature", "Authorization"} & unsigned.headers.keys()


@pytest.mark.parametrize(
    ("service", "status", "body", "accepted"),
    [
        ("pagerduty", 202, b'{"status":"success"}', True),
        ("pagerduty", 200, b'{"status":"success"}', False),
        ("pagerduty", 202, b"<html>Welcome to the hotel</html>", False),
        ("pagerduty", 202, b'["success"]', False),
        ("pagerduty", 202, b'{"message":"?"}', False),
        ("slack", 200, b"ok", True),
        ("slack", 200, b"<html>ok</html>", False),
        ("webhook", 204, b"", True),
        ("webhook", 302, b"", False),
    ],
)
def test_only_the_documented_answer_means_that_an_alert_was_accepted(
    service: str, status: int, body: bytes, accepted: bool
) -> None:
    assert INTEGRATIONS[service].is_accepted(status, body) is accepted


def test_secrets_are_not_in_a_repr() -> None:
    raw = cloud_event(1)
    endpoint = Endpoint("https://hooks.example/T0/SECRET", "SECRET", "SECRET")
    for service in SERVICES:
        assert (
            "SECRET"
            not in f"{endpoint!r}{INTEGRATIONS[service].build_request(read_complete_alert(raw), raw, endpoint, NOW)!r}"
        )


# --- Alertmanager


def entries_after(*alerts: CompleteAlert, now: datetime = NOW) -> list[dict[str, Entry]]:
    """The entries that each alert changes, each a minute after the last; and in the end, all entries."""
    held: dict[str, Entry] = {}
    changes = []
    for minute, each in enumerate(alerts):
        changed = updated_entries(each, held, now + timedelta(minutes=minute))
        held |= changed
        changes.append(changed)
    return [*changes, held]


def test_an_incident_keeps_its_labels_from_firing_to_resolved() -> None:
    *steps, held = entries_after(alert(1), alert(2, "updated", title="worse"), alert(3, "resolved", title="over"))
    (entry,) = held.values()
    assert entry["labels"] == {
        "alertname": "ModelDrift", "model": "fraud", "incident": "fraud/a1", "severity": "warning",
    }  # fmt: skip
    assert [next(iter(step.values()))["annotations"]["summary"][:5] for step in steps] == ["fraud", "worse", "over"]
    assert entry["annotations"]["runbook_url"] == entry["generatorURL"] == "https://wiki.example/fraud"
    assert entry["endsAt"] == "2026-01-31T12:02:00+00:00"
    assert ["endsAt" in next(iter(step.values())) for step in steps] == [False, False, True]


def test_a_rising_severity_ends_the_entry_and_begins_another_in_one_message() -> None:
    _, risen, fallen, over, held = entries_after(
        alert(1), alert(2, "updated", severity="critical"), alert(3, "updated", severity="info"), alert(4, "resolved")
    )
    assert {entry["labels"]["severity"]: entry.get("endsAt") for entry in risen.values()} == {
        "warning": "2026-01-31T12:01:00+00:00",
        "critical": None,
    }
    assert [entry["labels"]["severity"] for entry in fallen.values()] == ["critical"]
    assert [entry["labels"]["severity"] for entry in over.values()] == ["critical"]
    assert all("endsAt" in entry for entry in held.values())


def test_incidents_and_models_do_not_affect_each_other() -> None:
    *_, held = entries_after(
        alert(1), alert(1, key="churn"), alert(2, incident="b2"), alert(3, "resolved", incident="b2")
    )
    assert sorted((entry["labels"]["incident"], "endsAt" in entry) for entry in held.values()) == [
        ("churn/a1", False), ("fraud/a1", False), ("fraud/b2", True),
    ]  # fmt: skip


def test_a_firing_entry_ends_by_itself_only_when_the_relay_is_silent_for_long() -> None:
    *_, held = entries_after(alert(1), alert(1, "resolved", key="churn"))
    firing, over = json.loads(request_body(held.values(), NOW))
    assert firing["endsAt"] == "2026-01-31T12:15:00+00:00"
    assert over["endsAt"] == "2026-01-31T12:01:00+00:00"
    assert "endsAt" not in held["fraud/a1/warning"]
    assert datetime.fromisoformat(watchdog("driftline", NOW)["endsAt"]) > NOW


def test_an_end_is_sent_for_five_minutes() -> None:
    *_, held = entries_after(alert(1, "resolved"))
    (entry,) = held.values()
    assert [is_forgettable(entry, NOW + timedelta(seconds=each)) for each in (0, 299, 301)] == [False, False, True]
    assert not is_forgettable(updated_entries(alert(1), {}, NOW).popitem()[1], NOW + timedelta(days=400))


def test_event_time_ahead_of_the_clock_does_not_put_the_start_after_the_end() -> None:
    *_, held = entries_after(alert(1, "resolved", starts_at="2999-01-01T00:00:00Z", ends_at="2999-01-01T01:00:00Z"))
    (entry,) = held.values()
    assert entry["startsAt"] == entry["endsAt"] == NOW.isoformat()


@settings(max_examples=60, deadline=None)
@given(FIELDS)
def test_label_names_are_valid_in_prometheus(fields: dict[str, Any]) -> None:
    *_, held = entries_after(alert(1, **{**fields, "evidence": {}}))
    for entry in json.loads(request_body(held.values(), NOW)):
        for name in (*entry["labels"], *entry["annotations"]):
            assert name.isascii()
            assert name.isidentifier()
        assert all(isinstance(value, str) for value in (*entry["labels"].values(), *entry["annotations"].values()))


def test_a_page_of_a_proxy_is_not_alertmanagers_answer() -> None:
    assert is_accepted(200, b"")
    assert is_accepted(200, b'{"status":"success"}')
    assert not is_accepted(200, b"\n<html>")
    assert not is_accepted(204, b"")
