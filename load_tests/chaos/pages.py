"""The verdict on what the pager of a chaos run received, compared with the alerts topic. Pure.

    alerts of an incident on the topic     what the pager must have accepted
    firing, updated, resolved              its last step; any earlier ones, in order; each once
    firing, updated                        its newest step
    firing, resolved, none sent by then    nothing
    firing, resolved, reopened             its end; the rest only if the relay had not sent that yet

`docs/ALERTS.md` allows a step twice if its answer did not arrive, or if the relay was interrupted before it could note
the answer; and the end of an incident that the pager does not know if the relay was interrupted before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from load_tests.chaos.outcome import PageRequest, Record, Verdict

_Alert = Mapping[str, Any]
_UNANSWERED = re.compile(r"'(?P<incident>\S+)' seq (?P<seq>\d+) \(\w+\) will be retried: \S+ does not answer in time")
Interruptions = Sequence[tuple[float, float]]


def check_pages(
    verdict: Verdict, alerts: Iterable[Record], requests: Sequence[PageRequest], interruptions: Interruptions
) -> None:
    """Compare what the pager received with the alerts topic. interruptions: see `Relay`."""
    on_topic = _steps(orjson.loads(record.value or b"")["data"] for record in alerts)
    _check_order(verdict, requests, interruptions)
    received: dict[str, list[PageRequest]] = {}
    for request in requests:
        received.setdefault(_incident(request.data), []).append(request)
    for incident, steps in on_topic.items():
        _check_incident(verdict, incident, steps, received.pop(incident, []), interruptions)
    verdict.mismatches += [f"the pager received {incident}, which is not on the alerts topic" for incident in received]
    accepted = [request for request in requests if request.accepted]
    verdict.figures |= {
        "incidents": len(on_topic),
        "incidents paged": len({_incident(request.data) for request in accepted}),
        "pages accepted": len(accepted),
        "pages accepted again": len(accepted) - len({request.data["id"] for request in accepted}),
    }


def without_answers(requests: Iterable[PageRequest], log: str) -> list[PageRequest]:
    """The requests; certain is only what the relay's log does not name as unanswered. A busy machine delays answers."""
    waited = {(found["incident"], int(found["seq"])) for found in _UNANSWERED.finditer(log)}
    return [
        each._replace(certain=each.certain and (_incident(each.data), each.data["seq"]) not in waited)
        for each in requests
    ]


def _steps(alerts: Iterable[_Alert]) -> dict[str, list[_Alert]]:
    """The steps of each incident, each once, in order."""
    steps: dict[str, dict[int, _Alert]] = {}
    for alert in alerts:
        steps.setdefault(_incident(alert), {})[alert["seq"]] = alert
    return {incident: [own[seq] for seq in sorted(own)] for incident, own in steps.items()}


def _incident(alert: _Alert) -> str:
    return f"{alert['alert_key']}/{alert['incident_id']}"


def _check_order(verdict: Verdict, requests: Sequence[PageRequest], interruptions: Interruptions) -> None:
    """Check that what the pager accepts of an alert_key rises, but for what it may get again."""
    last: dict[str, PageRequest] = {}
    for request in requests:
        if not request.accepted:
            continue
        before = last.get(request.data["alert_key"])
        if before is not None and request.data["seq"] <= before.data["seq"]:
            excused = not before.certain or _interrupted(interruptions, before.at, request.at)
            if request.data["seq"] < before.data["seq"]:
                verdict.mismatches.append(f"{_shown(request)} came after seq {before.data['seq']}")
            elif not excused:
                verdict.mismatches.append(f"{_shown(request)} came twice")
        last[request.data["alert_key"]] = request


def _check_incident(
    verdict: Verdict,
    incident: str,
    steps: Sequence[_Alert],
    requests: Sequence[PageRequest],
    interruptions: Interruptions,
) -> None:
    accepted, last = [request for request in requests if request.accepted], steps[-1]
    ended = last["status"] == "resolved"
    if not accepted:
        if not ended:
            verdict.mismatches.append(f"{incident} is open, and the pager was not notified")
        return
    if accepted[-1].data["seq"] not in (last["seq"], _before_it_came_back(steps)["seq"]):
        verdict.mismatches.append(
            f"{incident}: seq {accepted[-1].data['seq']} is the last that the pager accepted, expected {last['seq']}"
        )
    first = requests[0]
    if first.data["status"] == "resolved" and not any(begin <= first.at for begin, _ in interruptions):
        verdict.mismatches.append(f"{incident}: the pager was notified of its end alone")
    known = {step["seq"] for step in steps}
    verdict.mismatches += [
        f"{_shown(each)} is not on the alerts topic" for each in accepted if each.data["seq"] not in known
    ]


def _before_it_came_back(steps: Sequence[_Alert]) -> _Alert:
    """The last step that the pager must have, if nothing new was found since the incident came back."""
    came_back = [i for i, each in enumerate(steps) if each.get("reopened")]
    news = [i for i, each in enumerate(steps) if each["status"] != "resolved" and not each.get("reopened")]
    return next((steps[i - 1] for i in came_back if i > news[-1]), steps[-1]) if news else steps[-1]


def _interrupted(interruptions: Interruptions, after: float, before: float) -> bool:
    return any(begin <= before and after <= end for begin, end in interruptions)


def _shown(request: PageRequest) -> str:
    return f"{_incident(request.data)}: seq {request.data['seq']}, {request.data['status']}"
