"""What labels that come by themselves cost: CPU time of a label for each event, bytes of Redis, and a take-over.

python -m load_tests.bench.labels                    CPU, in pairs, with and without labels, from bytes to bytes
python -m load_tests.bench.labels --pending 2000000  Redis and the take-over of as many waiting predictions
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson
import redis

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.codec.halves import pack_part, pack_waiting, waiting_parts
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.parse import EventReader
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.waiting import Waiting
from driftline.stream.outcomes.halves import Stubs, texts_of
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.pane import Pane, Range, Run, Source
from driftline.stream.replay.pipeline import Pipeline
from load_tests.harness.servers import real_redis

_EVENTS, _BATCH, _PAIRS, _FEATURES, _PANE = 50_000, 2_000, 5, 20, 250
# Panes that are committed at once, as in the second stage.
_COMMIT = 20
_EPOCH = 1_767_225_600_000
_PANES = f"panes: {{events: {_PANE}, seconds: null}}\n"
_WITH = parse_config(_PANES + "models: {bench: {outcomes: {labels: topic, wait: 1h}}}")
_WITHOUT = parse_config(_PANES)


def _messages(n: int, seed: int, labelled: bool = False) -> tuple[list[bytes], list[bytes]]:
    """Events of 20 features and a score with all of its digits, one in 100 ms, and a label of each, minutes later."""
    rng = np.random.default_rng(seed)
    scores, features = rng.beta(1, 3, n).tolist(), rng.normal(size=(n, _FEATURES)).round(4).tolist()
    truth, lags = (rng.random(n) < scores).tolist(), rng.exponential(300_000, n).astype(int).tolist()
    ids = [str(UUID(bytes=each.tobytes())) for each in rng.integers(0, 2**63, (n, 2))]
    events, labels = list[bytes](), list[tuple[int, bytes]]()
    for i, (id_, score, own, right, lag) in enumerate(zip(ids, scores, features, truth, lags, strict=True)):
        ts, label = _EPOCH + 100 * i, "fraud" if right else "fine"
        row = {
            "id": id_,
            "ts": ts,
            "model": "bench",
            "score": score,
            "features": {f"x{j}": x for j, x in enumerate(own)},
        }
        row |= {"prediction": "fraud" if score > 0.5 else "fine", **({"label": label} if labelled else {})}
        events.append(orjson.dumps(row))
        labels.append((ts + lag, orjson.dumps({"id": id_, "ts": ts + lag, "model": "bench", "label": label})))
    return events, [label for _, label in sorted(labels)]


def _baseline() -> Baseline:
    reader = EventReader(extras=["label"])
    events = [event for each in _messages(4000, 1, labelled=True)[0] for event in reader.read(each).events]
    built = build_baseline(events, {"model": "bench"}).with_derived()
    return replace(built, outcomes=outcomes_of(events))


def _panes(runs: Iterator[Run], topic: str, baseline: Baseline | None) -> list[bytes]:
    hash_ = baseline.content_hash if baseline else ""
    return [PaneMessage.of("bench", hash_, topic, run.panes["bench"]).to_bytes() for run in runs]


def _sketched(config: Config, baseline: Baseline, events: list[bytes], labels: list[bytes]) -> list[list[bytes]]:
    """The panes of both topics as bytes, by the order of their logs."""
    pipeline, found = Pipeline(config, {"bench": baseline}), list[list[bytes]]()
    for reader, log, own in (
        (pipeline.sketcher(0, 0), events, baseline),
        (pipeline.label_sketcher(0, 0), labels, None),
    ):
        runs = list[Run]()
        for first in range(0, len(log), _BATCH):
            part = log[first : first + _BATCH]
            runs += reader.consume(np.arange(first, first + len(part)), part).runs
        found.append(_panes(iter(runs), "", own))
    return found


def _judged(config: Config, baseline: Baseline, panes: list[list[bytes]]) -> ModelState:
    """The state after all panes, packed as commits pack it, with the ticks of the last of both."""
    monitor, state, stored = Monitor("bench", config.for_model("bench"), baseline), ModelState(), ModelState()
    turns = [(i / len(own), topic, data) for topic, own in enumerate(panes) for i, data in enumerate(own)]
    for number, (_, topic, data) in enumerate(sorted(turns, key=lambda each: each[:2])):
        message = PaneMessage.from_bytes(data)
        pane: Pane[object] = message.pane(baseline.layout if topic == 0 else None)
        state, _ = monitor.judge(state, pane, "labels" if topic else "")
        if number % _COMMIT == _COMMIT - 1:
            state, _ = monitor.tick(state, pane.first_ts, joined=pane.first_ts)
            state_delta(stored, state)
            state = stored = state.stored()
    return state


def _cpu() -> None:
    baseline = _baseline()
    events, labels = _messages(_EVENTS, 2)
    times: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    for pair in range(_PAIRS + 1):
        for name, config, own in (("without", _WITHOUT, []), ("with", _WITH, labels)):
            begun = time.process_time()
            panes = _sketched(config, baseline, events, own)
            sketched = time.process_time()
            state = _judged(config, baseline, panes)
            judged = time.process_time()
            if pair:  # the first one warms up
                times[name].append(((sketched - begun) / _EVENTS * 1e6, (judged - sketched) / _EVENTS * 1e6))
            if pair == _PAIRS:
                sizes = [f"{np.mean([*map(len, own)]):,.0f} bytes a pane" for own in panes if own]
                joined = state.waiting.counts if state.waiting else None
                print(f"{name}: {', '.join(sizes)}; {joined}")
    own = {name: np.median(each, axis=0) for name, each in times.items()}
    for name, (first, second) in own.items():
        print(
            f"{name} labels: first stage {first:.1f}, second {second:.1f} µs an event, {1e6 / (first + second):,.0f}/s"
        )
    print(f"throughput with a label for each event: {own['without'].sum() / own['with'].sum():.2f} of that without")


def _pending(n: int) -> None:
    rng, bounds = np.random.default_rng(3), Bounds(wait=10**12, slot=600_000, keep=10**9, most=10 * n)
    waiting = Waiting()
    begun = time.process_time()
    for first in range(0, n, _PANE):
        ids = [str(UUID(bytes=each.tobytes())) for each in rng.integers(0, 2**63, (_PANE, 2))]
        score = rng.beta(1, 3, _PANE)
        prediction = texts_of(["fraud" if each > 0.5 else "fine" for each in score])
        ts = _EPOCH + 100 * np.arange(first, first + _PANE)
        waiting = waiting.expect(
            "", Stubs(hash_ids(ids), ts, prediction, score), Range(0, first, first + _PANE), bounds
        )
    print(f"{n:,} predictions wait: made in {time.process_time() - begun:.1f} s, {waiting.nbytes / n:.0f} bytes each")
    parts = {
        name: (pack_waiting if name == "waiting" else pack_part)(part) for name, part in waiting_parts(waiting).items()
    }
    state = ModelState({Source(0): n}, waiting=waiting)
    head = state_delta(None, ModelState({Source(0): n})).write["head"]
    with tempfile.TemporaryDirectory() as folder, real_redis(Path(folder)) as server:
        host, _, port = server.address.partition(":")
        client = redis.Redis(host, int(port))
        for name, data in {**parts, "head": head}.items():
            client.hset("model", name, data)
        used = client.memory_usage("model", samples=0)
        begun, cpu = time.perf_counter(), time.process_time()
        read = {name.decode(): data for name, data in client.hgetall("model").items()}
        fetched = time.perf_counter()
        again = restore_state(read, None)
        done = time.perf_counter()
        assert again.waiting is not None
        assert again.waiting.pending == n
    print(f"Redis: {used / n:.1f} bytes each; read {fetched - begun:.2f} s, restored {done - fetched:.2f} s, "
          f"CPU {time.process_time() - cpu:.2f} s")  # fmt: skip
    begun = time.process_time()
    grown = waiting.expect("", waiting.stubs[""].parts[0].half, Range(0, n, n + _PANE), bounds)
    delta = state_delta(state, ModelState({Source(0): n + _PANE}, waiting=grown))
    print(
        f"a commit of one more pane: {time.process_time() - begun:.3f} s, {sum(map(len, delta.write.values())):,} bytes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pending", type=int, help="predictions that wait, in panes of 250")
    pending = parser.parse_args().pending
    if pending is None:
        _cpu()
    else:
        _pending(pending)


if __name__ == "__main__":
    main()
