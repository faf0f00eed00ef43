"""Compares what a chaos run left behind with what the log says: equal to the byte, or a list of mismatches. Pure.

Two replays are made, each in one process and one sequence, without Kafka, Redis, crash or rebalance:

1. of the predictions topic. Its runs end where the published ones do, because the idle timeout ends the run of an idle
   partition; but no run may be longer than the rule allows, overlap another, or omit a good event. Every published
   pane must equal its replayed one, byte for byte. Models that lie on one partition are judged in the order of its log.
2. of the panes topic. All models are judged in its order, which is recorded nowhere else for models on many
   partitions; a pane that was published twice counts once.

Ticks decide when an incident ends and whether traffic is absent, so both replays hear them where they lie on the panes
topic; the first one takes nothing else from there. By both, model states and alerts must be equal byte for byte. Both
share reader and coder with the workers, and would not notice their faults: so a second reader and coder counts the
events, too (`load_tests/chaos/naive.py`), and states, panes, dead letters and ticks are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from msgspec import structs

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.panes import OUT_OF_ORDER, PaneMessage, ReferenceMessage
from driftline.stream.config.sections import Config
from driftline.stream.events.frames import Schema
from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.pane import Pane, Range, Run
from driftline.stream.panes.rows import TrackTally
from driftline.stream.panes.sketcher import Sketcher, pane_rule
from driftline.stream.panes.tick import Tick
from driftline.stream.panes.tracks import by_track, events_in
from load_tests.chaos.count import check_counts, check_dead_letters
from load_tests.chaos.join import as_era, check_joined, check_label_panes, count_labels
from load_tests.chaos.judged import Judged, JudgedPanes
from load_tests.chaos.naive import MAX_BATCH
from load_tests.chaos.outcome import Era, Log, Outcome, Verdict
from load_tests.chaos.ticks import check_ticks
from load_tests.harness.oracle import alert_bodies, event_or_none
from load_tests.harness.ticks_heard import NOTHING


def judge_run(
    config: Config,
    baselines: Mapping[str, Baseline],
    spread: Collection[str],
    outcome: Outcome,
    schemas: Mapping[int, Schema] | None = None,
    exchanged: Collection[Baseline] = (),
    ticks: bool = True,
    ticks_may_fall: bool = False,
    versions: Versions = NO_VERSIONS,
) -> Verdict:
    """The verdict on a run.

    baselines: those that the configuration gives at the end, by model; exchanged: those that it gave before. spread:
    models whose events lie on several partitions. schemas: see `EventReader`. ticks: whether the group sends them;
    ticks_may_fall: see `check_ticks`. versions: the baselines of versions that have their own.
    """
    verdict, by_panes = Verdict(), JudgedPanes(config, baselines, exchanged, versions=versions)
    by_predictions = Judged(config, baselines, versions=versions)
    labelled = config.labelled_by("topic") or (lambda _: False)
    apart = {*spread, *(each.model for each in exchanged)}
    for era in outcome.eras:
        _judge_published(verdict, by_panes, era)
    every, topics = outcome, config.topics
    outcome = replace(every, eras=[era.about(topics.labels, others=True) for era in every.eras])
    known = {model: state.learned for model, state in by_panes.states.items() if state.learned} | dict(baselines)
    apart |= set(filter(labelled, by_panes.states))  # when their labels were judged, the panes topic alone says
    for era, heard in zip(outcome.eras, by_panes.heard, strict=True):
        for model, pane in _Replay(config, baselines, known, exchanged, schemas, verdict, era, versions).panes():
            if model not in apart and model not in by_panes.crowded_out:
                by_predictions.judge(model, pane, heard.get((model, pane.ranges[0]), NOTHING))
        by_predictions.resume(era.resumed)
    _check_pane_dead_letters(verdict, outcome, by_panes.refused)
    _check_states(verdict, outcome, by_predictions, "predictions topic")
    _check_states(verdict, outcome, by_panes, "panes topic")
    _check_alerts(verdict, outcome, by_predictions, by_panes, apart)
    _check_references(verdict, outcome, baselines, exchanged)
    counted = check_counts(verdict, known, baselines, by_panes.kept, outcome, exchanged, versions, labelled)
    check_ticks(verdict, counted, outcome, ticks, ticks_may_fall)
    if every.labels is not None:
        tracks = {(model, track): each for model, own in versions.items() for track, each in own.items()}
        tracks |= {(model, ""): each for model, each in known.items()}
        of_labels, found = count_labels(every.labels, config)
        era = as_era(every.labels, every)
        lost = check_label_panes(verdict, era, found, by_panes.refused)
        check_dead_letters(verdict, [era], of_labels)
        check_ticks(verdict, of_labels, replace(every, eras=[era]), ticks, ticks_may_fall)
        taken = {place: each for place, each in found.items() if place not in lost}
        others = {each.model for each in exchanged}
        check_joined(verdict, every, every.labels, taken, counted, config, baselines, tracks, others)
    return verdict


def _judge_published(verdict: Verdict, by_panes: JudgedPanes, era: Era) -> None:
    """Judge the panes of an era."""
    for record, message in era.messages():
        if (record.partition, record.offset) in era.skipped:
            continue
        verdict.add({"ticks": isinstance(message, Tick)})
        if not isinstance(message, PaneMessage) or by_panes.knows_baseline(message):
            by_panes.read(record, message)
        else:
            verdict.mismatches.append(
                f"a pane of {message.model} in {message.run} has a baseline that is not there yet"
            )
    by_panes.resume(era.resumed)


@dataclass
class _Replay:
    """The replay of the predictions topic in an era.

    known: all baselines at the end of the run, given and learned. exchanged: those that were given before.
    """

    config: Config
    given: Mapping[str, Baseline]
    known: Mapping[str, Baseline]
    exchanged: Collection[Baseline]
    schemas: Mapping[int, Schema] | None
    verdict: Verdict
    era: Era
    versions: Versions

    def panes(self) -> Iterator[tuple[str, Pane[Any]]]:
        """Models and their judged panes, in the order of each partition's log; all are compared with the published."""
        published: dict[tuple[Range, str], list[PaneMessage]] = {}
        skipped, judged = set[tuple[Range, str]](), set[tuple[Range, str]]()
        for record, message in self.era.published():
            published.setdefault((message.run, message.model), []).append(message)
            place = record.partition, record.offset
            (skipped if place in self.era.skipped else judged).add((message.run, message.model))
        by_clock, seen = 0, 0
        for partition, log in sorted(self.era.predictions.items()):
            ends = self._run_ends({run for run, _ in published if run.partition == partition}, max(log, default=-1) + 1)
            for run in self._runs(partition, log, ends):
                by_clock += bool(run.panes) and self._ended_by_clock(run, log)
                seen += len(run.panes)
                for model, pane in run.panes.items():
                    key = Range(partition, run.start, run.end), model
                    if key not in published and run.start in self.era.doubtful.get(partition, ()):
                        continue
                    self._compare(model, pane, published.pop(key, []))
                    if key not in skipped - judged:
                        yield model, pane
        self.verdict.mismatches += [f"a pane of {model} in {run} is not expected" for run, model in published]
        again, skips = sum(1 for _ in self.era.published()) - seen, len(skipped - judged)
        self.verdict.add({"panes": seen, "panes published again": again, "panes skipped": skips})
        self.verdict.add({"runs ended by the clock": by_clock})

    def _run_ends(self, runs: Collection[Range], end: int) -> list[int]:
        """Offsets at which to end runs: where published ones begin and end, as bad events may lie between two."""
        for older, newer in pairwise(sorted(runs)):
            if newer.start < older.end:
                self.verdict.mismatches.append(f"the runs {older} and {newer} overlap")
        # A log may end within a run, before the control records of its last transaction.
        cuts = set() if any(run.start < end <= run.end for run in runs) else {end}
        return sorted({at for run in runs for at in (run.start, run.end)} | cuts)

    def _runs(self, partition: int, log: Log, ends: Iterable[int]) -> Iterator[Run]:
        # Events of the others are kept: each pane has been counted in the cells of one of their baselines, or in none.
        lasting = self.given.keys() - {each.model for each in self.exchanged}
        sketcher = Sketcher(
            self.config.topics.predictions,
            Cutter(pane_rule(self.config), partition, 0),
            {model: each for model, each in self.given.items() if model in lasting},
            self.config.mapping.event_mapping(),
            self.schemas,
            versions={model: own for model, own in self.versions.items() if model in lasting},
            is_labelled=self.config.labelled_by("event"),
            waits=self.config.labelled_by("topic"),
        )
        # A worker passes over what one batch may not hold: its bytes end no run.
        offsets = np.array([offset for offset, value in log.items() if len(value or b"") <= MAX_BATCH], np.int64)
        for end in ends:
            cutter = sketcher.cutter
            if end > cutter.start:
                start = cutter.start
                own = offsets[np.searchsorted(offsets, start) : np.searchsorted(offsets, end)]
                yield from sketcher.consume(own, [log[offset] for offset in own.tolist()]).runs
                if cutter.start != start and start not in self.era.doubtful.get(partition, ()):
                    self.verdict.expect(f"partition {partition}: a run that the rule ends", end, cutter.start)
                if cutter.start < end:
                    yield sketcher.close(end)

    def _ended_by_clock(self, run: Run, log: Log) -> bool:
        """Whether the idle timeout ended a run: no pane is full, and no event of a later time slot follows."""
        rule = pane_rule(self.config)
        if any(events_in(pane.content) == rule.events for pane in run.panes.values()):
            return False
        following = event_or_none(log.get(run.end))
        slot_ms = rule.slot_ms or 1 << 62
        return following is None or following.ts // slot_ms <= max(p.first_ts for p in run.panes.values()) // slot_ms

    def _compare(self, model: str, pane: Pane[Any], published: Sequence[PaneMessage]) -> None:
        versions = self.versions.get(model, {})
        hashes = {version: each.content_hash for version, each in versions.items()}
        if not published:
            self.verdict.mismatches.append(f"the pane of {model} in {pane.ranges} was not published")
        for message in published:
            expected, baseline = pane, self._baseline_of(message)
            if isinstance(pane.content, tuple) and message.baselines:
                own = {"": baseline} if baseline and message.baseline else {}
                tally = TrackTally.of_events({**versions, **own}, pane.content, self._waits(model))
                outcomes, stubs = tally.outcomes_by_track(), tally.stubs_by_track()
                expected = structs.replace(pane, content=tally.sketch(), outcomes=outcomes, stubs=stubs)
            is_sketch = isinstance(by_track(expected.content).get(""), Sketch)
            name = baseline.content_hash if baseline and is_sketch else ""
            topic, before = self.config.topics.predictions, message.previous_end
            same = PaneMessage.of(model, name, topic, expected, before, message.log, hashes)
            if message.to_bytes() != same.to_bytes():
                self.verdict.mismatches.append(f"the pane of {model} in {pane.ranges} was published with other content")

    def _waits(self, model: str) -> bool:
        waits = self.config.labelled_by("topic")
        return waits is not None and waits(model)

    def _baseline_of(self, message: PaneMessage) -> Baseline | None:
        """The baseline in whose cells a pane was counted; the model's newest one if that is none of them."""
        own = (each for each in self.exchanged if each.model == message.model)
        return next((each for each in own if each.content_hash == message.baseline), self.known.get(message.model))


