"""The life cycle of incidents: their phases, the steps that are reported, and how seldom a flapping drift pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from driftline.detectors.decision.battery import Column
from driftline.detectors.summaries.codes import Special
from driftline.stream.config.incidents import Incidents, SeverityRule
from driftline.stream.config.load import parse_config
from driftline.stream.judge.changes import Change, Profile
from driftline.stream.judge.incidents import SEVERITIES, Finding, Incident, Phase, Resolution, Status, Step, Subject
from driftline.stream.judge.lifecycle import LifeCycle, end, leave
from driftline.stream.panes.pane import Range

MINUTE = 60_000


def life(**rules: object) -> LifeCycle:
    """Rules under which incidents fire and are resolved at once, unless `rules` say otherwise."""
    at_once = {"hold": "0s", "recovery": "0s", "cooldown": "0s"}
    return LifeCycle(Incidents(**(at_once | rules)), "b4se", "4.2")


def finding(
    signal: str, since: int = 1000, effect: float = 0.1, special: Special | None = None, broken: float = 0.0
) -> Finding:
    codes = {special.name.lower(): broken} if special is not None else {}
    change = Change("mean 1 → 2", Profile(9, {}, {}), Profile(9, codes, {}), 0.1, effect, None, None)
    return Finding(signal, Column("ks", 0, special), False, 0, since, 100, (Range(0, 0, 100),), 20.0, 17.0, change)


def subjects(signals: str) -> set[Subject]:
    return {Subject("", signal) for signal in signals}


def names(findings: Collection[Finding]) -> str:
    return "".join(each.signal for each in findings)


def incident(drifts: str = "", recovered: str = "", phase: Phase = Phase.FIRING, entered: int = 0) -> Incident:
    held = tuple(map(finding, drifts)), tuple(map(finding, recovered))
    return Incident("", "b4se", "4.2", 500, 1000, phase, entered, "warning", False, *held)


def step(
    before: Incident | None, found: str = "", released: str = "", at: int = 3000, own: LifeCycle | None = None
) -> tuple[Incident | None, list[Step]]:
    held = {"": before} if before else {}
    after, steps = (own or life()).advance(held, [finding(each, 2000) for each in found], subjects(released), 700, at)
    return after.get(""), steps


# before, found, released, statuses reported, drifts and recovered after ("": no incident)
TRANSITIONS = [
    (None, "", "", [], None),
    (None, "a", "", [Status.FIRING], ("a", "")),
    (None, "ab", "", [Status.FIRING], ("ab", "")),
    (("a", ""), "", "", [], ("a", "")),
    (("a", ""), "b", "", [Status.UPDATED], ("ab", "")),
    (("ab", ""), "", "a", [], ("b", "a")),
    (("b", "a"), "", "b", [Status.RESOLVED], None),
    (("ab", ""), "", "ab", [Status.RESOLVED], None),
    (("a", ""), "b", "a", [Status.UPDATED], ("b", "a")),
    (("b", "a"), "a", "", [], ("ba", "")),
    (("b", "a"), "a", "b", [], ("a", "b")),
]


@pytest.mark.parametrize(("before", "found", "released", "statuses", "after"), TRANSITIONS)
def test_a_signal_that_returns_to_an_open_incident_is_not_reported_again(
    before: tuple[str, str] | None,
    found: str,
    released: str,
    statuses: list[Status],
    after: tuple[str, str] | None,
) -> None:
    new, steps = step(incident(*before) if before else None, found, released)
    assert [each.status for each in steps] == statuses
    assert (new and (names(new.drifts), names(new.recovered))) == after


FIRING, RECOVERING, PENDING, CLOSED = Phase.FIRING, Phase.RECOVERING, Phase.PENDING, Phase.CLOSED
# phase, since when (minutes ago), found, released, phase after, statuses; hold 2m, recovery 5m, cooldown 60m
PHASES = [
    (None, 0, "a", "", PENDING, []),
    (PENDING, 1, "", "", PENDING, []),
    (PENDING, 1, "b", "", PENDING, []),
    (PENDING, 2, "", "", FIRING, [Status.FIRING]),
    (PENDING, 1, "", "a", None, []),
    (PENDING, 2, "", "a", None, []),
    (FIRING, 9, "", "a", RECOVERING, []),
    (RECOVERING, 4, "", "", RECOVERING, []),
    (RECOVERING, 4, "a", "", FIRING, []),
    (RECOVERING, 4, "b", "", FIRING, [Status.UPDATED]),
    (RECOVERING, 5, "", "", CLOSED, [Status.RESOLVED]),
    (RECOVERING, 5, "a", "", FIRING, []),
    (CLOSED, 59, "", "", CLOSED, []),
    (CLOSED, 60, "", "", None, []),
    (CLOSED, 59, "a", "", PENDING, []),
]


@pytest.mark.parametrize(("phase", "ago", "found", "released", "after", "reported"), PHASES)
def test_every_row_of_the_table_of_phases(
    phase: Phase | None, ago: int, found: str, released: str, after: Phase | None, reported: list[Status]
) -> None:
    own, now = life(hold="2m", recovery="5m", cooldown="60m"), 100 * MINUTE
    drifting = {PENDING: ("a", ""), FIRING: ("a", ""), RECOVERING: ("", "a"), CLOSED: ("", "")}
    before = incident(*drifting[phase], phase, now - ago * MINUTE) if phase else None
    new, steps = step(before, found, released, now, own)
    assert (new and new.phase, [each.status for each in steps]) == (after, reported)


def test_an_incident_fires_with_all_signals_that_still_drift_after_the_hold() -> None:
    own = life(hold="2m", recovery="5m")
    pending, _ = step(None, "a", at=0, own=own)
    pending, _ = step(pending, "bc", at=MINUTE, own=own)
    pending, _ = step(pending, released="b", at=MINUTE, own=own)
    firing, (reported,) = step(pending, at=2 * MINUTE, own=own)
    assert (reported.status, names(reported.findings), names(firing.recovered)) == (Status.FIRING, "ac", "")
    _, (returned,) = step(firing, "b", at=3 * MINUTE, own=own)
    assert (returned.status, names(returned.findings)) == (Status.UPDATED, "b"), "it was not reported before"


def test_a_signal_that_recovers_before_the_incident_fires_does_not_raise_its_severity() -> None:
    own = life(hold="2m")
    broken = finding("a", special=Special.MISSING, broken=0.9)
    held, _ = own.advance({}, [broken, finding("b")], (), 700, 0)
    held, _ = own.advance(held, [], subjects("a"), 800, MINUTE)
    _, (reported,) = own.advance(held, [], (), 900, 2 * MINUTE)
    assert (names(reported.findings), reported.incident.severity) == ("b", "warning")


def test_an_incident_ends_at_the_beginning_of_its_recovery() -> None:
    own = life(recovery="5m")
    recovering, _ = step(incident("a"), released="a", at=10 * MINUTE, own=own)
    _, (over,) = step(recovering, at=15 * MINUTE, own=own)
    assert (over.status, over.resolution, over.at) == (Status.RESOLVED, "recovered", 10 * MINUTE)


def test_an_incident_is_identified_by_its_first_alarm_and_keeps_its_earliest_start() -> None:
    fired, _ = step(None, "a")
    assert (fired.opened, fired.since, fired.baseline, fired.version) == (700, 2000, "b4se", "4.2")
    earlier, _ = life().advance({"": fired}, [finding("b", 1500)], (), seen=900, at=4000)
    later, _ = life().advance(earlier, [finding("c", 9000)], (), seen=950, at=9500)
    assert (later[""].opened, later[""].since) == (700, 1500)


def test_a_step_reports_new_findings_and_the_end_has_all_signals_that_had_drifted() -> None:
    _, (fired,) = step(None, "ab")
    assert (names(fired.findings), fired.at) == ("ab", 3000)
    _, (updated,) = step(incident("ab"), "c", "a")
    assert names(updated.findings) == "c"
    _, (resolved,) = step(incident("c", "ab"), released="c")
    assert (names(resolved.findings), names(resolved.incident.recovered)) == ("", "abc")
    assert resolved.incident.drifts == ()


def oscillate(own: LifeCycle, on: int, off: int, minutes: int) -> list[Status]:
    """A signal drifts for `on` minutes and is quiet for `off`, again and again; looked at every minute."""
    held: Mapping[str, Incident] = {}
    reported, drifts = list[Status](), False
    for minute in range(minutes):
        now = minute % (on + off) < on
        findings = [finding("a", minute * MINUTE)] if now and not drifts else []
        held, steps = own.advance(held, findings, subjects("a") if drifts and not now else (), minute, minute * MINUTE)
        reported, drifts = reported + [each.status for each in steps], now
    return reported


@given(st.integers(1, 90), st.integers(1, 90))
def test_a_flapping_drift_pages_at_most_twice_an_hour(on: int, off: int) -> None:
    by_default = LifeCycle(Incidents(), "b4se")
    assert 1 <= oscillate(by_default, on, off, 60).count(Status.FIRING) <= 2


def test_an_incident_within_the_cooldown_must_recover_for_as_long_as_the_cooldown() -> None:
    """On for a minute and off for 7: closed after 5 minutes once, and then open until it is over."""
    own = life(recovery="5m", cooldown="1h")
    assert oscillate(own, 1, 7, 600) == [Status.FIRING, Status.RESOLVED, Status.FIRING]
    assert oscillate(own, 1, 100, 600).count(Status.FIRING) == 6
    assert oscillate(life(recovery="5m"), 1, 7, 80).count(Status.FIRING) == 10


def test_an_incident_that_ends_while_it_is_held_leaves_only_the_cooldown_before_it() -> None:
    own, now = life(hold="2m", recovery="5m", cooldown="1h"), 100 * MINUTE
    closed = incident(phase=CLOSED, entered=now)
    pending, _ = step(closed, "a", at=now, own=own)
    again, reported = step(pending, released="a", at=now + MINUTE, own=own)
    assert (again.phase, again.again, reported) == (CLOSED, True, [])


def test_a_clock_a_year_ahead_does_not_hold_an_incident_open() -> None:
    own, now = life(recovery="5m"), 1000
    recovering, _ = step(incident("a"), released="a", at=365 * 24 * 60 * MINUTE, own=own)
    recovering, _ = step(recovering, at=now, own=own)
    _, steps = step(recovering, at=now + 5 * MINUTE, own=own)
    assert [each.status for each in steps] == [Status.RESOLVED]


def test_a_slow_partition_does_not_cut_a_recovery_short() -> None:
    own, now = life(recovery="5m"), 100 * MINUTE
    recovering, _ = step(incident("a"), released="a", at=now, own=own)
    for behind in (4, 30, 60):
        recovering, _ = step(recovering, at=now - behind * MINUTE, own=own)
    assert step(recovering, at=now + 4 * MINUTE, own=own)[1] == []
    assert len(step(recovering, at=now + 5 * MINUTE, own=own)[1]) == 1


@pytest.mark.parametrize(("ahead", "after"), [(0, RECOVERING), (1, CLOSED)])
def test_a_day_may_be_a_slow_partition_and_more_is_a_wrong_clock(ahead: int, after: Phase) -> None:
    """Up to a day behind, a pane leaves the recovery as it is; one behind that by more dates it anew."""
    own, now = life(recovery="5m", cooldown="1h"), 100 * MINUTE
    recovering = incident(recovered="a", phase=RECOVERING, entered=now + 24 * 60 * MINUTE + ahead)
    recovering, _ = step(recovering, at=now, own=own)
    assert step(recovering, at=now + 5 * MINUTE, own=own)[0].phase is after


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), max_size=30))
def test_a_flapping_signal_is_in_its_incident_only_once(history: list[tuple[set[str], set[str]]]) -> None:
    """While another signal kept an incident open, each return of a signal used to add to what had recovered."""
    held: Mapping[str, Incident] = {"": incident("z")}
    reported = set("z")
    for found, gone in history:
        drifting = set(names(held[""].drifts))
        new = [finding(signal) for signal in sorted(found - drifting)]
        held, steps = life().advance(held, new, subjects("".join(gone & drifting)), seen=1, at=1)
        both = names(held[""].drifts) + names(held[""].recovered)
        assert len(both) == len(set(both))
        assert set(names(held[""].drifts)) == drifting - gone | (found - drifting)
        news = "".join(names(each.findings) for each in steps)
        assert not reported & set(news)
        reported |= set(news)


def test_a_page_per_signal_gives_each_its_own_incident() -> None:
    own = life(page_per="signal")
    held, steps = own.advance({}, [finding("a"), finding("b")], (), 700, 3000)
    assert [(each.status, each.incident.scope, names(each.findings)) for each in steps] == [
        (Status.FIRING, "a", "a"),
        (Status.FIRING, "b", "b"),
    ]
    left, (over,) = own.advance(held, [], subjects("a"), 800, 4000)
    assert (over.incident.scope, over.status, list(left)) == ("a", Status.RESOLVED, ["b"])


def kept(**rules: object) -> LifeCycle:
    """Rules of a group at format level 3, whose incidents are remembered."""
    return replace(life(**rules), remembers=True)


def broken(signal: str, share: float, events: int = 100) -> Finding:
    return structs.replace(finding(signal, special=Special.MISSING, broken=share), events=events)


def test_what_comes_back_is_the_same_incident_and_says_so() -> None:
    own, day = kept(), 24 * 60 * MINUTE
    held, (fired,) = own.advance({}, [finding("a"), finding("b")], (), 700, day)
    held, (over,) = own.advance(held, [], subjects("ab"), 900, 2 * day)
    held, (again,) = own.advance(held, [finding("a", 9000)], (), 1500, 7 * day)
    assert (again.status, again.reopened, names(again.findings)) == (Status.UPDATED, True, "a")
    assert (again.incident.opened, again.incident.since) == (fired.incident.opened, fired.incident.since)
    assert (over.reopened, fired.reopened) == (False, False)
    assert names(again.incident.recovered) == "b", "its end names all that had drifted"


# what begins after an end, days after it, and whether it is another incident
RETURNS = [
    (broken("a", 0.02), 7, False),
    (broken("a", 0.02), 8, True),
    (broken("a", 0.07), 1, False),  # the odds of 2 % are 1 : 49, and of 7 % 3.7 : 49
    (broken("a", 0.08), 1, True),
    (broken("b", 0.02), 1, True),
    (finding("a", effect=0.1), 1, False),
    (structs.replace(finding("a"), test=Column("rate", 0, Special.UNSEEN)), 1, True),
    (broken("a", 0.95), 1, True),
]


@pytest.mark.parametrize(("found", "days", "fires"), RETURNS)
def test_what_is_much_worse_or_another_thing_or_comes_much_later_is_another_incident(
    found: Finding, days: int, fires: bool
) -> None:
    own, day = kept(), 24 * 60 * MINUTE
    held, _ = own.advance({}, [broken("a", 0.02)], (), 700, 0)
    held, _ = own.advance(held, [], subjects("a"), 900, day)
    held, (begun,) = own.advance(held, [found], (), 1500, (1 + days) * day)
    assert begun.status is (Status.FIRING if fires else Status.UPDATED)
    assert held[""].opened == (1500 if fires else 700)


def test_each_end_that_did_not_last_doubles_the_quiet_that_the_next_one_takes() -> None:
    own, held, seen = kept(cooldown="1h"), dict[str, Incident](), 0
    for ends in range(6):
        held, (begun,) = own.advance(held, [broken("a", 0.02, events=150)], (), seen, seen)
        assert begun.status is (Status.UPDATED if ends else Status.FIRING)
        held, steps = own.advance(held, [], subjects("a"), seen := seen + 10, seen)
        needed = 300 * 2**ends - 300
        if ends:
            held, early = own.advance(held, [], (), seen + needed - 1, seen + 2 * 60 * MINUTE)
            assert not steps + early
            held, steps = own.advance(held, [], (), seen := seen + needed, seen + 2 * 60 * MINUTE)
        assert [(each.status, each.resolution) for each in steps] == [(Status.RESOLVED, "recovered")]


def test_an_update_takes_twice_the_odds_or_another_code() -> None:
    own = kept()
    held, _ = own.advance({}, [broken("a", 0.02)], (), 700, 0)
    reported = []
    for share in (0.03, 0.038, 0.04, 0.06, 0.02, 0.07, 0.08, 0.08):
        held, steps = own.advance(held, [broken("a", share)], (), 800, 0)
        reported += [share for _ in steps]
    assert reported == [0.04, 0.08]
    unseen = structs.replace(finding("a"), test=Column("rate", 0, Special.UNSEEN))
    held, (other,) = own.advance(held, [unseen], (), 900, 0)
    assert other.findings == (unseen,)


def test_only_tests_that_may_find_news_are_looked_at() -> None:
    own, first = kept(), broken("a", 0.02)
    held, _ = own.advance({}, [structs.replace(first, evidence=20.0, events=100)], (), 700, 0)
    own = replace(own, rules=Incidents(severity=(SeverityRule(severity="warning"),)))
    look = [
        (first.test, 0.29, False),
        (first.test, 0.31, True),
        (Column("rate", 0, Special.NAN), 0.01, True),
        (Column("ks", 0), 0.01, False),
    ]
    for test, density, wanted in look:
        assert own.may_be_news(held[""], first, test, density) is wanted


def test_an_incident_that_was_held_when_it_came_back_stays_closed() -> None:
    own = kept(hold="2m")
    held, _ = own.advance({}, [finding("a")], (), 700, 0)
    held, _ = own.advance(held, [], (), 700, 2 * MINUTE)
    held, _ = own.advance(held, [], subjects("a"), 700, 3 * MINUTE)
    held, steps = own.advance(held, [finding("a")], (), 700, 4 * MINUTE)
    held, more = own.advance(held, [], subjects("a"), 700, 5 * MINUTE)
    assert (steps + more, held[""].phase, names(held[""].recovered)) == ([], CLOSED, "a")
    held, _ = own.advance(held, [finding("a")], (), 700, 6 * MINUTE)
    _, (again,) = own.advance(held, [], (), 700, 8 * MINUTE)
    assert (again.reopened, again.incident.opened) == (True, 700)


def test_what_has_another_reference_is_not_remembered() -> None:
    held, _ = kept().advance({}, [finding("a")], (), 700, 0)
    held, _ = leave(held, {Subject("", "a"): "accepted"}, 1000)
    _, (begun,) = kept().advance(held, [finding("a")], (), 900, 2000)
    assert (begun.status, begun.incident.opened) == (Status.FIRING, 900)


TABLE = """
defaults:
  incidents:
    severity:
    - {of: data-quality, effect: 0.5, severity: critical}
    - {of: data-quality, severity: warning}
    - {effect: 0.8, severity: error}
    - {of: prediction-drift, severity: warning}
