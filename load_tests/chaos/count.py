"""Counts every event of a chaos run with the naive reader, without decoder, coder or judge. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import restore_state
from driftline.stream.outcomes.tasks import BinaryTask
from driftline.stream.panes.pane import Range
from load_tests.chaos.naive import MAX_BATCH, Cells, NoEventError, OutcomeCells, Reading, read
from load_tests.chaos.outcome import Era, Outcome, Verdict, abbreviated
from load_tests.harness.oracle import Parts, events_counted

# Bytes of a message that its dead letter keeps.
_KEPT = 900_000

#: Where a message lies: the number of the era, its partition and offset.
Place = tuple[int, int, int]


def check_counts(
    verdict: Verdict,
    known: Mapping[str, Baseline],
    given: Collection[str],
    kept: Mapping[str, Collection[tuple[int, Range]]],
    outcome: Outcome,
    exchanged: Collection[Baseline] = (),
    versions: Versions = NO_VERSIONS,
    labelled: Callable[[str], bool] = lambda _: False,
) -> Counted:
    """Count every event by itself; compare with the stored model states, the published panes and the dead letters.

    Returns what was counted.

    known: all baselines at the end of the run; given: the models whose baseline was not learned. kept: of each model
    that still warms up, the runs for which there was room. exchanged: baselines that were given before others.
    versions: the baselines of versions that have their own. labelled: of which models labels come by themselves.
    """
    known = {model: _in_use(outcome.model_states.get(model, {}), each, exchanged) for model, each in known.items()}
    tracks = {(model, ""): each for model, each in known.items()}
    tracks |= {(model, version): each for model, own in versions.items() for version, each in own.items()}
    counted = _count(outcome, tracks, given, labelled)
    for model, times in sorted(counted.times.items()):
        parts, baseline = outcome.model_states.get(model, {}), known[model] if model in given else None
        expected = len(times) - counted.lost[model] if model in known else _within(kept.get(model, ()), times)
        verdict.expect(f"events counted of {model}", events_counted(parts, baseline), expected)
        for track in [track for name, track in tracks if name == model]:
            own = tracks[model, track]
            row = _stored_row(parts, own, baseline, track)
            _check_cells(verdict, model, counted.cells[model, track], row, _lasting(own, () if track else exchanged))
            if model in given and model not in {each.model for each in exchanged} and not labelled(model):
                _check_outcomes(verdict, model, counted.outcomes.get((model, track)), parts, baseline, track)
    for number, era in enumerate(outcome.eras):
        for _, pane in era.published():
            _check_pane(verdict, number, pane, counted.times.get(pane.model, {}))
    check_dead_letters(verdict, outcome.eras, counted)
    verdict.figures |= {
        "models": len(known),
        "models without a baseline": len(counted.times.keys() - known),
        "events": sum(map(len, counted.times.values())),
    }
    return counted


@dataclass
class Counted:
    """What lies on the predictions topic.

    cells: by model with a baseline and track. outcomes: the same, of two classes. times: of events, by model and
    place. refused: a word of the reason, by place. odd: the places of events that count, but with a defective value;
    maybe_odd: of those of models that learn their baseline, whose values are looked at from then on. waiting: the
    events of models whose labels come by themselves, each with its track. lost: by model, how many events lie in no
    judged pane, as was announced.
    """

    cells: Mapping[tuple[str, str], Cells]
    outcomes: Mapping[tuple[str, str], OutcomeCells]
    times: dict[str, dict[Place, int]] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)
    odd: set[Place] = field(default_factory=set)
    maybe_odd: set[Place] = field(default_factory=set)
    waiting: dict[str, list[tuple[Place, str, Reading]]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)


def _count(
    outcome: Outcome,
    tracks: Mapping[tuple[str, str], Baseline],
    given: Collection[str],
    labelled: Callable[[str], bool],
) -> Counted:
    by_event = {track: each for track, each in tracks.items() if not labelled(track[0])}
    outcomes = {track: cells for track, each in by_event.items() if (cells := outcome_cells(each))}
    counted = Counted({track: Cells(baseline.layout) for track, baseline in tracks.items()}, outcomes)
    for number, era in enumerate(outcome.eras):
        fate = _Fate.of(era)
        for partition, log in sorted(era.predictions.items()):
            for offset, message in log.items():
                _count_message(counted, (number, partition, offset), message, given, fate, labelled)
    return counted


def _count_message(
    counted: Counted,
    place: Place,
    message: bytes | None,
    given: Collection[str],
    fate: _Fate,
    labelled: Callable[[str], bool],
) -> None:
    try:
        reading = read(message)
    except NoEventError as error:
        counted.refused[place] = str(error)
        return
    counted.times.setdefault(reading.model, {})[place] = reading.ts
    counts = not fate.is_lost(reading.model, place)
    counted.lost[reading.model] += not counts
    track = reading.model, reading.version if (reading.model, reading.version) in counted.cells else ""
    if counts and labelled(reading.model):
        counted.waiting.setdefault(reading.model, []).append((place, track[1], reading))
    if track not in counted.cells:
        return
    is_odd = counted.cells[track].add(reading.values, counts)
    if track in counted.outcomes:
        is_odd |= counted.outcomes[track].add(reading, counts)
    if is_odd:
        (counted.odd if reading.model in given else counted.maybe_odd).add(place)


def outcome_cells(baseline: Baseline) -> OutcomeCells | None:
    """The cells of outcomes of two classes that a baseline knows; None if it knows none."""
    task = baseline.coding.task if baseline.coding else None
    if not isinstance(task, BinaryTask) or task.layout.scores.grid is None:
        return None
    return OutcomeCells(task.classes, task.layout.scores.grid.cuts.tolist())


@dataclass(frozen=True)
class _Fate:
    """What became of the panes of an era: runs by model. skipped: those of which no pane was judged."""

    doubtful: Mapping[int, range]
    judged: Mapping[str, Collection[Range]]
    skipped: Mapping[str, Collection[Range]]

    @classmethod
    def of(cls, era: Era) -> _Fate:
        judged: dict[str, set[Range]] = {}
        skipped: dict[str, set[Range]] = {}
        for record, pane in era.published():
            into = skipped if (record.partition, record.offset) in era.skipped else judged
            into.setdefault(pane.model, set()).add(pane.run)
        return cls(era.doubtful, judged, {model: runs - judged.get(model, set()) for model, runs in skipped.items()})

    def is_lost(self, model: str, place: Place) -> bool:
        """Whether an event lies in a pane that was skipped, or in none although `resume` said that this may be."""
        _, partition, offset = place
        if _lies_in(place, self.skipped.get(model, ())):
            return True
        return offset in self.doubtful.get(partition, ()) and not _lies_in(place, self.judged.get(model, ()))


def _lies_in(place: Place, runs: Iterable[Range]) -> bool:
    _, partition, offset = place
    return any(run.partition == partition and run.start <= offset < run.end for run in runs)


def _within(runs: Collection[tuple[int, Range]], times: Mapping[Place, int]) -> int:
    """How many of the events lie in one of the runs."""
    return sum(_lies_in(place, [run for number, run in runs if number == place[0]]) for place in times)


def _in_use(parts: Parts, newest: Baseline, exchanged: Iterable[Baseline]) -> Baseline:
    """The baseline in whose cells a model's state counts: an earlier one if no pane came since the exchange."""
    judge = restore_state(parts, newest).judge
    return next((each for each in exchanged if judge and each.content_hash == judge.baseline), newest)


