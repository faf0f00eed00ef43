"""One chaos run: faults happen while workers read the traffic, then what they left is compared with a replay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import redis as sync_redis
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from load_tests.chaos.outcome import Left, Record
from load_tests.chaos.schedule import Fault, Fsync, schedule
from load_tests.chaos.site import WORKERS, Producer, Site, bursts, kinds, open_site
from load_tests.chaos.traffic import SPREAD, traffic
from load_tests.chaos.verdict import judge_run
from load_tests.chaos.workers import surprises, told_by

# s that the workers have, after the last fault, to get everything done.
_PATIENCE = 240.0
# s that the workers have to recover from a fault before the next one comes all the same.
_RECOVERY = 60.0
# Events a second that are sketched at least, when nothing goes wrong any more.
_SLOWEST = 2000
# s for which everything must have been done. A run that the clock has ended is sealed 2 s before its panes go out.
_SETTLED = 6.0
# Of what is wrong, so much is told.
_TOLD = 20

Show = Callable[[str, int, int], None]


def run(seed: int, events: int, faults: int, fsync: Fsync, directory: Path, console: Console) -> dict[str, Any]:
    """One run with everything of its own but the jars; its report."""
    plan, began = schedule(seed, faults, fsync), time.monotonic()
    with open_site(directory, fsync) as site, _bar(console, f"seed {seed}", events, faults) as show:
        topic = site.deployment.config.topics.predictions
        producer = Producer(site.kafka.address, topic, traffic(seed, events), max(1, events // bursts(plan)))
        wrongs = _work(site, producer, plan, events, show) + _stop(site)
        wrongs += surprises(site.fleet.logs())
        seconds = time.monotonic() - began
        show("verdict", events, faults)
        verdict = judge_run(site.deployment.config, site.deployment.baselines, SPREAD, _left(site))
    wrongs += verdict.wrongs
    recoveries = site.watch.recoveries or [0.0]
    return {
        "seed": seed,
        "equal": not wrongs,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "messages": events,
        **verdict.figures,
        "appendfsync": fsync,
        "faults": faults,
        **kinds(plan),
        **told_by(site.fleet.logs()),
        "bytes lost in power cuts": sum(site.cut_bytes),
        "workers started": site.fleet.started,
        **{f"workers ended with code {code}": count for code, count in sorted(site.fleet.exits.items())},
        "seconds to recover p50": round(median(recoveries), 1),
        "seconds to recover max": round(max(recoveries), 1),
        "seconds": round(seconds),
        "wrongs": wrongs[:_TOLD],
    }


def _work(site: Site, producer: Producer, plan: Sequence[Fault], events: int, show: Show) -> list[str]:
    """Let the faults happen while events are read, and everything be done afterwards; what was not."""
    for _ in range(WORKERS):
        site.fleet.add()
    site.watch.start()
    site.file.start()
    _until(lambda: "took over" in site.fleet.logs(), _PATIENCE)
    producer.start()
    for i, fault in enumerate(plan, 1):
        shown = partial(_showing, show, site, str(fault.kind), i)
        producer.release()
        _until(lambda: False, fault.pause / 2, shown)
        site.apply(fault, producer)
        producer.release()
        _until(site.watch.recovered, _RECOVERY if fault.alone else 0, shown)
        _until(lambda: False, fault.pause / 2, shown)
    producer.finish()
    patience = _PATIENCE + events / _SLOWEST
    shown = partial(_showing, show, site, "the rest", len(plan))
    done = _until(lambda: _done(site, producer), patience, shown, _SETTLED)
    if producer.error is not None:
        raise producer.error
    return [] if done else [f"not done in time: {site.watch.now}, of {producer.appended}"]


def _showing(show: Show, site: Site, what: str, so_far: int) -> None:
    show(what, sum(site.watch.now.sealed), so_far)


def _stop(site: Site) -> list[str]:
    """End the workers well, and who looks after them; what went wrong with that."""
    site.watch.end()
    site.file.done.set()
    return [f"a worker that was told to end did so with exit code {code}" for code in site.fleet.stop() if code]


def _until(
    seen: Callable[[], bool], seconds: float, meanwhile: Callable[[], None] = lambda: None, lasting: float = 0.0
) -> bool:
    """Wait until something is so, and has been for `lasting` seconds; whether it came to that."""
    deadline, since = time.monotonic() + seconds, math.inf
    while time.monotonic() < deadline:
        since = min(since, time.monotonic()) if seen() else math.inf
        if time.monotonic() - since >= lasting:
            return True
        meanwhile()
        time.sleep(0.1)
    return False


def _done(site: Site, producer: Producer) -> bool:
    """Whether all is appended, sketched and judged, and all alerts are out."""
    if producer.is_alive() or site.watch.waits() or list(site.watch.now.sealed) != producer.appended:
        return False
    judged = dict(enumerate(site.watch.now.judged))
    return judged == site.deployment.ends(site.deployment.config.topics.panes) and not _outboxes(site)


def _outboxes(site: Site) -> int:
    with sync_redis.Redis(port=site.redis.port) as client:
        keys = list(client.scan_iter(match="*:outbox", count=1000))
        return sum(int(client.llen(key)) for key in keys)


def _left(site: Site) -> Left:
    deployment, topics = site.deployment, site.deployment.config.topics
    predictions: dict[int, list[bytes | None]] = {}
    for record in deployment.scan(topics.predictions):
        log = predictions.setdefault(record.partition, [])
        if record.offset != len(log):
            raise RuntimeError(f"offset {record.offset} of partition {record.partition} comes after {len(log) - 1}")
        log.append(record.value)
    return Left(
        predictions,
        _records(deployment.read(topics.panes)),
        _records(deployment.read(topics.alerts)),
        _records(deployment.read(f"{topics.predictions}.dlq")),
        _records(deployment.read(f"{topics.panes}.dlq")),
        deployment.model_states(),
    )


def _records(records: Iterable[Any]) -> list[Record]:
    return [Record(record.value, record.timestamp, dict(record.headers)) for record in records]


@contextmanager
def _bar(console: Console, title: str, events: int, faults: int) -> Iterator[Show]:
    """A progress bar; call what it gives with what goes on, events sketched and faults so far."""
    counts = TextColumn("{task.completed:,.0f} of {task.total:,.0f} events, {task.fields[faults]} faults")
    columns = (TextColumn("{task.description:36}"), BarColumn(30), counts, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=events, faults=f"0 of {faults}")

        def show(what: str, done: int, so_far: int) -> None:
            bar.update(task, description=f"{title}: {what}", completed=done, faults=f"{so_far} of {faults}")

        yield show
