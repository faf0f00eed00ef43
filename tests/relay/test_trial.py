"""Trying receivers: what is missing is said, and a test page arrives, says that it is a test, and resolves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.read import read_complete_alert
from driftline.stream.alerts.trial import trial_alerts
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import Server
from driftline.stream.relay.trial import check_receiver, configured_receivers, try_page
from tests.harness.alertmanagers import amtool
from tests.harness.services import ROUTING_KEY, Service, answer, fake


def config_for(service: Service) -> Config:
    sections = {"pagerduty": {"url": service.url}, "alertmanager": {"urls": [service.url]}}
    return Config.model_validate({"relay": {"timeout_seconds": 2, **sections}})


def environment(service: Service) -> dict[str, str]:
    return {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY, "SLACK_WEBHOOK_URL": service.url, "WEBHOOK_URL": service.url}


def test_a_test_page_is_a_valid_alert_in_mode_test_that_names_no_real_model() -> None:
    firing, resolved = (read_complete_alert(encode_alert(each)) for each in trial_alerts("predictions", 1767225600000))
    assert [firing.status, resolved.status] == ["firing", "resolved"]
    assert {firing.mode, resolved.mode} == {"test"}
    assert firing.incident_id == resolved.incident_id
    assert firing.component == "driftline-doctor"
    assert "TEST" in firing.title


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_a_test_page_is_accepted_by_every_receiver_and_resolved(kind: str) -> None:
    with fake(kind) as service:
        (finding,) = try_page(config_for(service), kind, environment(service))
        assert (finding.level, service.violations) == ("ok", [])
        assert len(service.accepted) == 2
        assert service.open == set()
        assert all(b"TEST" in each.body and b"driftline doctor" in each.body for each in service.accepted)


def test_pagerduty_gets_one_page_of_its_own() -> None:
    with fake("pagerduty") as service:
        try_page(config_for(service), "pagerduty", environment(service))
        assert list(service.pages.values()) == [1]
        assert [each.json["event_action"] for each in service.requests] == ["trigger", "resolve"]


def test_a_real_alertmanager_takes_the_test_page(alertmanager: Server) -> None:
    config = Config.model_validate({"relay": {"alertmanager": {"urls": [f"http://{alertmanager.address}"]}}})
    (finding,) = try_page(config, "alertmanager", {})
    assert finding.level == "ok"
    assert amtool(alertmanager, "alert", "query") == [], "it is resolved"


def test_a_receiver_that_refuses_or_does_not_answer_is_an_error_without_its_secret() -> None:
    with fake("pagerduty") as service:
        service.otherwise = answer(400, f"invalid key {ROUTING_KEY}".encode())
        (refused,) = try_page(config_for(service), "pagerduty", environment(service))
        service.down = True
        (silent,) = try_page(config_for(service), "pagerduty", environment(service))
    assert (refused.level, silent.level) == ("error", "error")
    assert "the test page was refused: 127.0.0.1 answers 400" in refused.message
    assert "was not accepted" in silent.message
    assert ROUTING_KEY not in refused.message


@pytest.mark.parametrize(
    ("name", "relay", "given", "message"),
    [
        ("pagerduty", {}, {}, "the environment variable PAGERDUTY_ROUTING_KEY is not set"),
        ("slack", {}, {"SLACK_WEBHOOK_URL": "hooks"}, "the environment variable SLACK_WEBHOOK_URL is not a URL"),
        ("webhook", {}, {"WEBHOOK_URL": "http://nowhere.invalid/x"}, "its host nowhere.invalid does not resolve"),
        ("heartbeat", {"heartbeat_url_env": "BEAT_URL"}, {}, "the environment variable BEAT_URL is not set"),
    ],
)
def test_what_a_receiver_lacks_is_said(
    name: str, relay: dict[str, Any], given: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    config = Config.model_validate({"relay": relay})
    (finding,) = check_receiver(config.relay, name, given)
    assert finding.level == "error"
    assert finding.message.startswith(message)


def test_a_fault_of_the_heartbeat_is_not_taken_for_one_of_a_receiver() -> None:
    config = Config.model_validate({"relay": {"heartbeat_url_env": "BEAT_URL"}})
    assert check_receiver(config.relay, "stdout", {})[0].level == "ok"


def test_the_configured_receivers_are_those_with_a_section() -> None:
    config = Config.model_validate({"relay": {"slack": {}, "pagerduty": {"min_severity": "error"}}})
    assert configured_receivers(config.relay) == ["pagerduty", "slack"]
    assert json.loads(encode_alert(trial_alerts("p", 0)[0]))["data"]["mode"] == "test"
