"""How long the pages of `driftline serve` take: a group of many models with open incidents in a real Redis.

    python -m load_tests.bench.serve                               1000 models, 100 of them with an open incident
    python -m load_tests.bench.serve --models 5000 --open 500 --json

Each model has the state and each incident the alert of a real drift; one in ten has a full timeline of 100 signals.
Pages of signals are those of another model each time, since a view is kept for some seconds. The pages are asked for
one after the other, each as often as the others; the server meanwhile goes on to read Redis every second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.state import StateDelta
from driftline.stream.codec.timeline import Frames, all_parts, pack_span, pack_stretch
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import embedded_broker
from driftline.stream.events.event import Event
from driftline.stream.judge.timeline import HOUR_MS, Counter, Kept, Timeline
from driftline.stream.panes.pane import Pane
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from driftline.stream.state.values import DecidedAlert
from load_tests.harness.deployment import Broker, Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import Replay, baseline_of, messages
from load_tests.harness.servers import real_redis

# Times that each page is asked for.
_REQUESTS = 200
# Of how many models one has a timeline, and of how many signals and hours: 4 MB in Redis.
_WIDE, _SIGNALS, _HOURS = 10, 100, 24 * 400
# s for which the server's own work is measured.
_REST = 20.0
# Models in a commit.
_AT_ONCE = 100


def measured(models: int, opened: int, directory: Path) -> dict[str, dict[str, float]]:
    """ms of the median and of the slowest in 20 requests, and of processor time, by page; and of the server at rest."""
    with embedded_broker(directory) as broker, real_redis(directory) as redis:
        sections = {"panes": {"events": 50}, "serve": {"http": "127.0.0.1:0"}}
        here = deploy(directory, Broker(broker, idempotent=False), redis.address, sections)
        incident = asyncio.run(_fill(here, models, opened))
        with here.pages() as pages:
            pages.wait_for(lambda: len(json.loads(pages.get("/api/models").body)) == models)
            wide = [f"model-{i}" for i in range(0, models, _WIDE)]
            paths = {
                "first page": ["/"],
                "a model": [f"/models?name=model-{i}" for i in range(models) if i % _WIDE],
                "an incident": [f"/incidents/{incident}"],
                "a model of 100 signals": [f"/models?name={name}" for name in wide],
                "the same, 400 days": [f"/models?name={name}&span=400d" for name in wide],
                "a signal of it": [f"/models?name={name}&span=2d&signal=features.f1" for name in wide],
            }
            figures = {name: _times(pages, own) for name, own in paths.items()}
            figures["at rest"] = {"cpu_share": _load(pages)}
            return figures


async def _fill(here: Deployment, models: int, opened: int) -> str:
    """Store models and incidents; returns the id of one."""
    states, alert = _drifted()
    timeline = _timeline()
    client = connect(here.config.redis)
    judge = await Store(client, here.config.worker.group).claim_judge(here.config.topics.panes, 0)
    for first in range(0, models, _AT_ONCE):
        names = [f"model-{i}" for i in range(first, min(first + _AT_ONCE, models))]
        alerts = [_alert_of(name, alert) for name in names[: max(opened - first, 0)]]
        seen = dict.fromkeys(names, int(1000 * time.time()))
        own = dict(zip(names, range(first, models), strict=False))
        deltas = {name: _delta(states, None if i % _WIDE else timeline) for name, i in own.items()}
        await judge.commit(first + 1, deltas, alerts, seen)
    await client.aclose()
    return _alert_of("model-0", alert).incident


def _drifted() -> tuple[Mapping[str, bytes], dict[str, Any]]:
    """The stored state and the alert of a model that drifts."""
    replay = Replay(parse_config("panes: {events: 50, seconds: null}", ""), {"fraud": baseline_of("fraud")})
    replay.read(0, messages("fraud", 1200, drift=(600, 1200), step=1000))
    return replay.model_states()["fraud"], replay.alerts[0]


def _delta(state: Mapping[str, bytes], timeline: Timeline | None) -> StateDelta:
    """What is stored of a model with a state and, perhaps, another model's timeline."""
    if timeline is None:
        return StateDelta(dict(state), replace_all=True)
    whole = {
        "timeline": pack_span((timeline.span,)),
        **{name: pack_stretch((each,)) for name, each in timeline.open.items()},
    }
    stored = {name: part for name, part in all_parts(timeline).items() if name not in timeline.open}
    return StateDelta({**state, **whole}, replace_all=True, timelines=Frames(stored, ()))


def _timeline() -> Timeline:
    """A full timeline of a model that drifts in its last two days."""
    rng, names = np.random.default_rng(1), [f"features.f{i}" for i in range(_SIGNALS)]

    def events(n: int, shift: float = 0.0) -> list[Event]:
        values = rng.normal(shift, 1.0, (n, _SIGNALS))
        return [
            Event(str(i), 0, "wide", None, dict(zip(names, row, strict=True))) for i, row in enumerate(values.tolist())
        ]

    baseline = build_baseline(events(5000), {"model": "wide"})
    usual, drifted = ([baseline.sketch_events(events(200, shift)) for _ in range(8)] for shift in (0.0, 0.7))
    counter, timeline, last = Counter(baseline, Kept(168, 400)), None, int(time.time()) // 3600
    for hour in range(_HOURS):
        sketch = (usual if hour < _HOURS - 48 else drifted)[hour % 8]
        timeline = counter.count(timeline, Pane(sketch, 0, 0, ()), (last - _HOURS + 1 + hour) * HOUR_MS)
    assert timeline is not None
    return timeline


def _alert_of(model: str, alert: Mapping[str, Any]) -> DecidedAlert:
    number = int(model.removeprefix("model-"))
    own = {"component": model, "incident_id": f"b{number:015x}", "id": f"a{number:015x}"}
    data = {**alert["data"], **own, "title": alert["data"]["title"].replace("fraud", model)}
    return DecidedAlert(json.dumps({**alert, "data": data}).encode(), own["incident_id"])


def _times(pages: WorkerProcess, paths: Sequence[str]) -> dict[str, float]:
    taken, process = list[float](), psutil.Process(pages.process.pid)
    before = sum(process.cpu_times()[:2])
    for path in islice(cycle(paths), _REQUESTS):
        began = time.perf_counter()
        answer = pages.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        assert answer.status == 200, answer.body
    return {
        "median_ms": float(np.median(taken)),
        "p95_ms": float(np.quantile(taken, 0.95)),
        "cpu_ms": 1000 * (sum(process.cpu_times()[:2]) - before) / _REQUESTS,
        "kB": len(answer.body) / 1e3,
    }


def _load(pages: WorkerProcess) -> float:
    process = psutil.Process(pages.process.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(_REST)
    return (sum(process.cpu_times()[:2]) - before) / _REST


def _print(figures: Mapping[str, Mapping[str, float]]) -> None:
    table = Table()
    for heading in ("page", "median, ms", "p95, ms", "processor, ms", "size, kB"):
        table.add_column(heading, justify="left" if heading == "page" else "right")
    for name, row in figures.items():
        if "p95_ms" in row:
            table.add_row(
                name, f"{row['median_ms']:.0f}", f"{row['p95_ms']:.0f}", f"{row['cpu_ms']:.0f}", f"{row['kB']:.0f}"
            )
    Console().print(table)
    Console().print(f"at rest: {figures['at rest']['cpu_share']:.1%} of a processor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--open", type=int, default=100, help="models with an open incident")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        figures = measured(options.models, options.open, Path(directory))
    print(json.dumps(figures)) if options.json else _print(figures)


if __name__ == "__main__":
    main()