def _lasting(baseline: Baseline, exchanged: Iterable[Baseline]) -> set[str]:
    """The signals whose cells are those of all baselines that a model had: its history has all events of these."""
    hashes = [each.signal_hashes for each in exchanged if each.model == baseline.model]
    return {name for name, own in baseline.signal_hashes.items() if all(each.get(name) == own for each in hashes)}


def _check_cells(verdict: Verdict, model: str, counted: Cells, row: IntArray, lasting: Collection[str]) -> None:
    excess = counted.of_row(row.tolist())
    excess.subtract(counted.counts)
    excess = Counter({place: count for place, count in excess.items() if place[0] in lasting})
    signals = Counter[str]()
    for (signal, _), count in excess.items():
        signals[signal] += abs(count)
    if wrong := {signal: count for signal, count in signals.items() if count}:
        verdict.mismatches.append(f"values of {model} in too many or too few cells: {abbreviated(wrong)}")
    verdict.lost += sum(-count for count in excess.values() if count < 0)
    verdict.doubled += sum(count for count in excess.values() if count > 0)


def _check_outcomes(
    verdict: Verdict, model: str, counted: OutcomeCells | None, parts: Parts, given: Baseline | None, track: str
) -> None:
    """Check that a track of a model state has counted each event with a label once."""
    state = restore_state(parts, given).seen_by(track).outcomes
    if counted is None or (state is None and not counted.counts):
        return
    tables = [] if state is None else [each.content for each in state.history]
    tables += [state.pending.content] if state and state.pending else []
    size = 1 + max((int(each.cells[0].max(initial=0)) for each in tables), default=0)
    row = sum((each.row(size) for each in tables), np.zeros(size, np.int64))
    excess = counted.of_row(row.tolist(), sum(each.odd for each in tables))
    excess.subtract(counted.counts)
    if wrong := {cell: count for cell, count in excess.items() if count}:
        verdict.mismatches.append(f"outcomes of {model} in too many or too few cells: {abbreviated(wrong)}")
    verdict.lost += sum(-count for count in excess.values() if count < 0)
    verdict.doubled += sum(count for count in excess.values() if count > 0)
    verdict.add({"outcomes": sum(n for cell, n in counted.counts.items() if cell[-1] != -1)})


