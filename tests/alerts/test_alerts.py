"""Alerts: within the bounds that pagers set, with ids that the decision alone decides."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.detectors.decision.battery import Column
from driftline.detectors.summaries.codes import Special
from driftline.stream.alerts.build import alert_key, build_alert, encode_alert, iso
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.changes import Change, Histogram, Profile
from driftline.stream.judge.incidents import Course, Finding, Incident, Phase, Resolution, Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.panes.pane import Range

CHANGE = Change("mean 1 → 2", Profile(9, {"missing": 0.1}, {}, 1.0), Profile(9, {}, {}, 2.0), 0.5, 0.1, 0.3, 0.2)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=300)

SHORT_NAMES = st.text(alphabet="ab/?\n", max_size=4)


def finding(signal: str = "score", headline: str = "mean 1 → 2") -> Finding:
    ranges = (Range(0, 100, 200), Range(3, 7, 9))
    change = replace(CHANGE, headline=headline)
    return Finding(signal, Column("rate", 0, Special.NAN), True, 40, 1_000, 100, ranges, 20.12345, 17.0, change)


def step(*signals: str, status: Status = Status.FIRING, opened: int = 500, seq: int = 1) -> Step:
    found = tuple(map(finding, signals or ("score",)))
    if status is Status.RESOLVED:
        return Step(status, incident(opened, recovered=found), (), 5_000, seq, "recovered")
    return Step(status, incident(opened, drifts=found), found, 5_000, seq)


def incident(opened: int, **fields: Any) -> Incident:
    about = {"scope": "", "baseline": "b4se", "version": "4.2", "since": 1_000, "severity": "warning"}
    return Incident(**{**about, "opened": opened, "phase": Phase.FIRING, "entered": 2_000, **fields})


@cache
def any_baseline() -> Baseline:
    """Any baseline: an alert depends on whether one was given, and not on what is in it."""
    return build_baseline([Event("1", 0, "fraud", None, {"score": 1.0})], {"model": "fraud"})


def event(of: Step, model: str = "fraud", *, learned: bool = False, **options: Any) -> IncidentAlert:
    """The alert of a step. learned: the baseline is; options: `runbook`, and those of `build_alert`."""
    config = ModelConfig(incidents=Incidents(runbook=options.pop("runbook", None), owner=options.pop("owner", None)))
    monitor = Monitor(model, config, None if learned else any_baseline())
    return build_alert(monitor, of, **({"mode": "live", "topic": "predictions", "emitted_at": 9_000} | options))


def message(*args: Any, **options: Any) -> bytes:
    """The same, encoded."""
    return encode_alert(event(*args, **options))


def data(*args: Any, **options: Any) -> dict[str, Any]:
    """The alert's own part as its readers get it."""
    found: dict[str, Any] = json.loads(message(*args, **options))["data"]
    return found