"""
# signal, special code, its share, Jensen-Shannon distance, severity; 0 % and 41 % are 0.494 apart, 42 % 0.501
GRADES = [
    ("features.x", Special.MISSING, 0.42, 0.7, "critical"),
    ("features.x", Special.INVALID, 0.41, 0.7, "warning"),
    ("features.x", Special.UNSEEN, 0.9, 0.9, "error"),
    ("features.x", None, 0.0, 0.8, "error"),
    ("features.x", None, 0.0, 0.7, "info"),
    ("score", None, 0.0, 0.7, "warning"),
    ("score", Special.NAN, 0.9, 0.7, "critical"),
]


@pytest.mark.parametrize(("signal", "special", "broken", "effect", "severity"), GRADES)
def test_the_first_row_of_the_table_that_fits_gives_the_severity(
    signal: str, special: Special | None, broken: float, effect: float, severity: str
) -> None:
    own = LifeCycle(parse_config(TABLE).defaults.incidents, "b4se")
    assert own.severity(finding(signal, effect=effect, special=special, broken=broken)) == severity


def test_by_default_what_a_model_cannot_work_with_is_critical() -> None:
    own = life()
    assert own.severity(finding("features.x", special=Special.MISSING, broken=0.95)) == "critical"
    in_cents = finding("features.x", effect=0.97)
    old, new = Profile(900, {}, {}, 70.0, 30.0), Profile(90, {}, {}, 6300.0, 2800.0)
    in_cents = structs.replace(in_cents, change=structs.replace(in_cents.change, before=old, after=new))
    assert in_cents.scale == pytest.approx(90)
    assert own.severity(in_cents) == "critical"
    for mean, deviation in ((6300.0, 30.0), (70.0, 2800.0), (350.0, 150.0), (-6300.0, 2800.0), (None, None)):
        other = structs.replace(in_cents.change, after=Profile(90, {}, {}, mean, deviation))
        assert own.severity(structs.replace(in_cents, change=other)) == "warning"


def test_by_default_drift_warns_and_a_signal_half_broken_is_an_error() -> None:
    own = life()
    assert own.severity(finding("features.x", effect=1.0)) == "warning"
    assert own.severity(finding("features.x", special=Special.MISSING, broken=0.5)) == "error"
    assert own.severity(finding("features.x", effect=0.9, special=Special.MISSING, broken=0.1)) == "warning"
    assert own.may_worsen(incident("a"), "features.x", Column("rate", 0, Special.MISSING))
    assert not own.may_worsen(incident("a"), "features.x", Column("rate", 0, Special.UNSEEN))


def test_an_incident_keeps_the_severity_of_its_worst_finding_and_reports_a_rise() -> None:
    own = LifeCycle(parse_config(TABLE).defaults.incidents, "b4se")
    held, (fired,) = own.advance({}, [finding("features.x", special=Special.MISSING, broken=0.1)], (), 700, 3000)
    assert fired.incident.severity == "warning"
    worse = finding("features.x", special=Special.MISSING, broken=0.6)
    assert own.may_worsen(held[""], worse.signal, worse.test)
    held, (updated,) = own.advance(held, [worse], (), 800, 4000)
    assert (updated.status, updated.incident.severity, updated.findings) == (Status.UPDATED, "critical", (worse,))
    assert held[""].drifts == (worse,)
    assert not own.may_worsen(held[""], worse.signal, worse.test)
    held, steps = own.advance(held, [finding("features.y")], (), 900, 5000)
    assert [each.incident.severity for each in steps] == ["critical"]
    assert SEVERITIES.index("critical") == max(map(SEVERITIES.index, SEVERITIES))


# what has gone, what drifts and has recovered after (None: nothing), and the resolution told
LEAVING = [
    ({}, ("ab", ""), None),
    ({"a": "unwatched"}, ("b", ""), None),
    ({"a": "unwatched", "b": "unwatched"}, ("", ""), "unwatched"),
    ({"a": "unwatched", "b": "replaced"}, ("", ""), "replaced"),
    ({"a": "replaced", "b": "accepted"}, ("", ""), "accepted"),
    ({"c": "replaced"}, ("ab", ""), None),
]


@pytest.mark.parametrize(("gone", "after", "told"), LEAVING)
def test_an_incident_ends_when_the_last_of_its_drifts_has_left_it(
    gone: dict[str, Resolution], after: tuple[str, str], told: Resolution | None
) -> None:
    open_one = incident("ab")
    held, steps = leave({"": open_one}, {Subject("", signal): why for signal, why in gone.items()}, 7000)
    assert (names(held[""].drifts), names(held[""].recovered)) == after
    assert [(each.status, each.resolution, each.incident, each.at) for each in steps] == (
        [(Status.RESOLVED, told, open_one, 7000)] if told else []
    )
    assert held[""].phase is (CLOSED if told else Phase.FIRING), "it opens again only after the cooldown"


def test_an_incident_that_nobody_was_told_of_leaves_without_a_word() -> None:
    assert leave({"": incident("a", phase=PENDING)}, {Subject("", "a"): "replaced"}, 7000) == ({}, [])


def test_an_incident_without_drifts_recovers_as_if_nothing_had_changed() -> None:
    recovering = {"": incident(recovered="a", phase=RECOVERING)}
    assert leave(recovering, {Subject("", "a"): "unwatched"}, 7000) == (recovering, [])


def test_drifts_of_other_tracks_and_segments_stay() -> None:
    """A signal may drift in one version or in one country, and beside that in all events."""
    drifts = [finding("a"), structs.replace(finding("a"), track="5.0"), structs.replace(finding("a"), segment="IN")]
    held, (fired,) = life().advance({}, drifts, (), 700, 3000)
    assert fired.findings == tuple(drifts)
    held, _ = life().advance(held, [], {Subject("5.0", "a")}, 800, 3500)
    held, steps = leave(held, {Subject("", "a"): "unwatched"}, 4000)
    assert (held[""].drifts, steps) == ((drifts[2],), [])


def test_when_a_model_is_no_longer_watched_reported_incidents_are_resolved() -> None:
    open_ones = [incident("ab", "c"), incident("", "a", RECOVERING)]
    unknown = [incident("a", phase=PENDING), incident(phase=CLOSED)]
    steps = end([*open_ones, *unknown], 7000)
    assert [(each.status, each.resolution, each.incident, each.at) for each in steps] == [
        (Status.RESOLVED, "unwatched", open_one, 7000) for open_one in open_ones
    ]


HOURS = 60 * MINUTE
# of a finding in a model whose amount drifts since hour 10, seen at hour 30: its signal, since when, and whether it
# belongs to that incident; that is checked at hour 701, so a window from hour 253 on may be late by half its length
CAUSES = [
    (finding("features.b", 9 * HOURS), True),
    (finding("features.b", 253 * HOURS), True),
    (finding("features.b", 255 * HOURS), False),
    (structs.replace(broken("features.b", 1.0), since=700 * HOURS), False),
    (finding("features.amount", 700 * HOURS, effect=1.0), True),
    (finding("score", 700 * HOURS), True),
    (structs.replace(broken("score", 1.0), since=700 * HOURS), False),
]


@pytest.mark.parametrize(("found", "joins"), CAUSES)
def test_an_incident_is_one_cause_and_another_one_has_its_own_page(found: Finding, joins: bool) -> None:
    own = kept()
    held, _ = own.advance({}, [finding("features.amount", 10 * HOURS)], (), 700, 30 * HOURS)
    held, (reported,) = own.advance(held, [structs.replace(found, evidence=99.0)], (), 900, 701 * HOURS)
    assert reported.status is (Status.UPDATED if joins else Status.FIRING)
    assert [*held] == ([""] if joins else ["", found.signal])


def test_fields_that_are_lost_together_are_one_incident_beside_a_slow_drift() -> None:
    """The slow drift goes on, and each ends by itself."""
    own = kept()
    held, _ = own.advance({}, [finding("features.amount", 0)], (), 700, HOURS)
    lost = [structs.replace(broken(f"features.{each}", 1.0), since=700 * HOURS) for each in "abc"]
    held, (fired,) = own.advance(held, lost[:2], (), 9000, 700 * HOURS)
    held, (joined,) = own.advance(held, lost[2:], (), 9100, 700 * HOURS + MINUTE)
    assert (fired.status, fired.incident.scope, fired.incident.severity) == (Status.FIRING, "features.a", "critical")
    assert (joined.status, joined.incident.opened) == (Status.UPDATED, 9000)
    gone = {each.subject for each in lost}
    held, (over,) = own.advance(held, [], gone, 9900, 710 * HOURS)
    assert (over.status, over.incident.scope, held[""].phase) == (Status.RESOLVED, "features.a", FIRING)
    held, (again,) = own.advance(held, lost[:1], (), 9950, 720 * HOURS)
    assert (again.reopened, again.incident.opened) == (True, 9000)


def test_below_level_3_one_incident_holds_all_that_drifts_in_a_model() -> None:
    held, _ = life().advance({}, [finding("features.amount", 0)], (), 700, HOURS)
    held, (updated,) = life().advance(held, [finding("features.b", 700 * HOURS)], (), 9000, 701 * HOURS)
    assert (updated.status, [*held]) == (Status.UPDATED, [""])


def test_an_incident_of_another_judge_of_the_model_takes_no_drift() -> None:
    other = structs.replace(incident("accuracy"), scope="outcomes")
    held, (fired,) = kept().advance({"outcomes": other}, [finding("features.b", 2000)], (), 700, 3000)
    assert (fired.status, [*held]) == (Status.FIRING, ["outcomes", ""])