def _check_references(
    verdict: Verdict, outcome: Outcome, baselines: Mapping[str, Baseline], exchanged: Collection[Baseline]
) -> None:
    """Check that what the panes topic says last of each model is what its configuration says at the end."""
    newest: dict[str, ReferenceMessage] = {}
    for era in outcome.eras:
        for _, message in era.messages():
            if isinstance(message, ReferenceMessage) and not message.yields_to(newest.get(message.model)):
                newest[message.model] = message
    for model in {each.model for each in exchanged}:
        said = newest[model].baselines.get("") if model in newest else None
        verdict.expect(f"the newest reference of {model}", said, baselines[model].content_hash)
    verdict.figures["baselines exchanged"] = len(exchanged)


def _check_pane_dead_letters(verdict: Verdict, outcome: Outcome, refused: Mapping[tuple[int, int], str]) -> None:
    """Check that panes became dead letters only because an earlier one was missing, or for want of room.

    refused: the reasons of the latter, by partition and offset of the panes topic. A pane that is skipped may have been
    refused by a worker that ended before it could commit that.
    """
    found: dict[tuple[int, int], str] = {}
    skipped = {place for era in outcome.eras for place in era.skipped}
    early = 0
    for record in outcome.pane_dead_letters:
        headers = {name: value.decode() for name, value in record.headers.items()}
        if headers["reason"].startswith(OUT_OF_ORDER):
            early += 1
        elif (place := (int(headers["partition"]), int(headers["offset"]))) not in skipped:
            found[place] = headers["reason"]
    verdict.expect_equal_items("the dead letter of the pane at", found, refused)
    verdict.figures |= {"panes before their turn": early, "panes without room": len(refused)}