def _stored_row(parts: Parts, baseline: Baseline, given: Baseline | None, track: str) -> IntArray:
    """The counts of everything that a track of a model state has counted."""
    state, total = restore_state(parts, given).seen_by(track), baseline.layout.empty()
    if state.learned is not None:
        total += state.learned.total
    if state.judge is not None:
        total = sum((bucket.content for bucket in state.judge.history), total)
        total += state.judge.pending.content if state.judge.pending else baseline.layout.empty()
    return total.counts


def _check_pane(verdict: Verdict, era: int, pane: PaneMessage, times: Mapping[Place, int]) -> None:
    """Check that a pane has the times of the first and the last event of its model in its run."""
    partition, start, end = pane.run
    places = ((era, partition, offset) for offset in range(start, end))
    own = [times[place] for place in places if place in times]
    packed = pane.packed
    verdict.expect(
        f"times of the pane of {pane.model} in {pane.run}", (packed.first_ts, packed.last_ts), (*own[:1], *own[-1:])
    )


def check_dead_letters(verdict: Verdict, eras: Sequence[Era], counted: Counted) -> None:
    """Check that all refused messages, and no other ones, are dead letters, each with its reason."""
    found: dict[Place, tuple[bool, str]] = {}
    for number, era in enumerate(eras):
        for record in era.dead_letters:
            headers = {name: value.decode() for name, value in record.headers.items()}
            partition, offset = int(headers["partition"]), int(headers["offset"])
            log = era.predictions.get(partition, {})
            if era.resumed and offset > max(log, default=-1):
                continue  # read, and lost before its run ended
            found[number, partition, offset] = headers["counted"] == "true", headers["reason"]
            if record.value != _kept(log.get(offset)):
                verdict.mismatches.append(f"the dead letter of {partition, offset} does not hold its message")
    published = sum(len(era.dead_letters) for era in eras)
    verdict.add({"dead letters": len(found), "dead letters published again": published - len(found)})
    for place, word in counted.refused.items():
        counts, reason = found.pop(place, (None, ""))
        if counts is not False or word not in reason:
            verdict.mismatches.append(
                f"the message at {place[1:]} is no event ({word}); its dead letter says: {reason!r}"
            )
    for place in counted.odd - found.keys():
        verdict.mismatches.append(f"the event at {place[1:]} has a defective value, and no dead letter says so")
    for place in found.keys() - counted.odd - counted.maybe_odd:
        verdict.mismatches.append(f"the message at {place[1:]} is a good event, and a dead letter: {found[place][1]!r}")


def _kept(message: bytes | None) -> bytes | None:
    """What a dead letter keeps of a message: nothing of one in a batch that was not even unpacked."""
    return None if message is None or len(message) > MAX_BATCH else message[:_KEPT]
