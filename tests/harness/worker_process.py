"""A worker in a process of its own, whose sketch-like and judge-like agents note what they receive.

The tests hold a `Worker`, which starts `python -m tests.harness.worker_process PLAN`. It writes notes as JSON lines:

    {"what": "assigned", "positions": {"0": 2000}}      what the hook returned, before anything is delivered
    {"what": "fetch", "partition": 0, "first": 2000, "values": ["2000", …]}
    {"what": "done", "partition": 0, "next": 3000}
    {"what": "pane", "value": "0 2000 3000"}
    {"what": "revoked", "partitions": [0, 1]}
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from faust.types import TP, StreamT

from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.worker.faust.app import App, WorkerSettings, build_app, consume, publish, run_worker
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.faust.transport import FetchConsumer


@dataclass(frozen=True)
class Plan:
    """What a worker should do.

    `notes`: the file it writes to. `store`: the folder where workers keep their positions, as they would in Redis;
    without it they resume at the committed offsets. `fails_at`: raise at the fetch that holds this value.
    `hook_seconds` and `fetch_seconds`: how long each takes. `idle`: seconds for which a worker without partitions
    believes that it has had none.
    """

    bootstrap: str
    group: str
    predictions: str
    panes: str
    notes: str
    idempotent: bool
    store: str | None = None
    fails_at: str | None = None
    hook_seconds: float = 0.0
    fetch_seconds: float = 0.0
    idle: float = 0.0
    commit_interval: float = 1.0


class Worker:
    """The process; starts and stops as a context manager."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._command = [sys.executable, "-m", "tests.harness.worker_process", json.dumps(asdict(plan))]

    def __enter__(self) -> Self:
        with Path(f"{self.plan.notes}.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def notes(self, *kinds: str) -> list[dict[str, Any]]:
        """The notes of these kinds so far, in order."""
        path = Path(self.plan.notes)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        written = [json.loads(line) for line in lines if line.endswith("\n")]
        return [note for note in written if note["what"] in kinds]

    def values(self) -> dict[int, list[str]]:
        """By partition, all values delivered so far, in the order of delivery."""
        by_partition: dict[int, list[str]] = {}
        for note in self.notes("fetch"):
            by_partition.setdefault(note["partition"], []).extend(note["values"])
        return by_partition

    def log(self) -> str:
        """The log so far."""
        return Path(f"{self.plan.notes}.log").read_text(errors="replace")

    def wait_for(self, seen: Callable[[], bool], seconds: float = 60.0) -> None:
        """Poll until `seen`; AssertionError with the end of the worker's log if it does not happen."""
        deadline = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"not seen; exit code {self.process.poll()}; log:\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def again(self, **changes: Any) -> Worker:
        """Another worker with the same plan but for `changes`."""
        return Worker(replace(self.plan, **changes))


class Journal:
    """The worker's side: notes, and positions in the store."""

    def __init__(self, plan: Plan) -> None:
        self._notes = Path(plan.notes).open("a", buffering=1)  # noqa: SIM115  # open as long as the worker lives
        self._store = Path(plan.store) if plan.store else None

    def note(self, what: str, **facts: Any) -> None:
        self._notes.write(json.dumps({"what": what, **facts}) + "\n")

    def positions(self, assigned: frozenset[TP], topic: str) -> dict[TP, int]:
        """Where the store says to resume, for the partitions it knows."""
        if self._store is None:
            return {}
        files = {tp: self._store / str(tp.partition) for tp in assigned if tp.topic == topic}
        return {tp: int(file.read_text()) for tp, file in files.items() if file.exists()}

    def keep(self, fetch: Fetch) -> None:
        if self._store is not None:
            fresh = self._store / f"{fetch.tp.partition}.fresh"
            fresh.write_text(str(fetch.next_offset))
            fresh.replace(self._store / str(fetch.tp.partition))


def worker_app(plan: Plan) -> App:
    """The app under test: `build_app`, `consume` and `publish` as a real worker uses them."""
    journal = Journal(plan)
    settings = WorkerSettings(
        kafka=Kafka(bootstrap=plan.bootstrap),
        group=plan.group,
        fetch_topics=frozenset({plan.predictions}),
        session_timeout=6.0,
        commit_interval=plan.commit_interval,
        fetch_size=256 << 10,
        idempotent=plan.idempotent,
    )

    async def positions(assigned: frozenset[TP]) -> Mapping[TP, int]:
        await asyncio.sleep(plan.hook_seconds)
        answer = journal.positions(assigned, plan.predictions)
        mine = [tp.partition for tp in assigned if tp.topic == plan.predictions]
        journal.note("assigned", partitions=sorted(mine), positions={tp.partition: at for tp, at in answer.items()})
        return answer

    async def release(revoked: frozenset[TP]) -> None:
        journal.note("revoked", partitions=sorted(tp.partition for tp in revoked if tp.topic == plan.predictions))

    app = build_app(settings, positions, release)

    async def judge_pane(pane: bytes) -> None:
        journal.note("pane", value=pane.decode())

    @app.agent(app.topic(plan.predictions))
    async def sketch(stream: StreamT[Any]) -> None:
        await consume(stream, partial(sketch_fetch, app, plan, journal))

    @app.agent(app.topic(plan.panes))
    async def judge(stream: StreamT[Any]) -> None:
        await consume(stream, judge_pane)

    @app.timer(0.2)
    async def believe_idle() -> None:
        consumer = cast(FetchConsumer, app.consumer)
        if not consumer.assignment():
            subscription = consumer._thread._ensure_consumer()._subscription
            subscription._last_fetch_ended = time.monotonic() - plan.idle

    return app


async def sketch_fetch(app: App, plan: Plan, journal: Journal, fetch: Fetch) -> None:
    """Note the fetch, publish a pane, keep the position: the order of a real sketch stage."""
    values = [record.value.decode().strip() for record in fetch.records if record.value is not None]
    journal.note("fetch", partition=fetch.tp.partition, first=fetch.first_offset, values=values)
    await asyncio.sleep(plan.fetch_seconds)
    if plan.fails_at in values:
        raise RuntimeError(f"planned failure at {plan.fails_at}")
    pane = f"{fetch.tp.partition} {fetch.first_offset} {fetch.next_offset}"
    await publish(app, [OutgoingRecord(plan.panes, key=b"model", value=pane.encode())])
    journal.keep(fetch)
    journal.note("done", partition=fetch.tp.partition, next=fetch.next_offset)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_worker(worker_app(Plan(**json.loads(sys.argv[1]))))
