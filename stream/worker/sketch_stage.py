"""The worker's first stage: the records of a predictions partition become panes on the panes topic.

    take over: epoch, seal ──► sketch ──► dead letters out ──► runs end: seal them ──► publish their panes ──► ...

Rule 1: what is published is sealed first; so whoever takes over publishes the same runs again and goes on behind them.
Rule 2: the next seal waits until all of the last one's panes are acknowledged.
Rule 3: a dead letter goes out before the run that its record lies in is sealed, and so at least once.
Rule 4: taking over, records and the end of an idle run wait for each other.
Rule 5: where an idle run ends, no log tells. So its seal is on Redis's disk before its panes are published, and it ends
not before this worker has read all that the log held when it took over: if Redis loses other seals, the rule finds
their runs again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import Defect
from driftline.stream.events.event import Rejection
from driftline.stream.kafka.dead_letters import dead_letter, pane_dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.pane import Pane, Run
from driftline.stream.panes.sketcher import Sketcher, pane_rule
from driftline.stream.schemas.topics import PANE_BYTES
from driftline.stream.state.store import ResumePosition, SketchPartition, Store
from driftline.stream.worker.faust.transport import Fetch
from driftline.stream.worker.metrics import Metrics

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
# Seconds between two looks for baselines that models may have learned meanwhile, while there are such models.
_CHECK_LEARNED_EVERY = 1.0
# Bytes of a pane; the rest is for its key and for what Kafka adds.
_LARGEST = PANE_BYTES - (64 << 10)
_OFFSET, _VALUE = attrgetter("offset"), attrgetter("value")


class RereadError(RuntimeError):
    """Records came again that the open run holds already. It is not sealed, so whoever is next counts them once."""


class _Closing(NamedTuple):
    """A run that the clock has ended, while its seal is on the way to Redis's disk."""

    run: Run
    sealed: asyncio.Task[None]


@dataclass
class _Partition:
    """One partition of the predictions topic in this worker's care.

    sealed: end of the last sealed run, None before the first. last_fetch: when records last came (monotonic clock).
    horizon: end of the log when the first records came, None before that.
    """

    record: SketchPartition
    sketcher: Sketcher
    sealed: int | None
    last_fetch: float = 0.0
    horizon: int | None = None
    closing: _Closing | None = None

    def push(self, fetch: Fetch) -> tuple[list[Run], list[Rejection], list[Defect]]:
        """What ended in these records, and by index among them what was wrong with some."""
        cutter = self.sketcher.cutter
        if self.sealed is None and not cutter.end:
            cutter.start = fetch.first_offset  # a log that retention has cut does not begin at 0
        if self.horizon is None:
            self.horizon = fetch.highwater or 0
        if fetch.first_offset < cutter.end:
            raise RereadError(f"offset {fetch.first_offset} of {fetch.tp} came after {cutter.end - 1}")
        offsets = np.fromiter(map(_OFFSET, fetch.records), np.int64, len(fetch.records))
        return self.sketcher.consume(offsets, list(map(_VALUE, fetch.records)))

    def idle(self, patience: float) -> bool:
        """Whether the open run has waited for so long. Where others may have ended it, it does not wait: it comes."""
        cutter = self.sketcher.cutter
        mine = cutter.start >= (self.sealed or 0) and cutter.end >= (self.horizon or 0)
        waits = cutter.end > cutter.start and time.monotonic() - self.last_fetch >= patience
        return mine and waits and self.closing is None

    def close(self) -> None:
        """End the open run. Its panes wait for its seal; records need not, until the next run ends."""
        run = self.sketcher.close(self.sketcher.cutter.end)
        self.closing = _Closing(run, asyncio.create_task(self.record.seal(run.start, run.end, durable=True)))
        self.sealed = run.end

    def abandon_closing(self) -> None:
        """Leave the run that waits for its seal: whoever takes over ends it, or publishes it."""
        if self.closing is not None:
            self.closing.sealed.add_done_callback(lambda task: task.cancelled() or task.exception())


