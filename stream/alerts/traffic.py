"""What alerts about a model's traffic say, beside what all alerts say. Pure."""

from __future__ import annotations

from driftline.stream.judge.incidents import Finding, Resolution

_STOPPED = (
    "Look at what calls the model and at what writes its events: a service that is down, a release, a topic that takes "
    "no more."
)
# What to look at, by test.
_ADVICE = {
    "silence": _STOPPED,
    "gap": _STOPPED,
    "few": "Look at what calls the model: which callers, versions or partitions are missing.",
    "many": "Look at what calls the model: retries, events that are written twice, a new caller.",
}
_PLANNED = "If it was planned, put it into `calendar`: then it is neither judged nor learned."
_RETIRED = (
    "If the model is out of service, set `absence: {false_pages: null}` for it and send the workers SIGHUP: that ends "
    "this incident."
)


def traffic_advice(finding: Finding) -> list[str]:
    """What to do about a finding, a line each."""
    advice = _ADVICE.get(finding.test.statistic)
    if advice is None:
        return []
    return [advice, _PLANNED, _RETIRED] if advice is _STOPPED else [advice, _PLANNED]


def traffic_ended(resolution: Resolution | None) -> str:
    """Why an incident of a model's traffic is over, after the model's name."""
    match resolution:
        case "recovered":
            return "its traffic is as expected again"
        case "replaced":
            return "its traffic has been so for a week, and is now expected so"
        case "unwatched":
            return "its traffic is no longer judged, or is learned anew"
        case _:
            return "its incident is over"
