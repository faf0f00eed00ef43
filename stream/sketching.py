"""The worker's first stage: the records of a predictions partition become panes on the panes topic.

    take over: epoch, seal ──► feed ──► runs end ──► seal them ──► publish panes and dead letters ──► feed ...

Rule 1: what is published is sealed first; so whoever takes over publishes the same runs again and goes on behind them.
Rule 2: the next seal waits until all of the last one's panes are acknowledged.
Rule 3: a dead letter goes out with the run in which its record lies, and so at least once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.app import Message
from stream.baseline import Baseline
from stream.config import Config
from stream.events import Defect, Rejection
from stream.letters import dead_letter
from stream.metrics import Metrics
from stream.panes import Cutter, Run
from stream.pipeline import Sketcher, pane_rule
from stream.store import SketchRecord, Store
from stream.transport import Run as Fetched
from stream.wire import PaneMessage

Publish = Callable[[Iterable[Message]], Awaitable[None]]
# Seconds between two looks for a baseline that a model may have learned meanwhile: one small read for each such model.
_LEARN_EVERY = 1.0


@dataclass
class _Partition:
    """One partition of the predictions topic in this worker's care. letters: dead ones of the open run, by offset."""

    record: SketchRecord
    sketcher: Sketcher
    sealed: int
    letters: list[tuple[int, Message]] = field(default_factory=list)
    touched: float = 0.0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class SketchStage:
    """Sketches the partitions assigned to this worker. baselines: given ones, by model, as they are watched."""

    def __init__(
        self, config: Config, baselines: Mapping[str, Baseline], store: Store, publish: Publish, metrics: Metrics
    ) -> None:
        self._config, self._baselines, self._store, self._publish = config, dict(baselines), store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._looked = 0.0

    async def assigned(self, partitions: Iterable[int]) -> dict[int, int]:
        """Take over partitions; the offset to go on from, by partition: the start of the last sealed run, or 0."""
        taken = {partition: await self._take_over(partition) for partition in sorted(partitions)}
        self._partitions = taken
        return {partition: each.sketcher.cutter.start for partition, each in taken.items()}

    async def _take_over(self, partition: int) -> _Partition:
        record = await self._store.take_sketch(self._config.topics.predictions, partition)
        seal = await record.read_seal()
        start, sealed = (seal.start, seal.end) if seal else (0, 0)
        cutter = Cutter(pane_rule(self._config), partition, start, sealed)
        sketcher = Sketcher(cutter, dict(self._baselines), self._config.mapping.paths())
        return _Partition(record, sketcher, sealed)

    async def take(self, fetched: Fetched) -> None:
        """Sketch fetched records; everything that ended in them is sealed and published on return."""
        partition = self._partitions[fetched.tp.partition]
        async with partition.busy:
            await self._learn(partition)
            offsets = np.array([record.offset for record in fetched.records])
            runs, rejections, defects = partition.sketcher.feed(offsets, [record.value for record in fetched.records])
            partition.touched = time.monotonic()
            partition.letters += self._letters(fetched, rejections, defects)
            self._metrics.fetched(fetched, rejections, defects)
            await self._deliver(partition, runs)

    async def close_idle(self) -> None:
        """End the open runs of partitions that have been quiet for as long as a pane may last."""
        patience = self._config.panes.seconds
        for partition in list(self._partitions.values()):
            if patience is None or time.monotonic() - partition.touched < patience or partition.busy.locked():
                continue
            async with partition.busy:
                cutter = partition.sketcher.cutter
                if cutter.seen > cutter.start:
                    await self._deliver(partition, [cutter.close(cutter.seen)])

    async def _deliver(self, partition: _Partition, runs: Sequence[Run]) -> None:
        again = [run for run in runs if run.end <= partition.sealed]
        new = runs[len(again) :]
        await self._publish(self._messages(partition, again))
        if new:
            await partition.record.seal(new[0].start, new[-1].end)
            partition.sealed = new[-1].end
            await self._publish(self._messages(partition, new))

    def _messages(self, partition: _Partition, runs: Sequence[Run]) -> list[Message]:
        """Panes of runs, keyed by model, and the dead letters in them, which are then done with."""
        if not runs:
            return []
        topics, baselines = self._config.topics, partition.sketcher.baselines
        messages = []
        for model, pane in (item for run in runs for item in run.panes.items()):
            baseline = baselines[model].content_hash if model in baselines else ""
            message = PaneMessage.of(model, baseline, topics.predictions, pane).to_bytes()
            messages.append(Message(topics.panes, model.encode(), message))
        self._metrics.panes(len(messages))
        due = [letter for offset, letter in partition.letters if offset < runs[-1].end]
        partition.letters = partition.letters[len(due) :]
        return messages + due

    def _letters(
        self, fetched: Fetched, rejections: Sequence[Rejection], defects: Sequence[Defect]
    ) -> list[tuple[int, Message]]:
        """Dead letters by offset: rejected records, and copies of those whose event counts with a defective value."""
        reasons: dict[int, tuple[str, bool]] = {}
        for defect in defects:
            earlier = f"{reasons[defect.position][0]}; " if defect.position in reasons else ""
            reasons[defect.position] = (earlier + defect.reason, True)
        reasons |= {rejection.position: (rejection.reason, False) for rejection in rejections}
        records = [(fetched.records[at], *reasons[at]) for at in sorted(reasons)]
        return [(record.offset, dead_letter(record, reason, counted)) for record, reason, counted in records]

    async def _learn(self, partition: _Partition) -> None:
        """Pick up baselines that models without one have learned, now and then."""
        if time.monotonic() - self._looked < _LEARN_EVERY:
            return
        self._looked = time.monotonic()
        for model in partition.sketcher.cutter.models() - self._baselines.keys():
            content = await self._store.get_learned(model)
            if content is not None:
                self._baselines[model] = Baseline.from_bytes(content)
        for each in self._partitions.values():
            for model in self._baselines.keys() - each.sketcher.baselines.keys():
                each.sketcher.learn(self._baselines[model])