def test_an_alert_is_a_cloud_event_with_every_field_of_the_schema() -> None:
    whole = json.loads(message(step()))
    assert {name: whole[name] for name in ("specversion", "source", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "source": "/driftline",
        "type": "driftline.alert.v1",
        "subject": "fraud",
        "datacontenttype": "application/json",
    }
    body = whole["data"]
    assert whole["id"] == body["id"]
    assert whole["time"] == body["emitted_at"] == "1970-01-01T00:00:09.000Z"
    assert (body["status"], body["seq"], body["severity"], body["mode"]) == ("firing", 1, "warning", "live")
    assert (body["starts_at"], body["ends_at"]) == ("1970-01-01T00:00:01.000Z", None)
    assert body["title"] == "fraud v4.2: score mean 1 → 2 since 1970-01-01 00:00 UTC"
    assert body["labels"] == {"model": "fraud"}
    assert body["evidence"]["topic"] == "predictions"
    (evidence,) = body["evidence"]["signals"]
    assert evidence["change"]["before"]["special"] == {"missing": 0.1}
    figures = ("signal", "test", "code", "against", "events", "evidence_nats", "threshold_nats", "offsets")
    assert [evidence[name] for name in figures] == [
        "score",
        "rate",
        "nan",
        "past",
        100,
        20.123,
        17.0,
        [{"partition": 0, "start": 100, "end": 200}, {"partition": 3, "start": 7, "end": 9}],
    ]


def test_the_end_of_an_incident_names_all_signals_that_had_drifted() -> None:
    body = data(step("a", "b", status=Status.RESOLVED))
    assert (body["status"], body["ends_at"]) == ("resolved", "1970-01-01T00:00:05.000Z")
    assert (body["title"], body["resolution"]) == ("fraud v4.2: no longer drifting: a, b", "recovered")
    assert [each["signal"] for each in body["evidence"]["signals"]] == ["a", "b"]


def test_ids_are_those_of_the_decision() -> None:
    first = event(step())
    assert event(step(), emitted_at=99, mode="replay").id == first.id
    assert message(step()) == encode_alert(first)
    ids = {
        first.id,
        event(step(seq=2)).id,
        event(step(opened=600)).id,
        event(step(), "churn").id,
        event(replace(step(), incident=incident(500, baseline="other"))).id,
        event(replace(step(), incident=incident(500, scope="score"))).id,
    }
    assert len(ids) == 6
    incidents = {event(step(seq=seq, status=status)).data.incident_id for seq, status in enumerate(Status)}
    assert len(incidents) == 1


def test_a_page_of_one_signal_has_a_key_and_labels_of_its_own() -> None:
    body = data(replace(step("score"), incident=incident(500, scope="score")))
    assert (body["alert_key"], body["labels"]) == ("fraud/score", {"model": "fraud", "signal": "score"})


def test_an_update_of_what_was_resolved_says_so_first_and_what_its_end_takes() -> None:
    came_back = replace(step("a", "b"), status=Status.UPDATED, reopened=True)
    came_back = replace(came_back, incident=replace(came_back.incident, course=Course(ends=2, events=400)))
    body = data(came_back)
    assert body["reopened"] is True
    assert body["title"].startswith("fraud v4.2: again a ")
    assert "open again, and its end takes 1,600 events of quiet." in body["description"].splitlines()[0]
    assert "reopened" not in data(step("a", "b"))


@pytest.mark.parametrize(
    ("resolution", "title"),
    [
        ("accepted", "fraud v4.2: new baseline, drift accepted: b, a"),
        ("replaced", "fraud v4.2: compared with a new baseline: b, a"),
        ("unwatched", "fraud v4.2: no longer watched: b, a"),
    ],
)
def test_an_incident_that_does_not_recover_says_why_it_is_over_with_all_its_signals(
    resolution: Resolution, title: str
) -> None:
    open_one = incident(500, drifts=(finding("a"),), recovered=(finding("b"),))
    body = data(Step(Status.RESOLVED, open_one, (), 5_000, 2, resolution))
    assert (body["title"], body["resolution"]) == (title, resolution)


def test_an_alert_has_a_histogram_a_runbook_and_commands() -> None:
    """A picture, a runbook, and the commands that show more; those of a replay would look at the wrong log."""
    histogram = Histogram((1.0, 2.0), (0.5, 0.5, 0.0), (0.0, 0.25, 1.0))
    drawn = replace(finding(), change=replace(CHANGE, histogram=histogram), against_past=False, since=90_000)
    drift = replace(step(), findings=(drawn,))
    body = data(drift, runbook="https://wiki.example.com/fraud", owner="payments\u202e")
    assert body["owner"] == "payments\u202e"
    assert "owner" not in data(drift)
    assert body["links"] == [{"href": "https://wiki.example.com/fraud", "text": "Runbook"}]
    assert body["commands"] == [
        f"driftline explain {body['id']} -c driftline.yaml",
        "driftline replay kafka://predictions -c driftline.yaml --from 1970-01-01T00:00:30.000Z",
    ]
    assert body["description"].splitlines() == [
        "score: mean 1 → 2, since 1970-01-01T00:01:30.000Z",
        "    before ██▁  after ▁▃█",
        "warning by incidents.severity[3] of fraud; look at score first",
        "Owner: payments\\u202e",
        *(f"$ {each}" for each in body["commands"]),
        "$ driftline silence add --match model=fraud --for 2h --comment known -c driftline.yaml",
        f"$ driftline baseline accept {body['incident_id']} -c driftline.yaml",
    ]
    assert "baseline accept" not in json.dumps(data(drift, learned=True)), "there is no file to accept it in"
    assert data(drift, mode="replay")["commands"] == []


def test_the_replay_command_includes_the_events_of_the_reference() -> None:
    """Of a learned baseline, and of the past, a replay of the drift alone would know nothing, and see nothing."""
    of_baseline, of_past = (replace(finding(), against_past=past) for past in (False, True))
    whole = "driftline replay kafka://predictions -c driftline.yaml"

    def replayed(*news: Finding, **options: Any) -> str:
        command: str = data(replace(step(), findings=news), **options)["commands"][1]
        return command

    assert replayed(of_baseline).startswith(f"{whole} --from ")
    assert replayed(of_baseline, learned=True) == whole
    assert replayed(of_baseline, of_past) == whole
    assert (
        replayed(of_past, topic="my topic; rm -rf ~")
        == "driftline replay 'kafka://my topic; rm -rf ~' -c driftline.yaml"
    )


@given(NAMES, st.lists(NAMES, min_size=1, max_size=80, unique=True), st.sampled_from(Status))
def test_an_alert_keeps_its_bounds_whatever_the_names(model: str, signals: list[str], status: Status) -> None:
    body = data(step(*signals, status=status), model)
    assert 0 < len(body["title"]) <= 130
    assert body["title"].isprintable()
    assert 0 < len(body["description"]) <= 3000
    assert 0 < len(body["alert_key"]) <= 128
    named = [each["signal"] for each in body["evidence"]["signals"]]
    assert named == signals[:50]
    assert body["component"] == model


@pytest.mark.parametrize(("partitions", "carried"), [(200, 50), (400, 25), (15_000, 1)])
def test_an_alert_of_a_topic_with_many_partitions_fits_into_one_message(partitions: int, carried: int) -> None:
    """Each signal names the offsets of its window in each partition; at 400 of them, 50 signals made 1.1 MB."""
    ranges = tuple(Range(i, 10**10, 10**10 + 9) for i in range(partitions))
    found = tuple(replace(finding(f"features.signal_{i}"), ranges=ranges) for i in range(60))
    whole = event(replace(step(), findings=found))
    assert [each.signal for each in whole.data.evidence.signals] == [each.signal for each in found[:carried]]
    assert len(encode_alert(whole)) < 10**6


def test_long_names_that_begin_alike_have_keys_of_their_own() -> None:
    long = "m" * 200
    assert alert_key("m" * 128) == "m" * 128
    assert len({alert_key(long), alert_key(long + "x"), alert_key(long + "y")}) == 3


def test_keys_of_names_that_are_not_printable_are_printable_and_distinct() -> None:
    keys = [alert_key("fraud\0"), alert_key("fraud\n"), alert_key("fraud?"), alert_key("\n" * 200)]
    assert all(key.isprintable() and len(key) <= 128 for key in keys)
    assert len(set(keys)) == 4
    assert keys[2] == "fraud?"


@settings(max_examples=500)
@given(st.lists(st.tuples(SHORT_NAMES, SHORT_NAMES) | st.tuples(NAMES, NAMES), min_size=2, max_size=8))
def test_no_two_scopes_share_a_key(scopes: list[tuple[str, str]]) -> None:
    keys = [alert_key(model or "m", scope) for model, scope in {(model or "m", scope) for model, scope in scopes}]
    assert len(set(keys)) == len(keys)
    assert all(key.isprintable() and len(key) <= 128 for key in keys)


def test_a_signal_of_one_model_and_a_model_called_like_both_have_keys_of_their_own() -> None:
    assert alert_key("a", "score") == "a/score", "ids live long: names without a slash keep their keys"
    assert alert_key("a/score").startswith("a/score//")
    assert len({alert_key("a/b", "c"), alert_key("a", "b/c"), alert_key("a/b/c")}) == 3


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_767_225_600_001, "2026-01-01T00:00:00.001Z"), (1, "1970-01-01T00:00:00.001Z")],
)
def test_times_keep_their_milliseconds(ms: int, text: str) -> None:
    assert iso(ms) == text


def test_an_alert_names_the_signals_whose_slopes_are_provisional() -> None:
    known, at_first = finding("score"), finding("features.x")
    at_first = replace(at_first, change=replace(at_first.change, provisional=True))
    says = (
        "\nfeatures.x: until 15,000 live events have shown how they depend on each other, 20 count for one, and only "
    )
    for found, provisional in (((known,), False), ((known, at_first), True)):
        alert = event(Step(Status.FIRING, incident(500, drifts=found), found, 5_000, 1))
        assert (says in alert.data.description) is provisional
        assert (
            b'"provisional":true' in encode_alert(alert) if provisional else b"provisional" not in encode_alert(alert)
        )
