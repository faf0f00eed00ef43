"""Whether what a chaos run left behind is what the log says: exact, or a list of what is wrong. Pure.

Two replays, both in one process and one sequence, without Kafka, Redis, crash or rebalance:

1. of the predictions topic. Its runs end where the published ones do, because the clock ends the run of an idle
   partition; but none may be longer than the rule allows, overlap another, or leave a good event out. Every published
   pane must be its replayed one, byte for byte. Models that lie on one partition are judged in the order of its log.
2. of the panes topic. All models are judged in its order, which for models on many partitions no other log tells;
   what was published twice counts once.

Memories must be those of both replays byte for byte, alerts too (but for when they were decided, in the first). Events
are also counted without any of it: each message decoded by itself and counted in its model's baseline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import state_delta
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import Defect
from driftline.stream.events.event import Rejection
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.pane import Pane, Range, Run
from driftline.stream.panes.sketcher import Sketcher, pane_rule
from driftline.stream.worker.judge_stage import OUT_OF_ORDER
from load_tests.chaos.count import check_counts
from load_tests.chaos.outcome import Left, Log, Verdict
from load_tests.harness.oracle import Parts, alert_bodies, event_or_none


def judge_run(config: Config, baselines: Mapping[str, Baseline], spread: Collection[str], left: Left) -> Verdict:
    """The verdict on a run. spread: models whose events lie on several partitions."""
    verdict, second = Verdict(), Judged(config, baselines)
    messages = [PaneMessage.from_bytes(record.value or b"") for record in left.panes]
    for record, message in zip(left.panes, messages, strict=True):
        if second.awaits(message):
            continue
        if second.knows(message):
            second.take(message.model, message.pane(second.layout(message)), record.timestamp)
        else:
            verdict.wrongs.append(f"a pane of {message.model} in {message.run} is against a baseline not there yet")
    known = {model: memory.learned for model, memory in second.memories.items() if memory.learned} | dict(baselines)
    first = Judged(config, baselines)
    replay = _Replay(config, baselines, known, verdict, left)
    for model, pane in replay.panes(messages):
        if model not in spread:
            first.take(model, pane, appended=0)
    replay.check_letters()
    unfit = [each for each in left.pane_letters if not each.headers["reason"].startswith(OUT_OF_ORDER.encode())]
    verdict.expect("dead letters of panes", len(unfit), 0)
    verdict.figures |= {"panes before their turn": len(left.pane_letters) - len(unfit)}
    _check_memories(verdict, left, first, "predictions topic")
    _check_memories(verdict, left, second, "panes topic")
    _check_alerts(verdict, left, first, second, spread)
    check_counts(verdict, config, known, left)
    return verdict


@dataclass
class Judged:
    """Panes judged one after the other: what is remembered and told."""

    config: Config
    baselines: Mapping[str, Baseline]
    memories: dict[str, ModelState] = field(default_factory=dict)
    lines: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._monitors: dict[str, Monitor] = {}

    def take(self, model: str, pane: Pane[Any], appended: int) -> None:
        """One more pane; one that was taken before changes nothing."""
        if model not in self._monitors:
            self._monitors[model] = Monitor(model, self.config.for_model(model), self.baselines.get(model))
        monitor = self._monitors[model]
        self.memories[model], steps = monitor.judge(self.memories.get(model, ModelState()), pane)
        for step in steps:
            alert = build_alert(monitor, step, mode="live", topic=self.config.topics.predictions, emitted_at=appended)
            self.lines[alert.id] = encode_alert(alert)

    def knows(self, message: PaneMessage) -> bool:
        """Whether the baseline of a pane is the one its model has by now."""
        baseline = self._baseline(message.model)
        return not message.baseline or (baseline is not None and baseline.content_hash == message.baseline)

    def awaits(self, message: PaneMessage) -> bool:
        """Whether the pane that was sent along with this one, before it, is not there yet."""
        delivered = self.memories.get(message.model, ModelState()).consumed
        return delivered.get(message.run.partition, 0) < message.previous_end

    def layout(self, message: PaneMessage) -> Layout | None:
        """The layout of a pane of a sketch, None for one of events."""
        baseline = self._baseline(message.model)
        return baseline.layout if message.baseline and baseline else None

    def _baseline(self, model: str) -> Baseline | None:
        return self.baselines.get(model) or self.memories.get(model, ModelState()).learned

    def stored(self) -> dict[str, Parts]:
        """The parts of every model's memory, as they are stored."""
        return {
            model: state_delta(None, memory, self.baselines.get(model)).write for model, memory in self.memories.items()
        }


