"""A scan: one table compared with another by the replay of a log, with a baseline built in between.

inspect         which column is what                         as `driftline inspect` guesses
read_events     the reference, row by row                    ─┐
build_baseline  its distribution, and how it varies           ├ as `driftline baseline build`
replay          the other table, in the order of its times   ─┘ as `driftline replay`
overview        what that found, signal by signal
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from itertools import islice

import numpy as np

from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.kinds import check_kinds
from driftline.stream.baselines.sample import Sample, read_events
from driftline.stream.config.load import parse_config
from driftline.stream.config.panes import Panes
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.mapping import RECORD, Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.inspect import Inspection
from driftline.stream.judge.resolution import small_baseline_remarks
from driftline.stream.outcomes.performance import Performance
from driftline.stream.outcomes.performance import Wishes as Outcomes
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.replay.run import replay
from driftline.stream.replay.verdict import Outcome, Verdict, decide
from driftline.stream.results.overview import overview
from driftline.stream.results.scan import Scan, Wishes
from driftline.stream.scan.outcomes import Tables, evaluate
from driftline.stream.scan.tables import NO_TIME, Table, inspect_both, is_timed, with_paths
from driftline.stream.scan.whom import by_part, extras_of, split_by
from driftline.stream.sources.inputs import InputError, Note, OnNote

# Messages that are judged at once.
_CHUNK = 2_000
# Panes of a scan. Each is counted where it begins: with a few hundred, a week would miss some of its Sunday.
_PANES = 2_000
# Without times, all rows are one sample: one pane, and one evaluation.
_ONE_PANE = Panes(events=1_000_000, seconds=None)

# Parts of events by which a model is right or wrong.
_OF_OUTCOMES = ("label", "prediction", "score")

#: Shows how far a step has come: takes its name and its length, yields a function that takes what is done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def _no_progress(_name: str, _length: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _done: None)


def scan(live: Table, reference: Table, wishes: Wishes, progress: Progress = _no_progress) -> Scan:
    """Compare a table with a reference. Raises InputError, BaselineError or ConfigError."""
    notes = dict[str, None]()

    def on_note(note: Note) -> None:
        notes.setdefault(f"{note.field}: {note.reason}")

    found, label = inspect_both(live, reference, wishes.config, wishes.parts, wishes.command)
    if found.configuration is None:
        raise InputError(f"{live.title}: {found.problem or 'cannot be read'}")
    timed = found.proposal.fields["ts"].value != RECORD
    proposed = _proposed(found, wishes)
    if label is not None:
        proposed = with_paths(proposed, label=label)
        notes.setdefault(f"{reference.title}: its label, {label}, is not in {live.title} yet, and is not compared")
    rows, in_order = _in_order(list(live.messages(proposed, on_note)), proposed, timed)
    config = _settings(proposed, found, len(rows), timed)
    has_times = timed and is_timed(reference, config)
    wishes = replace(wishes, for_whom=by_part(wishes.for_whom, config.mapping))
    sample = _read_reference(reference, config, has_times, wishes, on_note)
    baselines = tuple(
        _build(sample, model, config, has_times, wishes, reference.title) for model in sorted(sample.events)
    )
    with progress("judging", len(rows)) as advance:
        log = _log(rows, advance)
        result = replay(config, baselines, {0: log}, lambda _: None, keeps_history=True)
    verdict = _with_reference(decide(result, config, baselines, wishes.rejected), baselines, config)
    if not in_order:
        notes.setdefault(f"{live.title}: rows are not in the order of their times; they were sorted")
    if timed and not has_times:
        notes.setdefault(f"{reference.title}: has no times, so how traffic varies over time is not known")
    view = overview(result.recorded, timed=timed, unjudged=verdict.unjudged)
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    splits = split_by(view, wishes.for_whom, sample.events, chunks, config, None if timed else NO_TIME)
    known = _performance(live, reference, found, wishes, notes)
    return Scan(found, config, timed, baselines, sample, result, verdict, view, splits, tuple(notes), wishes, known)


def _performance(
    live: Table, reference: Table, found: Inspection, wishes: Wishes, notes: dict[str, None]
) -> Performance | None:
    """Whether the model is right; None without labels beside predictions or scores, or where these say too little."""
    fields = found.proposal.fields
    if "label" not in fields or fields.keys().isdisjoint(("prediction", "score")):
        return None
    parts = {part: str(fields[part].value) for part in _OF_OUTCOMES if part in fields}
    try:
        tables = Tables(live, reference, parts={**parts, **wishes.parts}, config=wishes.config, command=wishes.command)
        return evaluate(tables, Outcomes()).performance
    except InputError as error:
        notes.setdefault(f"whether the model is right is not known: {error}")
        return None


def _with_reference(verdict: Verdict, baselines: Sequence[Baseline], config: Config) -> Verdict:
    """The verdict; a reference that is too small to show anything gives no all-clear."""
    remarks = {each.model: tuple(small_baseline_remarks(each, config.for_model(each.model))) for each in baselines}
    small = {model: own for model, own in remarks.items() if own}
    if not small:
        return verdict
    outcome = Outcome.TOO_LITTLE if verdict.outcome is Outcome.NO_DRIFT else verdict.outcome
    shortfalls = (*verdict.shortfalls, *(str(each) for own in small.values() for each in own))
    return Verdict(outcome, shortfalls, verdict.unjudged | small.keys())


def _proposed(found: Inspection, wishes: Wishes) -> Config:
    """The settings that are given, with the proposed mapping and without the columns that are left out."""
    proposed, given = parse_config(found.configuration or "", "the proposal"), wishes.config
    globs = (*given.defaults.signals.exclude, *proposed.defaults.signals.exclude)
    signals = given.defaults.signals.model_copy(update={"exclude": globs})
    defaults = given.defaults.model_copy(update={"signals": signals})
    return given.model_copy(update={"mapping": proposed.mapping, "files": proposed.files, "defaults": defaults})


def _settings(proposed: Config, found: Inspection, rows: int, timed: bool) -> Config:
    """Panes as a log with this number of rows needs them, unless they are given.

    In a log that is whole, event time need not end a pane: nobody waits for it.
    """
    if not timed:
        return proposed.model_copy(update={"panes": _ONE_PANE})
    if "panes" in proposed.model_fields_set:
        return proposed
    each = min(max(rows * _rows_in(found) // _PANES, 1), _ONE_PANE.events)
    return proposed.model_copy(update={"panes": Panes(events=each, seconds=None)})


def _rows_in(found: Inspection) -> int:
    """Events in a message."""
    return max(found.events // max(found.read, 1), 1)


def _in_order(rows: list[bytes], config: Config, timed: bool) -> tuple[list[bytes], bool]:
    """The rows in the order of their times, and whether they were; what has no time stays behind the row before it."""
    if not timed:
        return rows, True
    reader = EventReader(config.mapping.event_mapping(), limits=config.limits.of_messages())
    times, last = np.empty(len(rows), np.int64), np.iinfo(np.int64).min
    for index, row in enumerate(rows):
        with suppress(EventError):
            last = reader.head(row, Origin("", 0, index)).ts
        times[index] = last
    if not (times[1:] < times[:-1]).any():
        return rows, True
    return [rows[index] for index in np.argsort(times, kind="stable").tolist()], False


def _read_reference(reference: Table, config: Config, has_times: bool, wishes: Wishes, on_note: OnNote) -> Sample:
    """The events of the reference. Raises InputError if too few of its rows are events."""
    if not has_times:
        config = with_paths(config, ts=RECORD)
    batches = _chunks(reference.messages(config, on_note))
    timestamp = None if has_times else NO_TIME
    sample = read_events(batches, config, timestamp=timestamp, extras=extras_of(wishes.for_whom))
    if excess := sample.rejected.excess(sample.read, wishes.rejected):
        raise InputError(f"{reference.title}: {excess}")
    if not sample.events:
        raise InputError(f"{reference.title}: holds no events; leave it out, or name another reference")
    return sample


def _build(sample: Sample, model: str, config: Config, has_times: bool, wishes: Wishes, source: str) -> Baseline:
    chosen, events = config.for_model(model), sample.events[model]
    kinds = {name: Kind(kind) for name, kind in chosen.kinds.items()} | _named(wishes.kinds, events, source)
    settings = BuildSettings(ordered=has_times, kinds=kinds, selects=chosen.signals.selects, most=config.limits.signals)
    try:
        check_kinds(kinds, events)
    except BaselineError as error:
        raise InputError(f"{source}: {error}") from None
    return build_baseline(events, {"model": model, "source": [source], "scan": True}, settings)


def _named(kinds: Mapping[str, Kind], events: Sequence[Event], source: str) -> dict[str, Kind]:
    """The kinds by signal; a feature may be named without `features.`. Raises InputError for what is no signal."""
    names = dict.fromkeys(each for event in events for each in event.signals if each != "features") if kinds else {}
    found = dict[str, Kind]()
    for name, kind in kinds.items():
        known = next((each for each in (name, f"features.{name}") if each in names), None)
        if known is None:
            listed = ", ".join(each.removeprefix("features.") for each in islice(names, 20))
            more = ", …" * (len(names) > 20)
            raise InputError(f"{source}: has no signal {name!r} to be {kind.value}; it has {listed}{more}")
        found[known] = kind
    return found


def _chunks(messages: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(messages, _CHUNK)):
        yield chunk


def _log(rows: Sequence[bytes], advance: Callable[[int], None]) -> Iterator[LogBatch]:
    for start in range(0, len(rows), _CHUNK):
        messages = rows[start : start + _CHUNK]
        offsets = np.arange(start, start + len(messages))
        yield LogBatch(offsets, messages, np.full(len(messages), NO_TIME, np.int64))
        advance(start + len(messages))
