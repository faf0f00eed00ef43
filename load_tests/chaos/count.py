"""Counts every event of a chaos run with the naive reader, without decoder, coder or judge. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from driftline.detectors.arrays import IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import restore_state
from driftline.stream.panes.pane import Range
from load_tests.chaos.naive import Cells, NoEventError, read
from load_tests.chaos.outcome import Outcome, Verdict, abbreviated
from load_tests.harness.oracle import Parts, events_counted

# Bytes of a message that its dead letter keeps.
_KEPT = 900_000

#: Where a message lies: its partition and offset.
Place = tuple[int, int]


def check_counts(
    verdict: Verdict,
    known: Mapping[str, Baseline],
    given: Collection[str],
    kept: Mapping[str, Collection[Range]],
    outcome: Outcome,
    panes: Iterable[PaneMessage],
) -> None:
    """Count every event by itself; compare with the stored model states, the published panes and the dead letters.

    known: all baselines at the end of the run; given: the models whose baseline was not learned. kept: of each model
    that still warms up, the runs for which there was room.
    """
    counted = _count(outcome, known, given)
    for model, times in sorted(counted.times.items()):
        parts, baseline = outcome.model_states.get(model, {}), known[model] if model in given else None
        expected = len(times) if model in known else _within(kept.get(model, ()), times)
        verdict.expect(f"events counted of {model}", events_counted(parts, baseline), expected)
        if model in known:
            _check_cells(verdict, model, counted.cells[model], _stored_row(parts, known[model], baseline))
    for pane in panes:
        _check_pane(verdict, pane, counted.times.get(pane.model, {}))
    _check_dead_letters(verdict, outcome, counted)
    verdict.figures |= {
        "models": len(known),
        "models without a baseline": len(counted.times.keys() - known),
        "events": sum(map(len, counted.times.values())),
    }


@dataclass
class _Counted:
    """What lies on the predictions topic.

    cells: by model with a baseline. times: of events, by model and place. refused: a word of the reason, by place. odd:
    the places of events that count, but with a defective value; maybe_odd: of those of models that learn their
    baseline, whose values are looked at from then on.
    """

    cells: Mapping[str, Cells]
    times: dict[str, dict[Place, int]] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)
    odd: set[Place] = field(default_factory=set)
    maybe_odd: set[Place] = field(default_factory=set)


def _count(outcome: Outcome, known: Mapping[str, Baseline], given: Collection[str]) -> _Counted:
    counted = _Counted({model: Cells(baseline.layout) for model, baseline in known.items()})
    for partition, log in sorted(outcome.predictions.items()):
        for offset, message in log.items():
            try:
                reading = read(message)
            except NoEventError as error:
                counted.refused[partition, offset] = str(error)
                continue
            counted.times.setdefault(reading.model, {})[partition, offset] = reading.ts
            cells = counted.cells.get(reading.model)
            if cells is not None and cells.add(reading.values):
                (counted.odd if reading.model in given else counted.maybe_odd).add((partition, offset))
    return counted


def _within(runs: Collection[Range], times: Mapping[Place, int]) -> int:
    """How many of the events lie in one of the runs."""
    return sum(any(run.partition == at and run.start <= offset < run.end for run in runs) for at, offset in times)


def _check_cells(verdict: Verdict, model: str, counted: Cells, row: IntArray) -> None:
    excess = counted.of_row(row.tolist())
    excess.subtract(counted.counts)
    signals = Counter[str]()
    for (signal, _), count in excess.items():
        signals[signal] += abs(count)
    if wrong := {signal: count for signal, count in signals.items() if count}:
        verdict.mismatches.append(f"values of {model} in too many or too few cells: {abbreviated(wrong)}")
    verdict.lost += sum(-count for count in excess.values() if count < 0)
    verdict.doubled += sum(count for count in excess.values() if count > 0)


def _stored_row(parts: Parts, baseline: Baseline, given: Baseline | None) -> IntArray:
    """The counts of everything that a model state has counted."""
    state, total = restore_state(parts, given), baseline.layout.empty()
    if state.learned is not None:
        total += state.learned.total
    if state.judge is not None:
        total = sum((bucket.content for bucket in state.judge.history), total)
        total += state.judge.pending.content if state.judge.pending else baseline.layout.empty()
    return total.counts


def _check_pane(verdict: Verdict, pane: PaneMessage, times: Mapping[Place, int]) -> None:
    """Check that a pane has the times of the first and the last event of its model in its run."""
    partition, start, end = pane.run
    own = [times[partition, offset] for offset in range(start, end) if (partition, offset) in times]
    packed = pane.packed
    verdict.expect(
        f"times of the pane of {pane.model} in {pane.run}", (packed.first_ts, packed.last_ts), (*own[:1], *own[-1:])
    )


def _check_dead_letters(verdict: Verdict, outcome: Outcome, counted: _Counted) -> None:
    """Check that all refused messages, and no other ones, are dead letters, each with its reason."""
    found: dict[Place, tuple[bool, str]] = {}
    for record in outcome.dead_letters:
        headers = {name: value.decode() for name, value in record.headers.items()}
        place = int(headers["partition"]), int(headers["offset"])
        found[place] = headers["counted"] == "true", headers["reason"]
        if record.value != _kept(outcome.predictions[place[0]].get(place[1])):
            verdict.mismatches.append(f"the dead letter of the message at {place} does not hold it")
    verdict.figures |= {
        "dead letters": len(found),
        "dead letters published again": len(outcome.dead_letters) - len(found),
    }
    for place, word in counted.refused.items():
        counts, reason = found.pop(place, (None, ""))
        if counts is not False or word not in reason:
            verdict.mismatches.append(f"the message at {place} is no event ({word}); its dead letter says: {reason!r}")
    for place in counted.odd - found.keys():
        verdict.mismatches.append(f"the event at {place} has a defective value, and no dead letter says so")
    for place in found.keys() - counted.odd - counted.maybe_odd:
        verdict.mismatches.append(f"the message at {place} is a good event, and a dead letter: {found[place][1]!r}")


def _kept(message: bytes | None) -> bytes | None:
    """What a dead letter keeps of a message."""
    return message and message[:_KEPT]