def _check_states(verdict: Verdict, outcome: Outcome, judged: Judged | JudgedPanes, topic: str) -> None:
    expected = judged.stored()
    if isinstance(judged, JudgedPanes):
        unseen = outcome.model_states.keys() - expected
        verdict.mismatches += [f"{model} has a state, but no pane" for model in unseen]
    for model, parts in expected.items():
        stored = outcome.model_states.get(model, {})
        names = sorted(name for name in {*parts, *stored} if parts.get(name) != stored.get(name))
        if names:
            first = ", ".join(names[:6])
            verdict.mismatches.append(f"the state of {model} is not that of a replay of the {topic}: {first}")


def _check_alerts(
    verdict: Verdict, outcome: Outcome, by_predictions: Judged, by_panes: JudgedPanes, apart: Collection[str]
) -> None:
    lines: dict[str, bytes] = {}
    last_seq: dict[str, int] = {}
    for record in outcome.alerts:
        line = record.value or b""
        alert = orjson.loads(line)
        alert_id, model, seq = alert["id"], alert["data"]["component"], alert["data"]["seq"]
        if alert_id not in lines:
            verdict.expect(f"alert {alert_id}, number of earlier ones of its model", last_seq.get(model, 0), seq - 1)
            last_seq[model] = seq
        verdict.expect(f"alert {alert_id}, published again", line, lines.setdefault(alert_id, line))
    verdict.expect_equal_items("alert", lines, by_panes.lines)
    # Those of the topic itself are made of ticks alone.
    apart = {*apart, by_panes.config.topics.predictions}
    keyed = [line for line in lines.values() if orjson.loads(line)["data"]["component"] not in apart]
    verdict.expect_equal_items(
        "alert, by the predictions topic,", _bodies(keyed), _bodies(by_predictions.lines.values())
    )
    verdict.figures |= {"alerts": len(by_panes.lines), "alerts published again": len(outcome.alerts) - len(lines)}
    of_traffic = Counter(each["status"] for each in _data(lines.values()) if each["class"] == "absence")
    verdict.figures |= {f"absences {status}": of_traffic[status] for status in ("firing", "resolved")}


def _data(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    return (orjson.loads(line)["data"] for line in lines)


def _bodies(lines: Iterable[bytes]) -> dict[str, bytes]:
    return alert_bodies(map(orjson.loads, lines))
