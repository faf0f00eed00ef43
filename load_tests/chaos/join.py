"""Labels that come by themselves, joined with their predictions by definition, and compared with the workers'. Pure.

The join is written to be checked by eye: it looks at all predictions and labels of a model at once, and knows no order
of arrival, no state and no tick. What `docs/OUTCOMES.md` calls a function of sets must equal it:

    joined, unlabelled, doubled, corrected, repeated   of what came in time, which is all but the stragglers
    late, unmatched                                    by label time: after the cut-off of its slot; of no prediction
    the tables of a track's history                    each of the next outcomes in the order of slots and of times

Stragglers come once ticks have closed all slots (`load_tests.chaos.labels`). Predictions among them are doubled if
their id is known and overdue if not; labels are late or unmatched, whatever their time; no table has any of them.

Rule 1: nothing is imported from `driftline.stream.judge`.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.state import restore_state
from driftline.stream.config.outcomes import Outcomes
from driftline.stream.config.sections import Config
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.pane import Pane
from load_tests.chaos.count import Counted, Place, outcome_cells
from load_tests.chaos.naive import NoEventError, OutcomeCells, Reading, read_label
from load_tests.chaos.outcome import Era, Labels, Outcome, Verdict

# A slot is cut off a slot's length after so much of its predictions has a label: 99 of 100.
_COMPLETE = 99, 100


class Prediction(NamedTuple):
    """A prediction of a track of a model. ts: epoch ms."""

    track: str
    id: str
    ts: int
    reading: Reading


@dataclass
class Joined:
    """What becomes of the predictions and labels of a model.

    outcomes: by track, all predictions that count, with their label if they have one, in the order of slots and times.
    """

    counts: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, list[Reading]] = field(default_factory=dict)


def join(predictions: Sequence[Prediction], labels: Sequence[Reading], bounds: Outcomes) -> Joined:
    """All slots of the predictions of a model, closed with the labels of that model."""
    slot, wait, keep = (round(1000 * each) for each in (bounds.slot, bounds.wait, bounds.keep))
    joined, by_id, times, slots = (
        Joined(),
        defaultdict[str, list[Reading]](list),
        _times(predictions),
        _slots(predictions, slot),
    )
    for label in labels:
        by_id[label.id].append(label)
    for start, own in sorted(slots.items()):
        kept = dict[tuple[str, str], Prediction]()
        for each in sorted(own, key=lambda each: each.ts):
            earlier = bisect_left(times[each.track, each.id], each.ts - keep)
            again = times[each.track, each.id][earlier] < each.ts
            joined.counts["doubled"] += again or (each.track, each.id) in kept
            if not again:
                kept.setdefault((each.track, each.id), each)
        theirs = {
            key: [label for label in by_id[key[1]] if _belongs(label.ts, each.ts, wait, keep)]
            for key, each in kept.items()
        }
        cutoff = _cutoff(
            [min((label.ts for label in own), default=None) for own in theirs.values()], start + slot, slot, wait
        )
        keys = dict(zip(kept, hash_ids([each.id for each in kept.values()]).tolist(), strict=True))
        for key, each in sorted(kept.items(), key=lambda item: (item[1].ts, keys[item[0]])):
            _join_one(joined, each, theirs[key], cutoff)
    return joined


def _times(predictions: Iterable[Prediction]) -> Mapping[tuple[str, str], list[int]]:
    """When there was a prediction of a track and an id, rising."""
    times = defaultdict[tuple[str, str], list[int]](list)
    for each in sorted(predictions, key=lambda each: each.ts):
        times[each.track, each.id].append(each.ts)
    return times


def _slots(predictions: Iterable[Prediction], slot: int) -> Mapping[int, list[Prediction]]:
    slots = defaultdict[int, list[Prediction]](list)
    for each in predictions:
        slots[each.ts // slot * slot].append(each)
    return slots


def _belongs(label: int, prediction: int, wait: int, keep: int) -> bool:
    return prediction - keep <= label <= prediction + wait + keep


def _cutoff(firsts: Sequence[int | None], end: int, slot: int, wait: int) -> int:
    """The cut-off of a slot. firsts: when each prediction has its first label, None for never."""
    needed = math.ceil(len(firsts) * _COMPLETE[0] / _COMPLETE[1])
    known = sorted(first for first in firsts if first is not None)
    if not firsts or len(known) < needed or known[needed - 1] >= end + wait:
        return end + wait
    return min(max(known[needed - 1] + slot, end), end + wait)


def _join_one(joined: Joined, prediction: Prediction, labels: Sequence[Reading], cutoff: int) -> None:
    known, counts = [each for each in labels if each.ts <= cutoff], joined.counts
    counts["late"] += len(labels) - len(known)
    counts["joined" if known else "unlabelled"] += 1
    outcome = prediction.reading._replace(label=None)
    if known:
        different = {each.label for each in known}
        counts["corrected"] += len(different) > 1
        counts["repeated"] += len(known) - len(different)
        outcome = outcome._replace(label=max(known, key=lambda each: (each.ts, each.label)).label)
    joined.outcomes.setdefault(prediction.track, []).append(outcome)


# ---- the labels topic


def count_labels(labels: Labels, config: Config) -> tuple[Counted, dict[Place, Reading]]:
    """What lies on the labels topic, and the labels of models that have theirs there."""
    counted, found, now = Counted({}, {}), dict[Place, Reading](), int(time.time() * 1000)
    for partition, log in sorted(labels.log.items()):
        for offset, message in log.items():
            place = 0, partition, offset
            try:
                label = read_label(message, now)
            except NoEventError as error:
                counted.refused[place] = str(error)
                continue
            if config.for_model(label.model).outcomes.labels == "topic":
                counted.times.setdefault(label.model, {})[place] = label.ts
                found[place] = label
    return counted, found


def as_era(labels: Labels, outcome: Outcome) -> Era:
    """The labels topic, and what the panes topic says of it, in the form of the predictions topic."""
    panes = [record for era in outcome.eras for record in era.about(labels.topic).panes]
    return Era(labels.log, panes, labels.dead_letters)


def check_label_panes(
    verdict: Verdict, era: Era, labels: Mapping[Place, Reading], refused: Collection[tuple[int, int]]
) -> set[Place]:
    """Check that each label lies in one pane, as it is. Returns the places of those that no judge took.

    refused: the panes of models that have neither a baseline nor predictions yet, by partition and offset.
    """
    runs, taken = dict[tuple[str, Any], bytes](), set[Place]()
    places = defaultdict[tuple[str, int], list[int]](list)
    for (_, partition, offset), label in labels.items():
        places[label.model, partition].append(offset)
    in_panes = Counter[Place]()
    for record, message in era.published():
        own = places[message.model, message.run.partition]
        here = own[bisect_left(own, message.run.start) : bisect_left(own, message.run.end)]
        if (record.partition, record.offset) not in refused:
            taken |= {(0, message.run.partition, offset) for offset in here}
        if (message.model, message.run) in runs:
            verdict.expect(
                f"labels of {message.model} in {message.run}, again", record.value, runs[message.model, message.run]
            )
            continue
        runs[message.model, message.run] = record.value or b""
        in_panes.update((0, message.run.partition, offset) for offset in here)
        expected = [labels[0, message.run.partition, offset] for offset in here]
        content = message.pane(None).content
        found = list(zip(content.keys.tolist(), content.ts.tolist(), content.label.tolist(), strict=True))
        keys = hash_ids([each.id for each in expected]).tolist()
        verdict.expect(
            f"labels of {message.model} in {message.run}",
            found,
            [(key, each.ts, each.label) for key, each in zip(keys, expected, strict=True)],
        )
    lost, doubled = labels.keys() - in_panes.keys(), {place for place, times in in_panes.items() if times > 1}
    verdict.expect("labels that lie in no pane", sorted(lost), [])
    verdict.expect("labels that lie in two panes", sorted(doubled), [])
    verdict.lost += len(lost)
    verdict.doubled += len(doubled)
    verdict.add({"label panes": len(runs), "label panes published again": sum(1 for _ in era.published()) - len(runs)})
    return labels.keys() - taken


# ---- what the judges counted


def check_joined(
    verdict: Verdict,
    outcome: Outcome,
    labels: Labels,
    found: Mapping[Place, Reading],
    counted: Counted,
    config: Config,
    baselines: Mapping[str, Baseline],
    learned: Mapping[tuple[str, str], Baseline],
    exchanged: Collection[str],
) -> None:
    """Compare what each model's state has counted, and the tables of its outcomes, with the join by definition.

    found: the labels that judges took. baselines: the given ones. learned: all, by model and track. exchanged: models
    whose outcomes began anew.
    """
    settled = _settled(found)
    for model, predictions in sorted(counted.waiting.items()):
        state = restore_state(outcome.model_states.get(model, {}), baselines.get(model))
        if (model, "") not in learned:
            continue  # its slots wait for a reference
        joined = _joined(model, predictions, labels, found, config, settled)
        counts = state.waiting.counts._asdict() if state.waiting else {}
        expected = {name: joined.counts[name] for name in counts}
        verdict.expect(
            f"what became of predictions and labels of {model}",
            {k: v for k, v in counts.items() if v},
            {k: v for k, v in expected.items() if v},
        )
        verdict.lost += max(0, expected.get("joined", 0) - counts.get("joined", 0))
        verdict.doubled += max(0, counts.get("joined", 0) - expected.get("joined", 0))
        verdict.add({f"labels: {name}": count for name, count in expected.items()})
        for track in () if model in exchanged else sorted({name for own, name in learned if own == model}):
            cells, own = outcome_cells(learned[model, track]), state.seen_by(track).outcomes
            if cells is not None:
                tables = [*own.history, *([own.pending] if own.pending else [])] if own else []
                _check_tables(
                    verdict, f"outcomes of {model} {track}".strip(), cells, tables, joined.outcomes.get(track, [])
                )


def _joined(
    model: str,
    predictions: Sequence[tuple[Place, str, Reading]],
    labels: Labels,
    found: Mapping[Place, Reading],
    config: Config,
    settled: int,
) -> Joined:
    bounds = config.for_model(model).outcomes
    late_events = labels.stragglers[config.topics.predictions]
    late_labels = labels.stragglers[labels.topic]
    every = [(place, Prediction(track, each.id, each.ts, each)) for place, track, each in predictions]
    in_time = [each for place, each in every if not _is_straggler(place, late_events)]
    own = {place: each for place, each in found.items() if each.model == model}
    joined = join(in_time, [each for place, each in own.items() if not _is_straggler(place, late_labels)], bounds)
    known = {(each.track, each.id) for each in in_time}
    for place, each in every:
        if _is_straggler(place, late_events):
            joined.counts["doubled" if (each.track, each.id) in known else "overdue"] += 1
    wait, keep = round(1000 * bounds.wait), round(1000 * bounds.keep)
    times = defaultdict[str, list[int]](list)
    for each in in_time:
        times[each.id].append(each.ts)
    for place, label in own.items():
        has_prediction = any(_belongs(label.ts, ts, wait, keep) for ts in times[label.id])
        joined.counts["late"] += has_prediction and _is_straggler(place, late_labels)
        joined.counts["unmatched"] += not has_prediction and label.ts < settled - keep - round(1000 * bounds.slot)
    return joined


def _is_straggler(place: Place, stragglers: Mapping[int, range]) -> bool:
    return place[2] in stragglers.get(place[1], ())


def _settled(found: Mapping[Place, Reading]) -> int:
    """Up to when all partitions of the labels topic were read, epoch ms."""
    newest = dict[int, int]()
    for (_, partition, _), label in found.items():
        newest[partition] = max(newest.get(partition, 0), label.ts)
    return min(newest.values(), default=0)


def _check_tables(
    verdict: Verdict, what: str, cells: OutcomeCells, tables: Sequence[Pane[OutcomeTable]], outcomes: Sequence[Reading]
) -> None:
    """Check that the tables of a history are those of the outcomes, one after the other.

    Predictions of no class that have no label are in no table, though within its times.
    """
    counted, first = [(each.ts, cell) for each in outcomes if (cell := cells.cell(each)) is not None], 0
    for pane in tables:
        table = pane.content
        size = 1 + int(table.cells[0].max(initial=0))
        row = cells.of_row(table.row(size).tolist(), table.odd)
        own, first = counted[first : first + row.total()], first + row.total()
        verdict.expect(f"{what}, {len(own)} of them", row, Counter(cell for _, cell in own))
        times = [ts for ts, _ in own]
        holds = bool(own) and pane.first_ts <= min(times) and max(times) <= pane.last_ts
        verdict.expect(f"{what}, {len(own)} of them within the times of their table", holds, True)
    verdict.expect(f"{what}, all", first, len(counted))
    verdict.add({"outcomes": sum(cell[-1] != -1 for _, cell in counted), "outcome tables": len(tables)})
