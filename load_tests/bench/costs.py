"""The cost of one event, one pane, one commit and one model, each measured alone, in processor time and bytes.

Processor time hardly depends on what else the machine does. Events have numeric features of four decimals; panes hold
1000 events, unless a run that many models share ends before. Monitors do what those of a group at the newest format
level do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
from msgspec.structs import replace

from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import StateDelta, restore_state, state_delta
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import JudgeState, ModelState
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.replay.pipeline import Pipeline
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from load_tests.bench.core import per_event, stages, state_bytes
from load_tests.harness.load_generator import numeric_events, sample
from load_tests.harness.measured_worker import baselines

Row = dict[str, float]

#: Events a pane.
PANE = 1_000
#: Events of history at which costs are measured; they hardly depend on it.
HISTORY = 100_000_000
# Events of one fetch of 1 MiB; they are sketched together.
_FETCH = 2_000
# Commits in the average: enough to fill each small row of a histogram as often as on average.
_COMMITS = 256
# Panes added to a history at once: faster than one by one, and some 10 MB; a million at once would take 10 GB.
_TOGETHER = 1_000
_TOPIC = "predictions"


def by_features(features: int) -> Row:
    """Costs of a model with `features` features and a history of 100 million events."""
    (baseline,) = baselines(features, 1)
    state = remembering(baseline, HISTORY)
    batch = sample(features)[:PANE]
    spent = stages([message.replace(b'"model-0"', b'"bench"') for message in batch], baseline, state)
    pane = _pane(baseline)
    return {
        "features": features,
        "event_us": sum(spent[stage] for stage in ("decode", "rank", "sketch")),
        "pane_ms": pane_ms(baseline, state),
        "thresholds_s": thresholds_s(baseline),
        "pane_bytes": len(PaneMessage.of("model-0", baseline.content_hash, _TOPIC, pane).to_bytes()),
        "baseline_bytes": len(encode_baseline(baseline)),
        "worker_bytes": worker_bytes(baseline, state),
        "redis_bytes": stored_bytes(state),
        "commit_bytes": commits(baseline, state)[0]["commit_bytes"],
    }


def by_models(models: int, features: int = 20) -> Row:
    """Processor time to sketch an event of a partition that `models` models share, and the events in a pane."""
    known = {each.model: each for each in baselines(features, models)}
    config = Config.model_validate({"panes": {"events": PANE, "seconds": None}})
    sketcher = Pipeline(config, known).sketcher(0, 0)
    # Enough to end a run or two.
    log = list(numeric_events(features, models, min(PANE * models, 100 * PANE) + _FETCH))
    offset, panes = itertools.count(), 0

    def sketch() -> None:
        nonlocal panes
        for first in range(0, len(log), _FETCH):
            part = log[first : first + _FETCH]
            runs, *_ = sketcher.consume(np.fromiter(offset, np.int64, len(part)), part)
            panes += sum(len(run.panes) for run in runs)

    spent = per_event(sketch, len(log))
    return {"models": models, "event_us": spent, "events_per_pane": next(offset) / max(panes, 1)}


def by_history(events: int, features: int = 20) -> Row:
    """Costs of a model with a history of `events` events."""
    (baseline,) = baselines(features, 1)
    state = remembering(baseline, events)
    return {
        "events": events,
        "buckets": len(state.history),
        "pane_ms": pane_ms(baseline, state),
        "worker_bytes": state_bytes(state),
        "redis_bytes": stored_bytes(state),
    }


def by_partitions(partitions: int, features: int = 20) -> Row:
    """Costs of a model whose events come over `partitions` partitions: each bucket lists its offsets in all of them."""
    (baseline,) = baselines(features, 1)
    state = over_partitions(remembering(baseline, HISTORY), partitions)
    return {
        "partitions": partitions,
        "pane_ms": pane_ms(baseline, state),
        "redis_bytes": stored_bytes(state),
        "commit_bytes": commits(baseline, state, partitions)[0]["commit_bytes"],
    }


def remembering(baseline: Baseline, events: int) -> JudgeState:
    """A judge's state after `events` events without drift, drawn from the shares that the baseline has."""
    state, pane, rng = Judge(baseline, Config().defaults).start(), _pane(baseline), np.random.default_rng(0)
    history = state.history
    for first in range(0, events // PANE, _TOGETHER):
        history = history.extend([pane] * min(_TOGETHER, events // PANE - first))
    # The same pane again and again would be a drift by its chance differences.
    rows = tuple(tuple(_drawn(baseline, each, rng) for each in row) for row in history.rows)
    return replace(state, seen=events, history=ExponentialHistogram(history.max_buckets, rows))


def _drawn(baseline: Baseline, pane: Pane[Sketch], rng: np.random.Generator) -> Pane[Sketch]:
    """The pane with as many independent events of the baseline's shares."""
    counts = np.zeros_like(pane.content.counts)
    for own in baseline.layout.columns:
        known = baseline.total.counts[own]
        counts[own] = rng.multinomial(pane.content.n, known / known.sum())
    return replace(pane, content=dataclasses.replace(pane.content, counts=counts))


def over_partitions(state: JudgeState, partitions: int) -> JudgeState:
    """The state, had the same panes come over `partitions` partitions."""
    spread = tuple(Range(partition, HISTORY, 2 * HISTORY) for partition in range(partitions))
    rows = tuple(tuple(replace(pane, ranges=spread) for pane in row) for row in state.history.rows)
    return replace(state, history=ExponentialHistogram(state.history.max_buckets, rows))


def pane_ms(baseline: Baseline, state: JudgeState) -> float:
    """Milliseconds of all work on a pane: decode it, judge it, and compute the state delta."""
    message = PaneMessage.of("model-0", baseline.content_hash, _TOPIC, _pane(baseline)).to_bytes()
    monitor, before = _monitor(baseline), ModelState(judge=state)

    def judge() -> None:
        after, _ = monitor.judge(before, PaneMessage.from_bytes(message).pane(baseline.layout))
        state_delta(before, after)

    return per_event(judge, 1) / 1e3


def thresholds_s(baseline: Baseline) -> float:
    """Seconds to derive a model's thresholds, as a worker does when it first sees the model."""
    began = time.process_time()
    _ = Judge(baseline, Config().defaults).dependence
    return time.process_time() - began


def worker_bytes(baseline: Baseline, state: JudgeState) -> int:
    """Bytes of a model in a worker's memory: its baseline, its thresholds and its state."""
    file, parts = encode_baseline(baseline), state_delta(None, ModelState(judge=state)).write
    tracemalloc.start()
    loaded = decode_baseline(file)
    monitor, kept = _monitor(loaded), restore_state(parts, loaded)
    kept, _ = monitor.judge(kept, _pane(loaded))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


def stored_bytes(state: JudgeState) -> int:
    """Bytes of a model's state as it is stored."""
    return _size(state_delta(None, ModelState(judge=state)))


def commits(baseline: Baseline, state: JudgeState, partitions: int = 1) -> tuple[Row, list[StateDelta]]:
    """The mean size of a commit of one pane, and the deltas. partitions: of the panes, in turn."""
    pane, monitor, before, changes = _pane(baseline), _monitor(baseline), ModelState(judge=state), []
    for k in range(_COMMITS):
        newest = replace(pane, ranges=(Range(k % partitions, HISTORY + k * PANE, HISTORY + (k + 1) * PANE),))
        after, _ = monitor.judge(before, newest)
        changes.append(state_delta(before, after))
        before = after.stored()
    means = {
        "commit_bytes": float(np.mean([_size(change) for change in changes])),
        "parts_written": float(np.mean([len(change.write) for change in changes])),
        "parts_deleted": float(np.mean([len(change.delete) for change in changes])),
    }
    return means, changes


def in_redis(redis: Server, baseline: Baseline, state: JudgeState) -> Row:
    """Costs in a real Redis: bytes of a model's key, and processor time and commands of a commit."""
    written, changes = commits(baseline, state)
    first = state_delta(None, ModelState(judge=state))
    return {**written, **asyncio.run(_commit_all(f"redis://{redis.address}/0", [first, *changes]))}


async def _commit_all(url: str, changes: Sequence[StateDelta]) -> Row:
    async with aclosing(connect(Redis(url=url))) as client:
        record = await Store(client, "scaling").claim_judge("panes", 0)
        await record.commit(1, {"model-0": changes[0]})
        before = await _spent(client)
        for offset, change in enumerate(changes[1:], 2):
            await record.commit(offset, {"model-0": change})
        spent = {name: (now - before[name]) / (len(changes) - 1) for name, now in (await _spent(client)).items()}
        return {"redis_key_bytes": float(await client.memory_usage(f"{record.key}:model:model-0", samples=0)), **spent}


async def _spent(client: Any) -> Row:
    """Redis's processor time in microseconds and its number of commands so far, those in scripts included."""
    cpu: Mapping[str, float] = await client.info("cpu")
    calls = await client.info("commandstats")
    return {
        "redis_us": (cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6,
        "redis_commands": float(sum(each["calls"] for each in calls.values())),
    }


def _pane(baseline: Baseline) -> Pane[Any]:
    """A pane of events from the baseline's distribution."""
    sketcher = Pipeline(Config.model_validate({"panes": {"events": PANE, "seconds": None}}), {"model-0": baseline})
    events = sample(len(baseline.layout.signals) - 1)[:PANE]
    runs, *_ = sketcher.sketcher(0, 0).consume(np.arange(PANE), events)
    return runs[0].panes["model-0"]  # type: ignore[no-any-return]


def _monitor(baseline: Baseline) -> Monitor:
    return Monitor("model-0", Config().defaults, baseline, **monitor_settings())


def _size(change: StateDelta) -> int:
    return sum(map(len, change.write.values()))
