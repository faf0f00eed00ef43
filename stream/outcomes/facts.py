"""All that is known of a model's performance, as JSON types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driftline.detectors.outcomes.compare import Comparison
from driftline.detectors.outcomes.intervals import Figure
from driftline.stream.outcomes.performance import Change, Performance, Period
from driftline.stream.outcomes.sentences import (
    change_sentence,
    coverage_sentences,
    estimate_sentences,
    verdict_sentence,
)


def performance_facts(found: Performance) -> dict[str, Any]:
    """The verdict, every period, every change, the coverage, as JSON types; shares are from 0 to 1, times in UTC."""
    timed = found.by is not None
    joined = found.joined
    return {
        "verdict": verdict_sentence(found),
        "worse": found.is_worse,
        "unclear": found.is_unclear,
        "task": found.task.name,
        "classes": list(found.task.classes),
        "by": found.by,
        "reference": None if found.reference is None else {
            "rows": found.reference_rows, "own_first_rows": found.own_reference, "settled": found.settled,
            "metrics": _metrics(found.reference),
        },
        "required": [
            {
                "requirement": str(each.requirement), "metric": each.name[0], "class": each.name[1] or None,
                **_figure(each.figure), "answer": each.answer,
            }
            for each in found.required
        ],
        "design_effect": round(found.effect, 3),
        "total": {key: value for key, value in _period(found.total, timed).items() if key != "start"},
        "periods": [_period(each, timed) for each in found.periods],
        "changes": [_change(found, each, timed) for each in found.changes],
        "coverage": [
            {"low": each.low, "high": each.high, "predictions": each.seen, "labelled": each.labelled}
            for each in found.coverage
        ],
        "calibration": [{"score": each.score, "share": _figure(each.share)} for each in found.calibration],
        "labels": None if joined is None else {
            "read": joined.labels, "matched": joined.matched, "unmatched": joined.unmatched,
            "repeated": joined.repeated, "corrected": joined.corrected, "doubled_predictions": joined.doubled,
            "delay_ms": None if joined.delay is None else {"half": joined.delay[0], "95 %": joined.delay[1]},
        },
        "says": [*coverage_sentences(found), *estimate_sentences(found), *found.notes],
    }  # fmt: skip


def _figure(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}


def _metrics(metrics: Mapping[tuple[str, str], Figure]) -> list[dict[str, Any]]:
    return [{"metric": name, "class": of or None, **_figure(each)} for (name, of), each in metrics.items()]


def _period(period: Period, timed: bool) -> dict[str, Any]:
    estimate = period.estimate
    return {
        "start": _start(period.start, timed),
        "predictions": period.seen,
        "labelled": period.labelled,
        "metrics": _metrics(period.metrics),
        "estimated": None if estimate is None else {
            "metrics": _metrics(estimate.metrics), "share_of_scores_hardly_known": estimate.unknown,
        },
        "accuracy_weighted_as_all": None if period.reweighted is None else _figure(period.reweighted),
    }  # fmt: skip


def _change(found: Performance, change: Change, timed: bool) -> dict[str, Any]:
    stretch, split = change.stretch, change.stretch.split
    evidence = zip(Comparison.TESTS, stretch.evidence, stretch.threshold, strict=True)
    return {
        "since": _start(change.since, timed),
        "until": None if change.until is None else _start(change.until, timed),
        "worse": change.worse,
        "rows": stretch.n,
        "reported_by": list(stretch.reported),
        "evidence": {test: {"nats": own, "threshold": needed} for test, own, needed in evidence},
        "loss": {
            "before": split.before, "after": split.after, "by_mix": split.mix, "by_coverage": split.coverage,
            "by_concept": split.concept,
            "share_of_rows_without_reference": split.unknown,
        },
        "labels_beyond_scores": stretch.labels,
        "says": change_sentence(found, change),
    }  # fmt: skip


def _start(at: int, timed: bool) -> str | int:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z") if timed else at
