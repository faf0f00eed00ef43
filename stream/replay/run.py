"""Replay: the pure pipeline over files at full speed. Edge: reads files, shows progress, writes alerts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import Batch, Pipeline, in_order

Message = dict[str, Any]


@dataclass
class Outcome:
    """What a replay found.

    events: read and counted. problems: how often a message was rejected, or a value counted under a special code; by
    place, as values have no bound. examples: the first reason of each. learned: models whose first events became their
    baseline. learning: events of those that had too few.
    """

    alerts: list[Message] = field(default_factory=list)
    events: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    learned: tuple[str, ...] = ()
    learning: dict[str, int] = field(default_factory=dict)

    def note(self, problem: str, reason: str) -> None:
        """One more of a problem."""
        self.problems[problem] += 1
        self.examples.setdefault(problem, reason)


def replay(
    config: Config,
    baselines: Sequence[Baseline],
    logs: Mapping[int, Iterable[Batch]],
    on_alert: Callable[[Message], None],
    topic: str | None = None,
) -> Outcome:
    """Run a topic's logs, by partition, through the pipeline; `on_alert` sees each alert as it is decided.

    topic: what the alerts call it, if not as configured.
    """
    outcome, pipeline = Outcome(), Pipeline(config, {baseline.model: baseline for baseline in baselines}, topic)
    for run in in_order(_runs(pipeline, partition, log, outcome) for partition, log in sorted(logs.items())):
        for message in pipeline.judge(run):
            outcome.alerts.append(message)
            on_alert(message)
    outcome.learned, outcome.learning = pipeline.learned, pipeline.learning
    return outcome


def _runs(pipeline: Pipeline, partition: int, log: Iterable[Batch], outcome: Outcome) -> Iterator[Run]:
    """The runs of one partition, the last one ended by the end of the log; `outcome` hears what was wrong with it."""
    sketcher, end = None, 0
    for batch in log:
        sketcher = sketcher or pipeline.sketcher(partition, int(batch.offsets[0]))
        runs, rejections, defects = sketcher.feed(*batch)
        outcome.events += len(batch.messages) - len(rejections)
        for rejection in rejections:
            outcome.note(f"rejected for {re.split('[:,]', rejection.reason)[0]}", rejection.reason)
        for defect in defects:
            outcome.note(f"{defect.signal} counted as {defect.code.name.lower()}", defect.reason)
        end = int(batch.offsets[-1]) + 1
        yield from runs
    if sketcher:
        yield sketcher.close(end)


def one_log(batches: Iterable[Sequence[bytes]]) -> Iterator[Batch]:
    """The messages of files as the log of one partition: a message's offset is its index among those of all files."""
    end = 0
    for messages in batches:
        start, end = end, end + len(messages)
        yield Batch(np.arange(start, end), messages)


def between(log: Iterable[Batch], mapping: EventMapping, first_ms: int | None, end_ms: int | None) -> Iterator[Batch]:
    """The messages whose event time lies in [first, end); those that are no events are kept, to be rejected."""
    if first_ms is None and end_ms is None:
        yield from log
        return
    for offsets, messages in log:
        kept = [i for i, message in enumerate(messages) if _lies_between(message, mapping, first_ms, end_ms)]
        if kept:
            yield Batch(offsets[kept], [messages[i] for i in kept])


def _lies_between(message: bytes | None, mapping: EventMapping, first_ms: int | None, end_ms: int | None) -> bool:
    try:
        ts = parse_event(message, mapping).ts
    except EventError:
        return True
    return (first_ms is None or ts >= first_ms) and (end_ms is None or ts < end_ms)
