"""One chaos run: faults happen while workers read the traffic; then the outcome is compared with a replay."""

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

from load_tests.chaos.outcome import Outcome, Record
from load_tests.chaos.schedule import Fault, Fsync, schedule
from load_tests.chaos.site import WORKERS, Producer, Site, count_bursts, count_kinds, open_site
from load_tests.chaos.traffic import SPREAD, traffic
from load_tests.chaos.verdict import judge_run
from load_tests.chaos.workers import log_counts, unexpected_errors

# Seconds that the workers have after the last fault to finish everything, plus those that the events take.
_TIMEOUT = 240.0
# Seconds that the workers have to recover from a fault before the next one comes in any case.
_RECOVERY = 60.0
# Events a second that workers sketch at least without faults.
_SLOWEST = 2000
# Seconds for which everything must stay finished. A run that the idle timeout ended is sealed 2 s before its panes are
# published.
_SETTLED = 6.0
# Mismatches that are reported at most.
_REPORTED = 20

Show = Callable[[str, int, int], None]


def run(seed: int, events: int, faults: int, fsync: Fsync, directory: Path, console: Console) -> dict[str, Any]:
    """The report of one run on servers of its own. The key `wrongs` holds the mismatches."""
    plan, began = schedule(seed, faults, fsync), time.monotonic()
    with open_site(directory, fsync) as site, _bar(console, f"seed {seed}", events, faults) as show:
        topic = site.deployment.config.topics.predictions
        producer = Producer(site.kafka.address, topic, traffic(seed, events), max(1, events // count_bursts(plan)))
        mismatches = _work(site, producer, plan, events, show) + _stop(site)
        mismatches += unexpected_errors(site.fleet.logs())
        seconds = time.monotonic() - began
        show("verdict", events, faults)
        verdict = judge_run(site.deployment.config, site.deployment.baselines, SPREAD, _outcome(site))
    mismatches += verdict.mismatches
    recoveries = site.watch.recoveries or [0.0]
    return {
        "seed": seed,
        "equal": not mismatches,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "messages": events,
        **verdict.figures,
        "appendfsync": fsync,
        "faults": faults,
        **count_kinds(plan),
        **log_counts(site.fleet.logs()),
        "bytes lost in power cuts": sum(site.cut_bytes),
        "workers started": site.fleet.started,
        **{f"workers ended with code {code}": count for code, count in sorted(site.fleet.exits.items())},
        "seconds to recover p50": round(median(recoveries), 1),
        "seconds to recover max": round(max(recoveries), 1),
        "seconds": round(seconds),
        "wrongs": mismatches[:_REPORTED],
    }


def _work(site: Site, producer: Producer, plan: Sequence[Fault], events: int, show: Show) -> list[str]:
    """Cause the faults while workers read, then wait until they have finished; a mismatch if they have not."""
    for _ in range(WORKERS):
        site.fleet.add()
    site.watch.start()
    site.file.start()
    _until(lambda: "took over" in site.fleet.logs(), _TIMEOUT)
    producer.start()
    for i, fault in enumerate(plan, 1):
        shown = partial(_show_progress, show, site, str(fault.kind), i)
        producer.release_burst()
        _until(lambda: False, fault.pause / 2, shown)
        site.apply(fault, producer)
        producer.release_burst()
        _until(site.watch.recovered, _RECOVERY if fault.alone else 0, shown)
        _until(lambda: False, fault.pause / 2, shown)
    producer.release_rest()
    shown = partial(_show_progress, show, site, "the rest", len(plan))
    done = _until(lambda: _finished(site, producer), _TIMEOUT + events / _SLOWEST, shown, _SETTLED)
    if producer.error is not None:
        raise producer.error
    return [] if done else [f"not finished in time: {site.watch.now}, of {producer.appended}"]


def _show_progress(show: Show, site: Site, what: str, faults: int) -> None:
    show(what, sum(site.watch.now.sealed), faults)


def _stop(site: Site) -> list[str]:
    """Stop the threads and the workers; a mismatch for each worker that ended with an error."""
    site.watch.stop()
    site.file.done.set()
    return [f"a worker that got SIGTERM ended with exit code {code}" for code in site.fleet.stop() if code]


def _until(
    condition: Callable[[], bool], seconds: float, meanwhile: Callable[[], None] = lambda: None, held: float = 0.0
) -> bool:
    """Wait until a condition has held for `held` seconds; whether that came within `seconds`."""
    deadline, since = time.monotonic() + seconds, math.inf
    while time.monotonic() < deadline:
        since = min(since, time.monotonic()) if condition() else math.inf
        if time.monotonic() - since >= held:
            return True
        meanwhile()
        time.sleep(0.1)
    return False


def _finished(site: Site, producer: Producer) -> bool:
    """Whether all events are appended and sketched, all panes judged and all alerts published."""
    if producer.is_alive() or site.watch.has_scheduled() or list(site.watch.now.sealed) != producer.appended:
        return False
    judged = dict(enumerate(site.watch.now.judged))
    return judged == site.deployment.ends(site.deployment.config.topics.panes) and not _outboxes(site)


def _outboxes(site: Site) -> int:
    with sync_redis.Redis(port=site.redis.port) as client:
        keys = list(client.scan_iter(match="*:outbox", count=1000))
        return sum(int(client.llen(key)) for key in keys)


def _outcome(site: Site) -> Outcome:
    deployment, topics = site.deployment, site.deployment.config.topics
    predictions: dict[int, list[bytes | None]] = {}
    for record in deployment.scan(topics.predictions):
        log = predictions.setdefault(record.partition, [])
        if record.offset != len(log):
            raise RuntimeError(f"partition {record.partition}: offset {record.offset} follows {len(log) - 1}")
        log.append(record.value)
    return Outcome(
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
    """A progress bar, as a function of the current activity, the events sketched and the faults so far."""
    counts = TextColumn("{task.completed:,.0f} of {task.total:,.0f} events, {task.fields[faults]} faults")
    columns = (TextColumn("{task.description:36}"), BarColumn(30), counts, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=events, faults=f"0 of {faults}")

        def show(activity: str, done: int, so_far: int) -> None:
            bar.update(task, description=f"{title}: {activity}", completed=done, faults=f"{so_far} of {faults}")

        yield show