@dataclass
class _Replay:
    """The first replay. known: the baselines that there were in the end, given and learned.

    letters: by partition and offset, what a dead letter must hold.
    """

    config: Config
    given: Mapping[str, Baseline]
    known: Mapping[str, Baseline]
    verdict: Verdict
    left: Left
    letters: dict[tuple[int, int], tuple[bytes | None, bytes]] = field(default_factory=dict)

    def panes(self, messages: Sequence[PaneMessage]) -> Iterator[tuple[str, Pane[Any]]]:
        """Model and pane, in the order of each partition's log; what was published is compared with them."""
        published: dict[tuple[Range, str], list[PaneMessage]] = {}
        for message in messages:
            published.setdefault((message.run, message.model), []).append(message)
        by_clock, seen = 0, 0
        for partition, log in sorted(self.left.predictions.items()):
            ends = self._ends({run for run, _ in published if run.partition == partition}, len(log))
            for run in self._runs(partition, log, ends):
                by_clock += bool(run.panes) and self._by_clock(run, log)
                seen += len(run.panes)
                for model, pane in run.panes.items():
                    self._compare(model, pane, published.pop((Range(partition, run.start, run.end), model), []))
                    yield model, pane
        self.verdict.wrongs += [f"a pane of {model} in {run} was made up" for run, model in published]
        again = len(messages) - seen
        self.verdict.figures |= {"panes": seen, "panes published again": again, "runs ended by the clock": by_clock}

    def _ends(self, runs: Collection[Range], end: int) -> list[int]:
        """Where to end runs: where the published ones begin and end. Between two of them there may be bad events."""
        for older, newer in pairwise(sorted(runs)):
            if newer.start < older.end:
                self.verdict.wrongs.append(f"the runs {older} and {newer} overlap")
        return sorted({at for run in runs for at in (run.start, run.end)} | {end})

    def _runs(self, partition: int, log: Log, ends: Iterable[int]) -> Iterator[Run]:
        sketcher = Sketcher(
            Cutter(pane_rule(self.config), partition, 0), dict(self.given), self.config.mapping.event_mapping()
        )
        for end in ends:
            cutter = sketcher.cutter
            if end > cutter.start:
                start = cutter.start
                runs, rejections, defects = sketcher.consume(np.arange(start, end), log[start:end])
                self._note_letters(partition, start, log, rejections, defects)
                yield from runs
                if cutter.start != start:
                    self.verdict.expect(f"partition {partition}: a run that the rule ends", end, cutter.start)
                if cutter.start < end:
                    yield sketcher.close(end)

    def _by_clock(self, run: Run, log: Log) -> bool:
        """Whether no rule has ended a run: it is not full, and what follows is no event of a later time slot."""
        rule = pane_rule(self.config)
        if any(_events(pane.content) == rule.events for pane in run.panes.values()):
            return False
        following = event_or_none(log[run.end]) if run.end < len(log) else None
        slot_ms = rule.slot_ms or 1 << 62
        return following is None or following.ts // slot_ms <= max(p.first_ts for p in run.panes.values()) // slot_ms

    def _compare(self, model: str, pane: Pane[Any], published: Sequence[PaneMessage]) -> None:
        if not published:
            self.verdict.wrongs.append(f"the pane of {model} in {pane.ranges} was not published")
        for message in published:
            expected, baseline = pane, self.known.get(model)
            if message.baseline and baseline and not isinstance(pane.content, Sketch):
                expected = replace(pane, content=baseline.sketch_events(pane.content))
            name = baseline.content_hash if baseline and isinstance(expected.content, Sketch) else ""
            same = PaneMessage.of(model, name, self.config.topics.predictions, expected, message.previous_end)
            if message.to_bytes() != same.to_bytes():
                self.verdict.wrongs.append(f"the pane of {model} in {pane.ranges} was published as another one")

    def _note_letters(
        self, partition: int, start: int, log: Log, rejections: Iterable[Rejection], defects: Iterable[Defect]
    ) -> None:
        bad = {each.position: b"false" for each in rejections}
        odd = {each.position: b"true" for each in defects}
        for position, counted in (odd | bad).items():
            self.letters[partition, start + position] = (log[start + position], counted)

    def check_letters(self) -> None:
        """Every dead letter is there, once or more, and no other one."""
        found: dict[tuple[int, int], tuple[bytes | None, bytes]] = {}
        for letter in self.left.letters:
            place = int(letter.headers["partition"]), int(letter.headers["offset"])
            found[place] = (letter.value, letter.headers["counted"])
        _differ(self.verdict, "the dead letter of", found, self.letters)
        self.verdict.figures |= {
            "dead letters": len(self.letters),
            "dead letters published again": len(self.left.letters) - len(found),
        }


def _check_memories(verdict: Verdict, left: Left, judged: Judged, topic: str) -> None:
    expected = judged.stored()
    if topic == "panes topic":
        verdict.wrongs += [f"{model} is remembered, and was never seen" for model in left.memories.keys() - expected]
    for model, parts in expected.items():
        stored = left.memories.get(model, {})
        names = sorted(name for name in {*parts, *stored} if parts.get(name) != stored.get(name))
        if names:
            verdict.wrongs.append(f"what is remembered of {model} is not what the {topic} says: {', '.join(names[:6])}")


def _check_alerts(verdict: Verdict, left: Left, first: Judged, second: Judged, spread: Collection[str]) -> None:
    lines: dict[str, bytes] = {}
    told_last: dict[str, int] = {}
    for record in left.alerts:
        line = record.value or b""
        alert = orjson.loads(line)
        alert_id, model, seq = alert["id"], alert["data"]["component"], alert["data"]["seq"]
        if alert_id not in lines:
            verdict.expect(f"alert {alert_id}, after how many of its model", told_last.get(model, 0), seq - 1)
            told_last[model] = seq
        verdict.expect(f"alert {alert_id}, told again", line, lines.setdefault(alert_id, line))
    _differ(verdict, "alert", lines, second.lines)
    keyed = {
        alert_id: line for alert_id, line in lines.items() if orjson.loads(line)["data"]["component"] not in spread
    }
    _differ(verdict, "alert, by the predictions topic,", _told(keyed), _told(first.lines))
    verdict.figures |= {"alerts": len(second.lines), "alerts published again": len(left.alerts) - len(lines)}


def _told(lines: Mapping[str, bytes]) -> dict[str, bytes]:
    return alert_bodies(map(orjson.loads, lines.values()))


def _differ(verdict: Verdict, what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    verdict.wrongs += [f"{what} {key} is missing" for key in expected.keys() - found.keys()]
    verdict.wrongs += [f"{what} {key} ought not to be" for key in found.keys() - expected.keys()]
    verdict.wrongs += [f"{what} {key} differs" for key in found.keys() & expected.keys() if found[key] != expected[key]]


def _events(content: Any) -> int:
    return content.n if isinstance(content, Sketch) else len(content)
