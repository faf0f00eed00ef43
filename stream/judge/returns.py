"""Incidents that come back: when an end has lasted, and when a drift is worth another message. Pure.

A drifted state may be restless: it looks recovered at night, and drifts again in the morning. Two bounds hold whatever
it does. Each end that did not last doubles the events of quiet that the next one takes, so T events have about log₂ T
ends; and a drift that is reported is reported again when its odds are twice the worst so far, so a state has as many
updates as its odds can double.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from driftline.detectors.decision.battery import Column
from driftline.stream.judge.incidents import NOTHING, Course, Finding, Incident, Phase, Reported, Subject

#: ms. An incident that comes back within eight days is the same one: what drifts at weekends is quiet for five.
REMEMBERED: Final = 8 * 86_400_000
# The events of quiet that each end that did not last doubles: twice those of the alarm, and 200 at least. The first end
# asks for none beyond its release.
_FEWEST, _GROWTH = 200, 2
# How many times the odds of what was reported make an update, and how many a page.
_WORSE, _MUCH_WORSE = 2.0, 4.0
# Twice the odds are more than twice the evidence of an event, but nearly all of the values: less is not looked at.
_DENSER = 1.5
# Doublings after which nothing ends any more: 2⁴⁰ events.
_MOST = 40
# Odds of 1,000 to 1 are the highest: a share of 100 % cannot double.
_CERTAIN = 0.999


def odds(finding: Finding) -> float:
    """The odds of a drift's size: of the share of a special code, or of how far all values moved.

    Without an order that is the Jensen-Shannon divergence, in bits: a new value of a share p moves it by p at most.
    """
    change, special = finding.change, finding.test.special
    if special is not None:
        size = change.after.special.get(special.name.lower(), 0.0)
    else:
        size = change.jensen_shannon**2 if change.distance is None else change.distance
    size = min(size, _CERTAIN)
    return size / (1 - size)


def with_reported(incident: Incident, findings: Iterable[Finding]) -> Incident:
    """The incident that keeps the worst of what was reported of it, by subject and code."""
    if incident.course is UNSET:
        return incident
    known, events = {(each.subject, each.special): each for each in incident.course.reported}, incident.course.events
    for finding in findings:
        key, now = (finding.subject, _code(finding.test)), odds(finding)
        before = known.get(key)
        if before is None or now >= before.odds:
            known[key] = Reported(*key, finding.test.statistic, now, finding.evidence / max(finding.events, 1))
        events = max(events, _GROWTH * finding.events, _FEWEST)
    return replace(incident, course=replace(incident.course, reported=(*known.values(),), events=events))


def is_news(course: Course, finding: Finding, times: float = _WORSE) -> bool:
    """Whether a finding says more than was reported of its subject: another code, or `times` the odds."""
    before = _before(course, finding.subject, finding.test)
    return not before or odds(finding) >= times * max(each.odds for each in before)


def may_be_news(course: Course, subject: Subject, test: Column, density: float) -> bool:
    """Whether such a test may find news, by its evidence in nats an event: to describe each finding would be costly."""
    before = _before(course, subject, test)
    own = [each.density for each in before if each.statistic == test.statistic]
    return density >= _DENSER * max(own) if own else not before


def _before(course: Course, subject: Subject, test: Column) -> list[Reported]:
    """What was reported of the same: of its special code, or of all of a subject, whose values show each code, too."""
    own, code = (each for each in course.reported if each.subject == subject), _code(test)
    return [each for each in own if each.special == code or not code]


def is_return(incident: Incident, findings: Sequence[Finding], at: int) -> bool:
    """Whether what begins is a closed incident again: all of it drifted before, and is not much worse than it was."""
    course = incident.course
    if incident.phase is not Phase.CLOSED or course is UNSET or course.until == NOTHING:
        return False
    if at - incident.entered >= REMEMBERED:
        return False
    return not any(is_news(course, each, _MUCH_WORSE) for each in findings)


def reopened(incident: Incident, at: int, again: bool, until: int) -> Incident:
    """A closed incident whose end did not last.

    again: whether it comes back within the cooldown. until: as in `Course`.
    """
    opened = replace(incident.enter(Phase.PENDING, at), again=again)
    course = incident.course
    if course is UNSET:
        return opened
    return replace(opened, course=replace(course, ends=course.ends + 1, until=until))


def has_cause_of(incident: Incident, finding: Finding, rises: bool, at: int) -> bool:
    """Whether a finding may have the cause of an open incident: it began no later, or it follows from what drifts.

    The window that shows a change begins where the evidence is strongest, which may be later than the change by half of
    the window. A prediction or a score that drifts follows from features that do. rises: it is more severe than the
    incident, and no consequence is worse than its cause. at: the end of the window, epoch ms.
    """
    course = incident.course
    if course is UNSET or finding.since - (at - finding.since) // 2 <= course.until:
        return True
    drifting = any(each.kind == "data-drift" for each in (*incident.drifts, *incident.recovered))
    return finding.kind == "prediction-drift" and drifting and not rises


def without_returns(incidents: Mapping[str, Incident], subjects: Collection[Subject]) -> dict[str, Incident]:
    """The incidents by scope, of which nothing is a return later that `subjects` alone have caused."""
    return {scope: _without_return(each) if _caused(each) <= {*subjects} else each for scope, each in incidents.items()}


def _caused(incident: Incident) -> set[Subject]:
    """What has drifted in an incident."""
    reported = () if incident.course is UNSET else incident.course.reported
    findings = (*incident.drifts, *incident.recovered)
    return {*(each.subject for each in findings), *(each.subject for each in reported)}


def _without_return(incident: Incident) -> Incident:
    return incident if incident.course is UNSET else replace(incident, course=replace(incident.course, until=NOTHING))


def with_quiet(incident: Incident, seen: int) -> Incident:
    """The incident whose quiet begins after `seen` events of the model."""
    course = incident.course
    return incident if course is UNSET else replace(incident, course=replace(course, quiet_from=seen))


def is_quiet(incident: Incident, seen: int) -> bool:
    """Whether the events since its recovery suffice for an end, after those ends that did not last."""
    course = incident.course
    if course is UNSET:
        return True
    # The release itself took the first of them. A version that is out of use takes its events out of the count.
    return abs(seen - course.quiet_from) >= quiet_events(course) - course.events


def quiet_events(course: Course) -> int:
    """Events of quiet that the next end takes."""
    return course.events << min(course.ends, _MOST)


def _code(test: Column) -> str:
    return "" if test.special is None else test.special.name.lower()
