"""Grouping by examples: cascades and outages as one page, silences, severities, kills."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.config.incidents import Severity
from driftline.stream.config.lineage import upstream
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import build_notification
from driftline.stream.paging.notifications import Notifications, RecordPosition
from tests.harness.notifications_world import World, reported_by
from tests.harness.services import cloud_event

LINEAGE = upstream({"churn": ["fraud"], "ltv": ["churn"], "mail": ["ltv"]})
RULES = GroupingRules(group_wait=20, outage_models=5, outage_window=600, upstream=LINEAGE)
MANY = [f"m{i:02}" for i in range(50)]
DAY = 86_400


def world(**rules: object) -> World:
    return World(GroupingRules(**{**RULES.__dict__, **rules}))  # type: ignore[arg-type]


# --- alone


def test_an_incident_waits_for_others_and_is_then_sent_unchanged() -> None:
    here = world()
    incident = here.emit("fraud")
    here.settle()
    here.advance(19)
    here.settle()
    assert here.sent == []
    here.advance(1)
    here.settle()
    assert here.pages() == [incident]
    assert here.sent[0].title == "fraud: amount ×100 since 14:05"


def finding(signal: str, mean: float = 0.0) -> dict[str, object]:
    """The evidence of an alert of one signal."""
    change = {"headline": f"mean 49 → {mean}", "after": {"mean": mean}}
    return {"signals": [{"signal": signal, "class": "data-drift", "since": "2026-01-01T00:00:00Z", "change": change}]}


def stated(alert: CompleteAlert) -> dict[str, float]:
    """The signals that a page states, with their new means."""
    return {each["signal"]: each["change"]["after"]["mean"] for each in alert.evidence["signals"]}


@pytest.mark.parametrize("cause", ["group_wait", "silence", "receiver"])
def test_a_page_states_every_finding_with_its_newest_value_whatever_delayed_it(cause: str) -> None:
    here = world(group_wait=20 if cause == "group_wait" else 0)
    here.silenced, here.receiver_is_down = {"fraud"} if cause == "silence" else set(), cause == "receiver"
    here.emit("fraud", title="fraud: amount is broken", evidence=finding("features.amount", 1))
    here.settle()
    here.emit("fraud", title="fraud: zip is broken", evidence=finding("features.zip", 2))
    here.settle()
    here.emit("fraud", title="fraud: amount is worse", evidence=finding("features.amount", 3))
    assert here.sent == []
    here.silenced, here.receiver_is_down = set(), False
    here.wait()
    (page,) = here.sent
    assert stated(page) == {"features.amount": 3, "features.zip": 2}
    assert page.title == "fraud: amount is worse; earlier: zip"
    assert "features.zip: mean 49 → 2, since 2026-01-01T00:00:00Z" in page.description
    assert (page.status, page.seq) == ("firing", 3), "people hear of it for the first time"


def test_a_page_about_news_states_what_people_know_already_too() -> None:
    here = world(group_wait=0)
    here.emit("fraud", evidence=finding("features.amount", 1))
    here.settle()
    here.emit("fraud", evidence=finding("score", 2))
    here.settle()
    assert [(alert.status, stated(alert)) for alert in here.sent] == [
        ("firing", {"features.amount": 1}),
        ("updated", {"score": 2, "features.amount": 1}),
    ]


def test_the_commands_stay_at_the_end_of_a_page_that_states_earlier_findings() -> None:
    here = world()
    here.emit("fraud", evidence=finding("features.amount", 1))
    command = "driftline explain 4876 -c driftline.yaml"
    here.emit("fraud", evidence=finding("score"), commands=[command], description=f"score: {'x' * 3000}\n$ {command}")
    here.wait()
    assert here.sent[0].description.endswith(f"…\n$ {command}")
    assert len(here.sent[0].description) == 3000


def test_pages_of_several_incidents_state_the_earlier_findings_of_each() -> None:
    here = world()
    for model in (*MANY[:5], "fraud", "churn"):
        here.emit(model, evidence=finding("features.amount"))
        here.emit(model, evidence=finding("score"))
    here.wait()
    assert {each["signal"]: each["models"] for each in here.sent[0].evidence["shared"]} == {
        "features.amount": 7,
        "score": 7,
    }
    assert all(each["title"].endswith("; earlier: amount") for each in here.sent[0].evidence["members"])
    here = world()
    for model in ("fraud", "churn"):
        here.emit(model, evidence=finding("features.amount", 1))
        here.emit(model, evidence=finding("score", 2))
    here.wait()
    assert stated(here.sent[0]) == {"features.amount": 1, "score": 2}
    assert here.sent[0].evidence["downstream"][0]["title"].endswith("; earlier: amount")


@pytest.mark.parametrize("models", [["fraud"], ["fraud", "churn"], MANY[:5]])
def test_incidents_that_end_before_they_are_sent_stay_quiet(models: list[str]) -> None:
    for receiver_is_down in (False, True):
        here = world()
        here.receiver_is_down = receiver_is_down
        for model in models:
            here.emit(model)
        here.settle()
        if receiver_is_down:
            here.wait()
            assert here.notifications.pages, "they have their page, but it was not sent"
        for model in models:
            here.emit(model, "resolved")
        here.settle()
        here.receiver_is_down = False
        here.end()
        assert here.sent == []
        assert here.notifications.incidents == {}


def test_an_incident_that_comes_back_pages_only_for_what_is_new_in_it() -> None:
    here = world()
    here.emit("fraud")
    here.wait()
    here.emit("fraud", "resolved")
    here.wait()
    for _ in range(2):
        here.emit("fraud", "updated", reopened=True)
        here.wait()
        here.emit("fraud", "resolved")
        here.wait()
    assert [alert.status for alert in here.sent] == ["firing", "resolved"]
    here.emit("fraud", "updated", reopened=True)
    here.wait()
    here.emit("fraud", "updated", severity="error")
    here.wait()
    here.emit("fraud", "resolved")
    here.wait()
    assert [alert.status for alert in here.sent[2:]] == ["updated", "resolved"]
    assert len({alert.incident for alert in here.sent}) == 1


def test_an_incident_that_comes_back_is_reported_if_nobody_knows_of_it() -> None:
    """It ended before it was sent, or a silence held it back."""
    here = world()
    here.emit("fraud")
    here.emit("fraud", "resolved")
    here.wait()
    here.silenced.add("churn")
    here.emit("churn")
    here.wait()
    here.emit("churn", "resolved")
    here.wait()
    here.silenced.clear()
    for model in ("fraud", "churn"):
        here.emit(model, "updated", reopened=True)
    here.wait()
    assert here.open_pages() == {"fraud/fraud1", "churn/churn1"}
    here.end()
    assert here.open_pages() == set()


def test_that_an_incident_was_sent_is_known_for_a_month() -> None:
    here = world()
    here.emit("fraud")
    here.wait()
    here.emit("fraud", "resolved")
    here.wait()
    assert [*here.notifications.ended] == ["fraud/fraud1"]
    here.advance(31 * 86_400)
    here.settle()
    assert here.notifications.ended == {}


def test_an_incident_that_comes_back_before_its_end_was_sent_keeps_its_page_open() -> None:
    here = world()
    here.emit("fraud")
    here.wait()
    here.receiver_is_down = True
    here.emit("fraud", "resolved")
    here.settle()
    here.emit("fraud", "updated", reopened=True)
    here.receiver_is_down = False
    here.wait()
    assert [alert.status for alert in here.sent] == ["firing", "updated"]


def test_the_end_is_sent_when_the_receiver_may_have_learned_of_the_start() -> None:
    here = world(group_wait=0)
    here.emit("fraud")
    here.settle(kill_after=1)  # the receiver has it, and Redis does not know
    here.emit("fraud", "resolved")
    here.settle()
    assert [alert.status for alert in here.sent] == ["firing", "resolved"]


def test_a_member_that_ends_before_its_page_is_sent_is_left_out_of_it() -> None:
    here = world()
    here.receiver_is_down = True
    for model in MANY[:6]:
        here.emit(model)
    here.wait()
    here.emit(MANY[0], "resolved")
    here.receiver_is_down = False
    here.settle()
    assert here.sent[0].title.startswith("5 models drift at once")
    assert len(reported_by(here.sent[0])) == 5


def test_an_origin_that_ends_before_its_page_is_sent_is_named_as_recovered() -> None:
    here = world()
    here.receiver_is_down = True
    here.emit("fraud")
    here.emit("churn")
    here.wait()
    here.emit("fraud", "resolved")
    here.receiver_is_down = False
    here.settle()
    assert [alert.title for alert in here.sent] == ["fraud has recovered; still open downstream: churn"]
    here.end()
    assert here.open_pages() == set()


# --- urgency


def test_a_critical_model_rings_on_its_own_page_when_an_outage_is_known() -> None:
    here = world()
    for model in MANY[:5]:
        here.emit(model)
    here.wait()
    here.emit(MANY[5])
    here.emit(MANY[6], severity="critical")
    here.wait()
    outage = here.pages()[0]
    assert [(alert.status, alert.incident, alert.severity) for alert in here.sent[1:]] == [
        ("firing", "m06/m061", "critical"),
        ("updated", outage, "warning"),
    ], "the critical one is sent first"
    here.end()
    assert here.open_pages() == set()


def test_a_critical_model_of_an_outage_that_nobody_knows_yet_is_part_of_it() -> None:
    here = world()
    for model in MANY[:6]:
        here.emit(model, severity="critical" if model == MANY[3] else "warning")
    here.wait()
    assert [(alert.status, alert.severity) for alert in here.sent] == [("firing", "critical")]


@pytest.mark.parametrize("models", [MANY[:5], ["fraud", "churn"]])
def test_a_model_that_becomes_critical_on_a_known_page_leaves_it_and_rings(models: list[str]) -> None:
    here = world()
    for model in models:
        here.emit(model)
    here.wait()
    (first,) = here.pages()
    here.emit(models[1], severity="critical")
    here.settle()
    rung = here.sent[1]
    assert (rung.status, rung.incident, rung.severity) == ("updated", f"{models[1]}/{models[1]}1", "critical")
    assert here.pages()[0] == first
    here.end()
    assert here.open_pages() == set()


def test_many_critical_models_beside_a_known_outage_are_one_more_page() -> None:
    here = world()
    for model in MANY[:5]:
        here.emit(model)
    here.wait()
    for model in MANY[5:15]:
        here.emit(model, severity="critical")
    here.wait()
    assert len(here.pages()) == 2


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    here = world()
    here.emit("fraud")
    here.settle()
    here.advance(-3600)
    here.settle()
    assert len(here.pages()) == 1


# --- cascades


def test_a_cascade_is_one_page_of_its_origin_which_names_the_others() -> None:
    here = world()
    # Downstream models are often the first to show it.
    for model in ("ltv", "churn", "fraud"):
        incident = here.emit(model)
        here.wait(3)
    here.wait()
    (alert,) = here.sent
    assert alert.incident == incident
    assert alert.title == "fraud: amount ×100 since 14:05; also downstream: ltv, churn"
    assert alert.evidence["likely_origin"] == ["fraud"]
    assert reported_by(alert) == {"fraud/fraud1", "churn/churn1", "ltv/ltv1"}


def test_a_cascade_of_alerts_without_evidence_is_a_page() -> None:
    here = world()
    for model in ("fraud", "churn"):
        here.emit(model)
        event = json.loads(here.log[-1])
        del event["data"]["evidence"]
        here.log[-1] = json.dumps(event).encode()
    here.wait()
    assert [alert.evidence["likely_origin"] for alert in here.sent] == [["fraud"]]


@pytest.mark.parametrize("starts_at", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
@pytest.mark.parametrize(
    "rules", [GroupingRules(upstream=upstream({"churn": ["fraud"]})), GroupingRules(outage_models=2, outage_window=600)]
)
def test_a_start_at_the_end_of_the_calendar_stops_no_page_of_several_incidents(
    rules: GroupingRules, starts_at: str
) -> None:
    records = [
        (cloud_event(1, incident=model, key=model, starts_at=starts_at), RecordPosition("alerts", 0, i))
        for i, model in enumerate(("fraud", "churn"))
    ]
    notifications = decide(Notifications().receive(records, 1000.0), rules, lambda _: False, 1010.0)
    (page,) = notifications.pages
    raw = build_notification(notifications, page, rules, 1010.0).raw
    assert starts_at.encode() in raw


def test_an_incident_downstream_of_an_open_page_updates_it_and_the_page_stays_open_until_all_have_recovered() -> None:
    here = world()
    here.emit("fraud")
    here.wait()
    here.advance(3600)
    here.emit("mail", severity="error")  # two models further down; those between do not drift
    here.wait()
    here.emit("fraud", severity="warning", title="fraud: worse")
    here.settle()
    here.emit("fraud", "resolved")
    here.settle()
    assert here.open_pages() == {"fraud/fraud1"}
    here.emit("mail", "resolved")
    here.settle()
    assert [(alert.seq, alert.status, alert.severity, alert.title) for alert in here.sent] == [
        (1, "firing", "warning", "fraud: amount ×100 since 14:05"),
        (2, "updated", "error", "fraud: amount ×100 since 14:05; also downstream: mail"),
        (3, "updated", "error", "fraud: worse; also downstream: mail"),
        (4, "updated", "error", "fraud has recovered; still open downstream: mail"),
        (5, "resolved", "error", "fraud: amount ×100 since 14:05; also recovered downstream: mail"),
    ]
    assert len({alert.id for alert in here.sent}) == 5
    # The workers continue from 3; a receiver must not think the next alert stale.
    here.emit("fraud")
    here.wait()
    assert (here.sent[-1].seq, here.sent[-1].incident) == (6, "fraud/fraud2")


def test_an_incident_upstream_of_a_sent_page_gets_its_own() -> None:
    here = world()
    for model in ("churn", "fraud", "ltv"):
        here.emit(model)
        here.wait()
    assert here.pages() == ["churn/churn1", "fraud/fraud1"]
    assert reported_by(here.sent[-1]) == {"fraud/fraud1", "ltv/ltv1"}, "the most upstream open one is the likely origin"


def test_a_recovered_model_is_no_origin_even_while_its_page_is_open() -> None:
    here = world()
    for model in ("fraud", "mail"):
        here.emit(model)
        here.wait()
    here.emit("fraud", "resolved")
    here.emit("churn")
    here.wait()
    assert here.open_pages() == {"fraud/fraud1", "churn/churn1"}


def test_an_incident_downstream_of_a_stale_page_gets_its_own_page() -> None:
    here = world()
    here.emit("fraud")
    here.wait()
    here.advance(31 * DAY)
    here.emit("churn")
    here.wait()
    assert here.pages() == ["fraud/fraud1", "churn/churn1"], "a page that was open for a month pages nobody"
    here.end()
    assert here.open_pages() == set()


def test_a_page_that_is_open_after_its_origin_recovered_has_no_resolution_yet() -> None:
    here = world()
    here.emit("fraud")
    here.emit("churn")
    here.wait()
    here.emit("fraud", "resolved", resolution="recovered")
    here.settle()
    assert _resolution(here) is None
    here.emit("churn", "resolved", resolution="recovered")
    here.notifications = here.notifications.receive([(here.log[-1], RecordPosition("alerts", 0, 3))], here.now)
    assert _resolution(here) == "recovered"


def _resolution(here: World) -> object:
    (page,) = here.notifications.pages
    return json.loads(build_notification(here.notifications, page, here.rules, here.now).raw)["data"]["resolution"]


# --- outages


def test_models_whose_traffic_stops_at_once_are_not_said_to_drift() -> None:
    here = world()
    for model in MANY[:6]:
        here.emit(model, evidence={"signals": [{"signal": "traffic"}]}, **{"class": "absence"})
    here.wait()
    assert here.sent[-1].title.startswith("6 models have less or more traffic at once since 20")
    assert here.sent[-1].title.endswith(" UTC")
    for model in MANY[:6]:
        here.emit(model, "resolved", evidence={"signals": [{"signal": "traffic"}]}, **{"class": "absence"})
    here.wait()
    assert here.sent[-1].title == "6 models: incidents of their traffic are over"


def test_some_models_that_drift_while_others_stop_are_said_to_do_either() -> None:
    here = world()
    classes = {model: "data-drift" if model == MANY[0] else "absence" for model in MANY[:6]}
    for model, kind in classes.items():
        signal = "traffic" if kind == "absence" else "score"
        here.emit(model, evidence={"signals": [{"signal": signal}]}, **{"class": kind})
    here.wait()
    title = here.sent[-1].title
    assert title.startswith("6 models drift, or have less or more traffic, at once since 20")
    assert title.endswith(" UTC"), "they do not drift in their traffic"
    for model, kind in classes.items():
        here.emit(model, "resolved", **{"class": kind})
    here.wait()
    assert here.sent[-1].title == "6 models: their incidents are over"


TOPIC: dict[str, Any] = {"class": "schema", "labels": {"topic": "predictions", "signal": "rejected"}}


def test_a_topic_is_no_model_of_an_outage_and_has_a_page_of_its_own() -> None:
    here = world()
    for model in MANY[:4]:
        here.emit(model)
    here.emit("predictions", **TOPIC)
    here.wait()
    assert len(here.sent) == 5, "four models are no outage"
    here = world()
    for model in MANY[:5]:
        here.emit(model)
    here.emit("predictions", **TOPIC)
    here.wait()
    assert sorted(each.title[:8] for each in here.sent) == ["5 models", "predicti"]
    here.emit("later", **TOPIC | {"labels": {"topic": "later"}})
    here.wait()
    assert here.sent[-1].title.startswith("later"), "nor does it join one"


def test_fifty_models_at_once_are_one_page_that_says_what_they_share() -> None:
    here = world()
    for model in MANY:
        signal = "features.amount" if model != "m07" else "score"
        here.emit(model, evidence={"signals": [{"signal": signal}]}, severity="error" if model == "m09" else "warning")
        here.wait(0.3)
    here.wait()
    (alert,) = here.sent
    assert alert.title.startswith("50 models drift at once since 20")
    assert alert.title.endswith("UTC: features.amount in 49 of them")
    assert (alert.status, alert.severity, alert.kind) == ("firing", "error", "data-drift")
    assert "Shared signals: features.amount (49 models), score (1 models)." in alert.description
    assert "Most common: amount ×100 (50 of 50 incidents)." in alert.description
    assert alert.labels == {}
    here.end()
    assert [each.status for each in here.sent] == ["firing", "resolved"]
    assert here.sent[-1].ends_at


def test_later_incidents_join_an_outage_which_stays_open_until_the_last_has_recovered() -> None:
    here = world()
    for model in MANY[:5]:
        here.emit(model, labels={"team": "payments", "model": model})
    here.wait()
    for model in MANY[:5]:
        here.emit(model, "resolved")
    here.advance(500)
    here.emit(MANY[7], labels={"team": "other"})
    here.wait()  # the first five have recovered, so their page is closed
    assert len(here.pages()) == 2

    here = world()
    for i, model in enumerate(MANY[:9]):
        here.emit(model, labels={"team": "payments" if i < 5 else "other", "model": model})
        if i >= 4:
            here.wait()
    assert [alert.evidence["models"] for alert in here.sent] == [5, 6, 7, 8, 9]
    assert {alert.incident for alert in here.sent} == set(here.pages())
    assert [alert.seq for alert in here.sent] == [0, 1, 2, 3, 4]
    assert {tuple(alert.labels.items()) for alert in here.sent} == {(("team", "payments"),)}, (
        "receivers identify the page by these"
    )
    for model in MANY[:8]:
        here.emit(model, "resolved")
    here.settle()
    assert len(here.open_pages()) == 1
    here.emit(MANY[8], "resolved")
    here.settle()
    assert here.open_pages() == set()


def test_an_outage_that_people_live_with_for_months_is_resolved_in_the_end() -> None:
    here = world()
    for model in MANY[:5]:
        here.emit(model)
    here.wait()
    here.advance(90 * DAY)
    here.end()
    assert here.open_pages() == set()


def test_incidents_sent_before_an_outage_keep_their_page_and_the_outage_names_them() -> None:
    here = world()
    for model in MANY[:6]:
        here.emit(model)
        here.wait(25)
    *alone, outage = here.pages()
    assert alone == [f"{model}/{model}1" for model in MANY[:4]]
    assert here.sent[-1].incident == outage
    assert here.sent[-1].evidence["models"] == 6
    assert "With a page of their own from before: m00, m01, m02, m03." in here.sent[-1].description
    for model in (*MANY[4:6], *MANY[:3]):
        here.emit(model, "resolved")
        here.settle()
    assert here.open_pages() == {"m03/m031", outage}, "it stays open while one of them drifts"
    here.emit(MANY[3], "resolved")
    here.settle()
    assert here.open_pages() == set()


@pytest.mark.parametrize(
    ("models", "seconds", "limit", "pages"),
    [(5, 0, 5, 1), (4, 0, 5, 4), (5, 601, 5, 5), (50, 0, None, 50), (2, 0, 2, 1)],
)
def test_an_outage_needs_enough_models_within_the_window(
    models: int, seconds: float, limit: int | None, pages: int
) -> None:
    here = world(outage_models=limit)
    for model in MANY[:models]:
        here.emit(model)
        here.advance(seconds)
    here.wait()
    assert len(here.pages()) == pages


def test_several_signals_of_one_model_are_not_an_outage() -> None:
    here = world()
    for i in range(9):
        here.emit(f"fraud/{i}", component="fraud")
    here.wait()
    assert len(here.pages()) == 9


def test_one_cascade_is_one_page_of_its_origin_however_many_models_it_hits() -> None:
    here = World(
        GroupingRules(
            group_wait=20, outage_models=5, outage_window=600, upstream=upstream({each: ["fraud"] for each in MANY})
        )
    )
    for model in (*MANY, "fraud"):
        here.emit(model)
    here.wait()
    assert here.pages() == ["fraud/fraud1"]
    assert len(reported_by(here.sent[0])) == 51
    assert len(here.sent[0].title) <= 130


def test_an_outage_names_a_likely_origin_where_lineage_shows_one() -> None:
    here = world()
    for model in (*MANY[:4], "ltv", "fraud", "churn"):
        here.emit(model)
    here.wait()
    (alert,) = here.sent
    assert alert.evidence["likely_origin"] == ["fraud"]
    assert "Likely origin: fraud, on which others of them depend." in alert.description


# --- silences and severities


def test_a_silenced_incident_is_sent_with_its_newest_step_when_the_silence_ends() -> None:
    here = world()
    here.silenced = {"fraud"}
    here.emit("fraud")
    here.emit("churn")
    here.settle()
    here.advance(50)
    here.emit("fraud", title="worse")
    here.settle()
    assert here.pages() == ["churn/churn1"], "a silenced incident delays no other"
    here.silenced.clear()
    here.settle()
    assert (here.sent[-1].title, here.sent[-1].status, here.sent[-1].seq) == ("worse", "updated", 2)
    here.end()
    assert here.open_pages() == set()


def test_a_silence_of_two_months_holds_incidents_back_and_loses_none() -> None:
    here = world()
    here.silenced = {"fraud"}
    here.emit("fraud")
    here.wait(60 * DAY)
    here.silenced.clear()
    here.settle()
    assert here.pages() == ["fraud/fraud1"]


def test_a_silenced_update_does_not_hide_an_earlier_finding_that_was_not_reported_yet() -> None:
    def of(*signals: str) -> dict[str, object]:
        return {"signals": [{"signal": signal} for signal in signals]}

    here = world()
    here.is_silenced = lambda alert: set(alert.signal_names()) <= {"amount"}  # type: ignore[method-assign]
    here.emit("fraud", evidence=of("score"))
    here.settle()
    here.emit("fraud", evidence=of("amount"))
    here.wait()
    assert [alert.seq for alert in here.sent] == [2], "the wait was not over when amount came"
    here.emit("fraud", evidence=of("amount"))
    here.settle()
    assert len(here.sent) == 1
    here.emit("fraud", evidence=of("zip"))
    here.emit("fraud", evidence=of("amount"))
    here.settle()
    assert [alert.seq for alert in here.sent] == [2, 5]


def test_an_incident_that_begins_and_ends_while_silenced_is_not_reported() -> None:
    here = world(group_wait=0)
    here.silenced = {"fraud"}
    here.emit("fraud")
    here.settle()
    here.emit("fraud", "resolved")
    here.settle()
    here.emit_again(0)
    here.end()
    assert here.sent == []
    assert here.notifications.incidents == {}


def test_an_incident_reported_before_a_silence_is_resolved_within_it_but_not_updated() -> None:
    here = world(group_wait=0)
    here.emit("fraud")
    here.settle()
    here.silenced = {"fraud"}
    here.emit("fraud")
    here.settle()
    assert len(here.sent) == 1
    here.emit("fraud", "resolved")
    here.settle()
    assert [alert.status for alert in here.sent] == ["firing", "resolved"]


def test_an_end_is_sent_within_a_silence_if_the_start_may_have_been_reported() -> None:
    here = world()
    here.silenced = {"fraud"}
    here.emit("fraud")
    here.emit("fraud", "resolved")
    here.log.pop(0)  # Redis was lost, and the offset of the start is committed
    here.settle()
    assert [alert.status for alert in here.sent] == ["resolved"]


@pytest.mark.parametrize("min_severity", ["warning", "error", "critical"])
def test_an_incident_below_the_minimum_severity_is_held_back_until_it_rises(min_severity: Severity) -> None:
    here = world(group_wait=0, min_severity=min_severity)
    for severity in ("info", "warning", "error", "critical", "info"):
        here.emit("fraud", severity=severity)
        here.settle()
    here.emit("fraud", "resolved", severity="info")
    here.settle()
    sent = [alert.severity for alert in here.sent]
    assert sent[0] == min_severity
    assert sent[-1] == "info"
    assert here.sent[-1].resolved
    here.emit("churn", severity="info")
    here.settle()
    here.emit("churn", "resolved", severity="info")
    here.settle()
    assert [alert.model for alert in here.sent[len(sent) :]] == []


# --- kills


def test_a_killed_relay_sends_an_outage_under_the_same_identity_whatever_changes_meanwhile() -> None:
    here = world()
    for model in MANY[:6]:
        here.emit(model)
    here.settle()
    here.advance(20)
    here.settle(kill_after=1)
    here.emit(MANY[0], "resolved")  # the first incident of the outage
    here.emit(MANY[8])
    here.settle()
    assert len(here.pages()) == 1
    here.end()
    assert here.open_pages() == set()


def test_a_killed_relay_does_not_move_an_incident_with_its_own_page_into_an_outage() -> None:
    here = world()
    here.emit(MANY[0])
    here.settle()
    here.advance(20)
    here.settle(kill_after=1)
    for model in MANY[1:9]:
        here.emit(model)
    here.settle()
    here.advance(20)
    here.end()
    assert all(len(pages) == 1 for pages in here.pages_by_incident().values())
    assert here.open_pages() == set()
