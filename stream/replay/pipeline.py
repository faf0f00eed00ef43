"""The pure pipeline: a log in, runs, panes and alerts out.

The live worker and the replay run these same two stages:

    Sketcher   one partition's messages  ->  runs of panes, rejections, defects      (the worker's first stage)
    Pipeline   Sketchers and monitors in one process, without Kafka and Redis        (the replay, and the oracle)

A live judge takes the runs of several partitions as they arrive. A replay can't know how they arrived: `in_order` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Any, NamedTuple

from driftline.detectors.arrays import IntArray
from driftline.stream.alerts.build import Mode, alert_of
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.pane import Run
from driftline.stream.panes.sketcher import Sketcher, pane_rule


class Batch(NamedTuple):
    """Messages in the order of one partition's log, with their offsets: (n,) rising; a compacted topic has holes."""

    offsets: IntArray
    messages: Sequence[bytes | None]


def in_order(partitions: Iterable[Iterator[Run]]) -> Iterator[Run]:
    """The runs of several partitions, each partition's in the order of its log, as one sequence.

    The next one is always, of the partitions' next runs, that which tells of the earliest time; of equals the first
    partition's. A run's time is the first or last of one of its panes: an event from the future is hardly ever both, so
    that it doesn't hold up its partition. However the logs are cut into batches, the sequence is the same.
    """
    return merge(*partitions, key=_earliest)


def _earliest(run: Run) -> int:
    return min((min(pane.first_ts, pane.last_ts) for pane in run.panes.values()), default=0)


@dataclass
class Pipeline:
    """The whole of Driftline over one topic, in one process.

    baselines: given ones, by model. topic: what alerts call it, if not as configured. memories: of every model seen so
    far.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    topic: str | None = None
    mode: Mode = "replay"
    monitors: dict[str, Monitor] = field(default_factory=dict)
    memories: dict[str, ModelState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = {model: self._watched(baseline) for model, baseline in self.baselines.items()}
        self._sketchers: list[Sketcher] = []

    def _watched(self, baseline: Baseline) -> Baseline:
        return baseline.only(self.config.for_model(baseline.model).signals.selects)

    def sketcher(self, partition: int, start: int) -> Sketcher:
        """The first stage for one partition's log from offset `start` on; it hears of baselines learned meanwhile."""
        cutter = Cutter(pane_rule(self.config), partition, start)
        self._sketchers.append(Sketcher(cutter, dict(self.known), self.config.mapping.paths()))
        return self._sketchers[-1]

    @property
    def learned(self) -> tuple[str, ...]:
        """Models whose first events became their baseline."""
        return tuple(model for model, memory in self.memories.items() if memory.learned)

    @property
    def learning(self) -> dict[str, int]:
        """Events kept so far of models that have no baseline yet."""
        waiting = self.memories.keys() - {*self.known, *self.learned}
        return {model: len(self.memories[model].sample) for model in sorted(waiting)}

    def judge(self, run: Run) -> list[dict[str, Any]]:
        """The second stage: alerts decided by the next run."""
        alerts = []
        for model, pane in run.panes.items():
            monitor = self.monitors.get(model)
            if monitor is None:
                monitor = self.monitors[model] = Monitor(model, self.config.for_model(model), self.known.get(model))
            memory, steps = monitor.take(self.memories.get(model, ModelState()), pane)
            self.memories[model] = memory
            baseline = monitor.baseline(memory)
            if baseline and model not in self.known:
                self._learn(baseline)
            topic = self.topic or self.config.topics.predictions
            alerts += [alert_of(monitor, step, mode=self.mode, topic=topic, emitted_at=step.at) for step in steps]
        return alerts

    def _learn(self, baseline: Baseline) -> None:
        self.known[baseline.model] = baseline
        for sketcher in self._sketchers:
            sketcher.learn(baseline)