class SketchStage:
    """Sketches the partitions assigned to this worker. baselines: given ones, by model, as they are watched."""

    def __init__(
        self, config: Config, baselines: Mapping[str, Baseline], store: Store, publish: Publish, metrics: Metrics
    ) -> None:
        self._config, self._baselines, self._store, self._publish = config, dict(baselines), store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._warming_up, self._checked = set[str](), 0.0
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; where to go on, by partition: at the start of the last sealed run, or at 0."""
        await self.release()
        async with self._busy:
            ordered = sorted(partitions)
            # At once: each may wait for Redis's disk.
            taken = await asyncio.gather(*map(self._take_over, ordered))
            self._partitions = dict(zip(ordered, taken, strict=True))
            return {
                p: ResumePosition(each.sketcher.cutter.start, each.sealed or 0) for p, each in self._partitions.items()
            }

    async def release(self) -> None:
        """Let go of all partitions, once what is in work is done."""
        async with self._busy:
            for each in self._partitions.values():
                each.abandon_closing()
            self._partitions = {}

    async def _take_over(self, partition: int) -> _Partition:
        record = await self._store.claim_sketch(self._config.topics.predictions, partition)
        seal = await record.read_seal()
        start, ends = seal or (0, ())
        cutter = Cutter(pane_rule(self._config), partition, start, ends)
        sketcher = Sketcher(cutter, dict(self._baselines), self._config.mapping.event_mapping())
        return _Partition(record, sketcher, ends[-1] if ends else None)

    async def sketch(self, fetch: Fetch) -> None:
        """Sketch fetched records; everything that ended in them is sealed and published on return."""
        async with self._busy:
            partition = self._partitions[fetch.tp.partition]
            await self._load_learned()
            runs, rejections, defects = partition.push(fetch)
            self._metrics.sketched(fetch, rejections, defects)
            await self._publish(_dead_letters(fetch, rejections, defects))
            await self._deliver(partition, runs)
            partition.last_fetch = time.monotonic()

    async def close_idle(self) -> None:
        """End the open runs of partitions that have been quiet for as long as a pane may last; publish them later."""
        patience = self._config.panes.seconds
        if patience is None:
            return
        async with self._busy:
            for partition in self._partitions.values():
                if partition.idle(patience):
                    partition.close()
                elif partition.closing is not None and partition.closing.sealed.done():
                    await self._finish(partition)

    async def _finish(self, partition: _Partition) -> None:
        """Publish the panes of the run that the clock has ended, if there is one."""
        if partition.closing is not None:
            await partition.closing.sealed
            await self._publish(self._messages(partition, [partition.closing.run]))
            partition.closing = None

    async def _deliver(self, partition: _Partition, runs: Sequence[Run]) -> None:
        again = [run for run in runs if run.end <= (partition.sealed or 0)]
        new = runs[len(again) :]
        await self._publish(self._messages(partition, again))
        if new:
            await self._finish(partition)
            await partition.record.seal(new[0].start, *(run.end for run in new))
            partition.sealed = new[-1].end
            await self._publish(self._messages(partition, new))

    def _messages(self, partition: _Partition, runs: Sequence[Run]) -> list[OutgoingRecord]:
        """The panes of runs, keyed by model. Those that no topic takes go out as dead letters."""
        messages, dead_letters, last = list[OutgoingRecord](), list[OutgoingRecord](), dict[str, int]()
        for run in runs:
            for model, pane in run.panes.items():
                message = self._message(partition, model, pane, last.get(model, 0))
                if len(message.value or b"") > _LARGEST:
                    dead_letters.append(self._too_large(message, pane))
                else:
                    messages.append(message)
                    last[model] = run.end
        self._metrics.published_panes(len(messages))
        self._metrics.dead_lettered(len(dead_letters))
        return [*messages, *dead_letters]

    def _message(self, partition: _Partition, model: str, pane: Pane[Any], after: int) -> OutgoingRecord:
        topics, baseline = self._config.topics, ""
        if isinstance(pane.content, Sketch):
            baseline = partition.sketcher.baselines[model].content_hash
        elif model not in self._baselines:  # else they were waiting while it learned
            self._warming_up.add(model)
        message = PaneMessage.of(model, baseline, topics.predictions, pane, after)
        return OutgoingRecord(topics.panes, model.encode(), message.to_bytes())

    def _too_large(self, message: OutgoingRecord, pane: Pane[Any]) -> OutgoingRecord:
        reason = (
            f"a pane of {len(pane.content)} events takes {len(message.value or b'')} bytes, and topic {message.topic} "
            f"takes {_LARGEST}: lower panes.events, or give the model a baseline"
        )
        return pane_dead_letter(message, self._config.topics.predictions, pane.ranges[0], reason)

    async def _load_learned(self) -> None:
        """Pick up, now and then, the baselines that models have learned since their events were last published."""
        if not self._warming_up or time.monotonic() - self._checked < _CHECK_LEARNED_EVERY:
            return
        self._checked = time.monotonic()
        # Who has not learned yet is named again by its next pane; a name that never comes back is not kept.
        seen, self._warming_up = self._warming_up, set()
        for model in sorted(seen & await self._store.learned_models()):
            content = await self._store.load_learned(model)
            if content is not None:
                self._baselines[model] = baseline = decode_baseline(content)
                for each in self._partitions.values():
                    each.sketcher.add_baseline(baseline)


def _dead_letters(fetch: Fetch, rejections: Sequence[Rejection], defects: Sequence[Defect]) -> list[OutgoingRecord]:
    """Dead letters: rejected records, and copies of those whose event counts with a defective value."""
    reasons: dict[int, tuple[str, bool]] = {}
    for defect in defects:
        earlier = f"{reasons[defect.position][0]}; " if defect.position in reasons else ""
        reasons[defect.position] = (earlier + defect.reason, True)
    reasons |= {rejection.position: (rejection.reason, False) for rejection in rejections}
    return [dead_letter(fetch.tp, fetch.records[at], *reasons[at]) for at in sorted(reasons)]
