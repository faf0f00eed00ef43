"""The verdict of a replay: drift, no drift, or too little judged to say so. Pure.

"No drift" is an all-clear, so it must not be said of events that nobody looked at: each reason why too little was
judged is a sentence that ends with what helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.unwatched import Why
from driftline.stream.config.remarks import suggested_model
from driftline.stream.config.sections import Config
from driftline.stream.judge.waiting import Counts
from driftline.stream.replay.pipeline import ModelCounts
from driftline.stream.replay.run import ReplayResult
from driftline.stream.text.phrases import counted

#: Share of the messages that may be rejected, and of the events that may belong to models with too few of them, in an
#: all-clear. Logs do hold some broken messages; if every hundredth is lost, as much of a drift may be lost with them.
MAX_UNSEEN = 0.01
_NAMED = 5
# Why a field that has values may be unwatched without anybody's having asked for it.
_UNASKED = frozenset({Why.ARRAY, Why.IDENTIFIER, Why.NAME, Why.NEW, Why.FILLED})


class Outcome(StrEnum):
    """What a replay found."""

    DRIFT = "drift"
    NO_DRIFT = "no-drift"
    TOO_LITTLE = "too-little"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a replay.

    shortfalls: why too little was judged, also beside drift; a sentence each. unjudged: the models of which "no drift"
    would be no all-clear, whatever became of the others.
    """

    outcome: Outcome
    shortfalls: tuple[str, ...] = ()
    unjudged: frozenset[str] = frozenset()


def decide(
    result: ReplayResult, config: Config, baselines: Sequence[Baseline], max_rejected: float = MAX_UNSEEN
) -> Verdict:
    """The verdict on a replay under `config` with the given `baselines`. max_rejected: share of all messages."""
    shortfalls = tuple(_shortfalls(result, config, baselines, max_rejected))
    unjudged = frozenset(_unjudged_models(result, max_rejected))
    if result.alerts:
        return Verdict(Outcome.DRIFT, shortfalls, unjudged)
    return Verdict(Outcome.TOO_LITTLE if shortfalls else Outcome.NO_DRIFT, shortfalls, unjudged)


def _unjudged_models(result: ReplayResult, max_rejected: float) -> Iterator[str]:
    """The models without a verdict of their own. What a rejected message would have said, none of them knows."""
    all_of_them = bool(result.rejected.excess(result.read, max_rejected))
    yield from (model for model, counts in result.counts.items() if all_of_them or not counts.judged)
    yield from (model for model in result.constant if _unasked(model, result))


def _shortfalls(
    result: ReplayResult, config: Config, baselines: Sequence[Baseline], max_rejected: float
) -> Iterator[str]:
    if not result.read:
        yield "there was no message to read: are the sources empty, or do --from and --to leave nothing?"
        return
    if excess := result.rejected.excess(result.read, max_rejected):
        yield excess
    elif not result.events:
        yield "no event was judged, since every message was rejected"
    if not result.events:
        return
    needed = {name: f"model {_quoted(name)} of the configuration has no verdict" for name in config.models}
    needed |= {each.model: f"the baseline of model {_quoted(each.model)} was not used" for each in baselines}
    silent = [model for model in needed if not result.counts.get(model, ModelCounts()).judged]
    for model in silent:
        yield _silent(model, needed[model], result, config)
    few = {model: n for model, n in result.without_baseline.items() if model not in silent}
    if sum(few.values()) > MAX_UNSEEN * result.events:
        yield _too_few(few, result, config)
    elif not result.judged and not silent:
        yield " and ".join(_unjudged(model, result.counts[model], config) for model in list(result.counts)[:_NAMED])
    yield from (_only_constants(model, names) for model in result.constant if (names := _unasked(model, result)))
    yield from _label_shortfalls(result, config, max_rejected)


def _label_shortfalls(result: ReplayResult, config: Config, max_rejected: float) -> Iterator[str]:
    """Why labels that were given do not say that models are right."""
    messages = result.label_messages
    if not messages.read:
        return
    if messages.refused > max_rejected * messages.read:
        yield f"{messages}: `mapping.labels` says where the parts of a label are"
    asked = {name for name, own in config.models.items() if own.outcomes.labels == "topic"}
    without = [model for model, counts in result.labels.items() if not counts.joined]
    # Whoever gives labels of one model, and names none, does not ask for those of others.
    for model in without if len(without) == len(result.labels) else asked.intersection(without):
        yield f"model {_quoted(model)}: {_unjoined(result.labels[model])}"


def _unjoined(counts: Counts) -> str:
    """Why no label of a model was joined, and what helps."""
    if counts.unjudged:
        return f"the outcomes of its {counts.unjudged:,} predictions were not judged: they have no baseline"
    if counts.late > counts.unmatched:
        return f"{counts.late:,} of its labels came too late, and none in time; raise `outcomes.wait`"
    whose = "most of its labels have the id of none" if counts.late else "no label has the id of one"
    return f"{whose} of its predictions; does `mapping.labels.id` name the same id?"


def _unasked(model: str, result: ReplayResult) -> list[str]:
    return [each.field for each in result.unwatched if each.model == model and each.why in _UNASKED]


def _only_constants(model: str, names: Sequence[str]) -> str:
    return (
        f"all that is watched of model {_quoted(model)} is constant in its baseline, and {', '.join(names[:_NAMED])}"
        f"{', …' * (len(names) > _NAMED)} would not be seen to drift; log figures of it as single values, or leave it "
        "out with `signals.exclude`"
    )


def _silent(model: str, what: str, result: ReplayResult, config: Config) -> str:
    """Why a model that was expected has no verdict."""
    counts = result.counts.get(model)
    if counts is None:
        return f"{what}: no event names that model; {suggested_model(model, result.counts)} (or use --model)"
    return f"model {_quoted(model)} has no verdict: {_unjudged(model, counts, config)}"


def _unjudged(model: str, counts: ModelCounts, config: Config) -> str:
    """Why none of a model's events was judged, and what helps."""
    chosen = config.for_model(model)
    if counts.not_due:
        return (
            f"it has {counted(counts.not_due, 'event')}, fewer than the {chosen.clock:,} of one evaluation (clock); it "
            "needs more, or a lower clock"
        )
    if counts.learned_from:
        return f"its baseline was learned from all of its {counts.learned_from:,} events; give it a baseline with -b"
    return counts.why_no_baseline(chosen.learn_events)


def _too_few(few: Mapping[str, int], result: ReplayResult, config: Config) -> str:
    held = f"{sum(few.values()):,} of {result.events:,} events belong to models without a verdict"
    first = list(few)[:_NAMED]
    return f"{held}: " + "; ".join(
        f"{_quoted(model)}: {_unjudged(model, result.counts[model], config)}" for model in first
    )


def _quoted(name: str) -> str:
    return f'"{name}"'
