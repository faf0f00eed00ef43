"""What alerts about a topic say, beside what all alerts say. Pure."""

from __future__ import annotations

from driftline.stream.judge.incidents import FIELDS, REJECTED, Finding, Resolution

# What to look at, by signal.
_ADVICE = {
    REJECTED: "Look at what writes to the topic: a release, a serializer, another schema. The topic of dead letters "
    "has the messages, each with the reason. Models that are silent because of it are not reported separately.",
    FIELDS: "No signal watches them: build a baseline that knows them, or exclude them (signals).",
}


def topic_advice(finding: Finding) -> list[str]:
    """What to do about a finding, a line each."""
    advice = _ADVICE.get(finding.signal)
    return [] if advice is None else [advice]


def topic_ended(scope: str, resolution: Resolution | None) -> str:
    """Why an incident of a topic is over, after the topic's name."""
    if scope == FIELDS:
        return "its new fields are a day old, and are now expected"
    if resolution == "recovered":
        return "its messages are read as usual again"
    return "its messages have been rejected so for a week, and this share is now expected"
