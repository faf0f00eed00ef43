"""What alerts about a model's outcomes say, beside what all alerts say. Pure."""

from __future__ import annotations

from driftline.stream.judge.incidents import Finding, Resolution

_CONCEPT = (
    "Labels no longer follow the scores: a threshold will not help. Train again on rows since then, or look for what "
    "the features do not say any more."
)
_MIX = (
    "Cases came that the model always found hard, and it is as often right in each kind as before: look at which "
    "callers or segments grew, before it is trained again."
)
_FLOOR = "The floor is that of `outcomes.floors`, however the model was in its baseline."


def outcomes_advice(finding: Finding) -> list[str]:
    """What to do about a finding, a line each."""
    outcome = finding.outcome
    if outcome is None:
        return []
    if not outcome.mix and not outcome.concept:
        return [_FLOOR]
    return [_CONCEPT if abs(outcome.concept) >= abs(outcome.mix) else _MIX]


def outcomes_ended(resolution: Resolution | None) -> str:
    """Why an incident of a model's outcomes is over, after the model's name."""
    match resolution:
        case "recovered":
            return "it is as often right as its reference again"
        case "replaced" | "accepted":
            return "its outcomes are compared with another reference"
        case "unwatched":
            return "its outcomes are no longer judged"
        case _:
            return "its incident is over"
