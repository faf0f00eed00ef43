"""Grouping over random schedules of alerts, silences, clock steps and kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.config.lineage import upstream
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.notifications import OpenIncident
from tests.harness.notifications_world import World, reported_by

LINEAGE = upstream({"churn": ["fraud"], "ltv": ["churn"], "mail": ["ltv"]})
MODELS = ["fraud", "churn", "ltv", "m00", "m01", "m02", "m03", "m04"]
SEVERITIES = ["info", "warning", "error", "critical"]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.sampled_from(MODELS), st.sampled_from(SEVERITIES)),
        st.tuples(st.just("resolve"), st.sampled_from(MODELS), st.none()),
        st.tuples(st.just("again"), st.integers(0, 40), st.none()),
        st.tuples(st.just("silence"), st.sampled_from(MODELS), st.none()),
        st.tuples(st.just("advance"), st.sampled_from([1, 5, 19, 20, 700, -30]), st.none()),
        st.tuples(st.just("settle"), st.sampled_from([None, None, 1, 2]), st.none()),
    ),
    max_size=60,
)
RULE_SETS = st.sampled_from(
    [
        GroupingRules(group_wait=20, outage_models=5, outage_window=600, upstream=LINEAGE),
        GroupingRules(),
        GroupingRules(group_wait=20, outage_models=2, outage_window=10, upstream=LINEAGE),
        GroupingRules(group_wait=5, outage_models=3, outage_window=600, min_severity="warning", upstream=LINEAGE),
    ]
)


def play(here: World, actions: list[tuple[str, object, object]], settled: Callable[[], None]) -> None:
    """Perform the actions; `settled` is called whenever the relay has sent everything due."""
    for action, what, severity in actions:
        match action:
            case "emit":
                here.emit(str(what), severity=severity, evidence={"signals": [{"signal": str(len(here.log) % 3)}]})
            case "resolve":
                here.emit(str(what), "resolved")
            case "again":
                here.emit_again(int(str(what)))
            case "silence":
                here.silenced ^= {str(what)}
            case "advance":
                here.advance(float(str(what)))
            case _:
                here.settle(kill_after=what)  # type: ignore[arg-type]
                if what is None:
                    settled()


def waited(here: World) -> Iterator[OpenIncident]:
    """The incidents whose wait is over and that are not silenced."""
    for incident in here.notifications.incidents.values():
        if incident.read_at + here.rules.group_wait <= here.now and not here.is_silenced(incident.alert):
            yield incident


@settings(max_examples=400)
@given(RULE_SETS, ACTIONS)
def test_whatever_happens_an_incident_has_one_page_which_is_resolved_and_seq_rises(
    rules: GroupingRules, actions: list[tuple[str, object, object]]
) -> None:
    here = World(rules)
    play(here, actions, lambda: None)
    here.end()
    assert here.open_pages() == set()
    risen = {alert.incident for alert in map(read_complete_alert, here.log) if alert.severity == "critical"}
    assert all(len(pages) == 1 or name in risen for name, pages in here.pages_by_incident().items())
    newest: dict[str, tuple[int, str]] = {}
    for alert in here.sent:
        before = newest.get(alert.alert_key, (-1, ""))
        assert alert.seq > before[0] or (alert.seq, alert.id) == before, "an alert that is sent twice is the same alert"
        newest[alert.alert_key] = alert.seq, alert.id


@settings(max_examples=400)
@given(RULE_SETS, ACTIONS)
def test_whatever_happens_an_open_incident_that_is_not_silenced_is_reported_when_its_wait_is_over(
    rules: GroupingRules, actions: list[tuple[str, object, object]]
) -> None:
    here = World(rules)

    def nothing_is_lost() -> None:
        reported = {incident for alert in here.sent for incident in reported_by(alert)}
        for incident in waited(here):
            if SEVERITIES.index(incident.alert.severity) >= SEVERITIES.index(rules.min_severity):
                assert incident.alert.incident in reported

    play(here, actions, nothing_is_lost)


@settings(max_examples=400)
@given(RULE_SETS, ACTIONS)
def test_whatever_happens_a_critical_incident_rings_and_is_no_update_of_a_page_of_others(
    rules: GroupingRules, actions: list[tuple[str, object, object]]
) -> None:
    """A page rings when it is first sent; its updates are read by those who look at it anyway."""
    here = World(rules)

    def all_have_rung() -> None:
        first = {alert.incident: alert for alert in reversed(here.sent)}
        rung = {each for page in first.values() if page.severity == "critical" for each in reported_by(page)}
        own = {alert.incident for alert in here.sent if alert.severity == "critical"}
        for incident in waited(here):
            if incident.alert.severity == "critical" and not incident.resolved:
                assert incident.alert.incident in rung | own

    play(here, actions, all_have_rung)


@settings(max_examples=300)
@given(RULE_SETS, ACTIONS)
def test_whatever_happens_a_silenced_incident_is_not_reported(
    rules: GroupingRules, actions: list[tuple[str, object, object]]
) -> None:
    here = World(rules)
    mine = [each for each in actions if each[0] != "silence"]
    here.silenced = {"fraud", "m01"}
    play(here, mine, lambda: None)
    for alert in here.sent:
        reported = {incident.partition("/")[0] for incident in reported_by(alert)}
        assert reported - here.silenced


@settings(max_examples=300)
@given(RULE_SETS, ACTIONS)
def test_whatever_happens_no_end_is_sent_of_an_incident_that_was_not_sent(
    rules: GroupingRules, actions: list[tuple[str, object, object]]
) -> None:
    here = World(rules)
    play(here, actions, lambda: None)
    here.end()
    sent = set[str]()
    for alert in here.sent:
        assert not alert.resolved or alert.incident in sent
        sent.add(alert.incident)


@settings(max_examples=200)
@given(ACTIONS)
def test_whatever_happens_each_page_states_all_findings_of_its_incident(
    actions: list[tuple[str, object, object]],
) -> None:
    here = World(GroupingRules())
    play(here, actions, lambda: None)
    here.end()
    log = [read_complete_alert(raw) for raw in here.log]
    for page in here.sent:
        own = [alert for alert in log if alert.incident == page.incident and alert.seq <= page.seq]
        assert page.resolved or set(page.signal_names()) == {name for each in own for name in each.signal_names()}


@settings(max_examples=200)
@given(ACTIONS)
def test_whatever_happens_without_groups_every_step_is_sent_in_its_turn(
    actions: list[tuple[str, object, object]],
) -> None:
    here = World(GroupingRules())
    play(here, [each for each in actions if each[0] not in ("silence", "again")], lambda: None)
    here.end()
    came, sent = ({_identity(alert) for alert in alerts} for alerts in (map(read_complete_alert, here.log), here.sent))
    assert sent <= came
    mentioned = {incident for incident, *_ in sent}
    newest = {alert.incident: alert.seq for alert in map(read_complete_alert, here.log) if alert.incident in mentioned}
    assert set(newest.items()) <= {(incident, seq) for incident, seq, *_ in sent}


def _identity(alert: CompleteAlert) -> tuple[str, int, str]:
    return alert.incident, alert.seq, alert.id
