"""A scan as a value: what its caller wished, how the tables were read, and what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from driftline.detectors.summaries.codes import Kind
from driftline.stream.alerts.build import iso
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.sample import Sample
from driftline.stream.baselines.unwatched import Why
from driftline.stream.config.sections import Config
from driftline.stream.inspection.inspect import Inspection
from driftline.stream.outcomes.facts import performance_facts
from driftline.stream.outcomes.performance import Performance
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.summary import summary
from driftline.stream.replay.verdict import MAX_UNSEEN, Verdict
from driftline.stream.results.overview import ModelView, Overview, SignalView
from driftline.stream.results.segments import Split, Splits
from driftline.stream.results.sentences import sentence

_NO_TIME_SAYS = (
    "when anything changed: the rows have no time, so each table is one sample of independent rows; name a column of "
    "times to see since when, and to allow for daily and weekly cycles"
)

# Fields that only the rows have, in the words of two tables.
_CHANGES = {Why.NEW: "the reference has no such column", Why.FILLED: "empty in the reference, and has values now"}


@dataclass(frozen=True)
class Wishes:
    """What the caller of a scan has settled.

    config: settings that are kept. parts: columns by the part of the event that they are, such as {"ts": "date"}.
    kinds: as in `BuildSettings`. for_whom: columns by whose values each change is split. rejected: the share of the
    rows of either table that may be rejected. command: the one that repeats the scan.
    """

    config: Config = field(default_factory=Config)
    parts: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    for_whom: Sequence[str] = ()
    rejected: float = MAX_UNSEEN
    command: str = "driftline scan"


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    found: which column is what. config: with which the rows were read and judged. timed: whether these have times; if
    not, all are one sample. notes: what was read otherwise than it stands in the tables. splits: for whom signals
    changed, if that was asked for. performance: whether the model is right; None where that is not known.
    """

    found: Inspection
    config: Config
    timed: bool
    baselines: tuple[Baseline, ...]
    reference: Sample
    result: ReplayResult
    verdict: Verdict
    overview: Overview
    splits: Splits
    notes: tuple[str, ...]
    wishes: Wishes
    performance: Performance | None = None

    @property
    def unchecked(self) -> list[str]:
        """What nobody looked at, and why, in sentences; what has changed since the reference first."""
        guessed = self.found.proposal.excluded
        unwatched = [each for each in self.result.unwatched if each.field not in guessed]
        fields = sorted(unwatched, key=lambda each: not each.is_change)
        several = len({each.model for each in fields}) > 1
        return [
            *(f"too little was judged: {each}" for each in self.verdict.shortfalls),
            *([] if self.timed else [_NO_TIME_SAYS]),
            *(
                f"{each.model}: " * several + f"{_short(each.field)}: {_CHANGES.get(each.why, each.detail)}"
                for each in fields
            ),
            *(f"{_short(name)}: left out: {why}" for name, why in guessed.items()),
            *self.found.proposal.notes,
            *self._labels(),
        ]  # fmt: skip

    def _labels(self) -> Iterator[str]:
        if "label" in self.found.proposal.fields and self.performance is None:
            label = self.found.proposal.fields["label"].value
            yield f"{label}: not compared with the predictions; `driftline performance` says whether the model is right"


def _short(name: str) -> str:
    return name.removeprefix("features.")


def scan_facts(scan: Scan) -> dict[str, Any]:
    """All that a scan found, as JSON types: what a replay says, which column is what, and a row a signal."""
    fields = scan.found.proposal.fields
    return {
        **summary(scan.result, scan.verdict),
        "columns": {part: {"value": choice.value, "why": choice.why} for part, choice in fields.items()},
        "left_out": scan.found.proposal.excluded,
        "notes": list(scan.notes),
        "timed": scan.timed,
        "signals": [signal_facts(scan, model, each) for model in scan.overview.models for each in model.signals],
        "not_checked": scan.unchecked,
        "reference": {each.model: {"rows": each.total.n, "content_hash": each.content_hash} for each in scan.baselines},
        "performance": None if scan.performance is None else performance_facts(scan.performance),
        "command": scan.wishes.command,
    }


def signal_facts(scan: Scan, model: ModelView, signal: SignalView) -> dict[str, Any]:
    """A signal as a row and, if it was asked for, for whom it changed."""
    splits = scan.splits.get((model.name, signal.name))
    return signal_row(model, signal) | ({} if splits is None else {"for_whom": _whom_facts(splits)})


def signal_row(model: ModelView, signal: SignalView) -> dict[str, Any]:
    """A signal as one flat row."""
    shown = signal.episode
    return {
        "model": model.name,
        "signal": signal.name,
        "kind": signal.kind,
        "drifts": signal.is_open,
        "drifted": bool(signal.episodes),
        "size": signal.size,
        "difference": round(signal.difference, 6),
        "figure": signal.figure.what,
        "before": signal.figure.before,
        "after": signal.figure.after,
        "change": sentence(model, signal),
        "since": iso(shown.since) if shown and model.timed else None,
        "until": iso(shown.until) if shown and shown.until is not None and model.timed else None,
        "test": shown.finding.test.statistic if shown else None,
        "evidence_nats": shown.finding.evidence if shown else None,
        "threshold_nats": shown.finding.threshold if shown else None,
        "events": signal.after.n,
    }


def _whom_facts(splits: Sequence[Split]) -> list[dict[str, Any]]:
    return [
        {
            "column": each.column,
            "says": each.says,
            "share": round(each.share, 6),
            "values": [asdict(segment) for segment in each.segments],
        }
        for each in splits
    ]
