"""One chaos run: faults happen while workers read the traffic; then the outcome is compared with a replay."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from load_tests.chaos.labels import LateLabels
from load_tests.chaos.outcome import Labels, Outcome
from load_tests.chaos.pager import Pager
from load_tests.chaos.pages import check_pages, without_answers
from load_tests.chaos.producers import LabelTopic, committed
from load_tests.chaos.schedule import Fault, Fsync, Topology
from load_tests.chaos.shapes import parsed_schemas
from load_tests.chaos.site import WORKERS, Site, open_site, records
from load_tests.chaos.traffic import PARTITIONS, SPREAD, traffic
from load_tests.chaos.verdict import judge_run
from load_tests.chaos.workers import log_counts, unexpected_ends
from load_tests.harness.redis_topologies import connect_to

# Seconds that the workers have after the last fault to finish everything, plus those that the events take.
_TIMEOUT = 240.0
# Seconds that the workers have to recover from a fault before the next one comes in any case.
_RECOVERY = 60.0
# Events a second that workers sketch at least without faults.
_SLOWEST = 2000
# Seconds for which everything must stay finished. A run that the idle timeout ended is sealed 2 s before its panes are
# published.
_SETTLED = 6.0
# Seconds after which each partition has sent a tick that speaks of all of it: their interval and some more.
_TICKED = 14.0
# Mismatches that are reported at most.
_REPORTED = 20

Show = Callable[[str, int, int], None]


def run(
    seed: int,
    events: int,
    plan: Sequence[Fault],
    topology: Topology,
    fsync: Fsync,
    directory: Path,
    console: Console,
    labels: bool = False,
) -> dict[str, Any]:
    """The report of one run on servers of its own. The key `wrongs` holds the mismatches.

    labels: whether the labels of some models come by themselves.
    """
    faults, began = len(plan), time.monotonic()
    burst = max(1, events // max(1, sum(fault.kind.bursts for fault in plan)))
    messages, late = partial(traffic, seed, events, labels=labels), LateLabels(seed) if labels else None
    with (
        open_site(directory, topology, fsync, messages, burst, Pager(seed), late) as site,
        _bar(console, f"seed {seed}", events, faults) as show,
    ):
        mismatches = _work(site, plan, events, show) + _stop(site) + site.mismatches
        mismatches += unexpected_ends(site.fleet.logs())
        seconds = time.monotonic() - began
        show("verdict", events, faults)
        outcome = _outcome(site)
        config, baselines = site.deployment.config, site.deployment.baselines
        loses = bool(site.cut_bytes or site.redis.replicas)
        verdict = judge_run(
            config, baselines, SPREAD, outcome, parsed_schemas(), site.exchanged, True, loses, site.deployment.versions
        )
        requests = without_answers(site.pager.requests, site.relay.logs())
        check_pages(verdict, outcome.alerts, requests, site.relay.interruptions)
    mismatches += verdict.mismatches
    recoveries = [*chain.from_iterable(site.watch.recoveries.values())] or [0.0]
    return {
        "seed": seed,
        "equal": not mismatches,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "messages": events,
        **verdict.figures,
        "topology": topology,
        "labels": "topic" if labels else "event",
        "appendfsync": fsync,
        "faults": faults,
        "transactions aborted": site.producer.aborted,
        "begun together": sum(fault.together for fault in plan),
        "kinds": coverage(plan, site.watch.recoveries),
        **log_counts(site.fleet.logs()),
        "bytes lost in power cuts": sum(site.cut_bytes),
        "workers started": site.fleet.started,
        **{f"workers ended with code {code}": count for code, count in sorted(site.fleet.exits.items())},
        **{f"relay ended with code {code}": count for code, count in sorted(site.relay.exits.items())},
        **{f"pager answered {how}": count for how, count in sorted(site.pager.answers.items())},
        "seconds to recover p50": round(median(recoveries), 1),
        "seconds to recover max": round(max(recoveries), 1),
        "seconds": round(seconds),
        "wrongs": mismatches[:_REPORTED],
    }


def coverage(plan: Sequence[Fault], recoveries: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """How often each kind of fault came, and the seconds to recover from it: p50 and max."""
    report: dict[str, dict[str, float]] = {}
    for kind, times in sorted(Counter(fault.kind.name for fault in plan).items()):
        seconds = recoveries.get(kind, ())
        spread = {"p50": round(median(seconds), 1), "max": round(max(seconds), 1)} if seconds else {}
        report[kind] = {"times": times, **spread}
    return report


def _work(site: Site, plan: Sequence[Fault], events: int, show: Show) -> list[str]:
    """Cause the faults while workers read, then wait until they have finished; a mismatch if they have not."""
    for _ in range(WORKERS):
        site.fleet.add()
    site.relay.start()
    site.watch.start()
    site.file.start()
    _until(lambda: "took over" in site.fleet.logs(), _TIMEOUT)
    site.producer.start()
    if site.producer.labels is not None:
        _let_all_partitions_begin(site, site.producer.labels)
    for i, fault in enumerate(plan, 1):
        _cause(site, fault, partial(_go_on, show, site, fault.kind.name, i))
    site.producer.release_rest()
    shown = partial(_go_on, show, site, "the rest", len(plan))
    done = _done(site, _TIMEOUT + events / _SLOWEST, shown)
    if site.producer.labels is not None and site.producer.error is None:
        site.stragglers = site.producer.send_stragglers(site.producer.labels)
        site.fleet.send(plan[0].victim, signal.SIGKILL)
        done = done and _done(site, _RECOVERY, partial(_go_on, show, site, "stragglers", len(plan)))
    if site.producer.error is not None:
        raise site.producer.error
    return [] if done else [f"not finished in time: {site.watch.now}, of {site.producer.appended}"]


def _done(site: Site, seconds: float, shown: Callable[[], None]) -> bool:
    """Wait until the workers have finished everything and said so by ticks; whether that came within `seconds`."""
    done = _until(lambda: _finished(site), seconds, shown, _SETTLED)
    _until(lambda: False, _TICKED, shown)
    return done and _until(lambda: _finished(site), _RECOVERY, shown)


def _let_all_partitions_begin(site: Site, labels: LabelTopic) -> None:
    """Wait until all that will be used have held an event: those that are known to hold none are not waited for."""
    labels.append(labels.source.first())
    site.producer.release_burst()

    def began() -> bool:
        now, all_read = site.watch.now, site.producer.sent and site.behind() <= 0
        return bool(all_read) and now.labels == tuple(labels.appended)

    _until(began, _TIMEOUT)
    _until(lambda: False, _TICKED)


def _cause(site: Site, fault: Fault, shown: Callable[[], None]) -> None:
    """Begin a fault in the middle of a pause, which is left out if the next fault begins together with it."""
    pause = 0.0 if fault.together else fault.pause / 2
    site.producer.release_burst()
    _until(lambda: False, pause, shown)
    _until(lambda: site.is_free(fault.kind), math.inf, shown)
    site.begin(fault)
    if fault.alone:
        _until(site.is_quiet, math.inf, shown)
    site.producer.release_burst()
    _until(site.watch.recovered, _RECOVERY if fault.alone else 0, shown)
    _until(lambda: False, pause, shown)


def _go_on(show: Show, site: Site, what: str, faults: int) -> None:
    """End the faults that are due and show the progress."""
    site.end_due()
    show(what, sum(site.watch.now.sealed), faults)


def _stop(site: Site) -> list[str]:
    """Stop threads, workers and relay; a mismatch for each process that ended with an error."""
    site.watch.stop()
    site.file.done.set()
    codes = [*site.fleet.stop(), site.relay.stop()]
    site.watch.read_progress()
    return [f"a process that got SIGTERM ended with exit code {code}" for code in codes if code]


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


def _finished(site: Site) -> bool:
    """Whether no fault lasts, all events are appended and sketched, all panes judged, all alerts published and sent."""
    producer = site.producer
    if not site.is_quiet() or producer.is_alive() or list(site.watch.now.sealed) != producer.appended:
        return False
    if producer.labels is not None and list(site.watch.now.labels) != producer.labels.appended:
        return False
    try:
        ends = site.deployment.ends(site.deployment.config.topics.panes)
    except KafkaError:  # one that has just come back may know of no broker yet
        return False
    if dict(enumerate(site.watch.now.judged)) != {p: ends.get(p) for p in range(PARTITIONS)} or _outboxes(site):
        return False
    return site.relay.is_done()


def _outboxes(site: Site) -> int:
    with connect_to(site.redis.direct) as client:
        keys = list(client.scan_iter(match="*:outbox", count=1000))
        return sum(int(client.llen(key)) for key in keys)


def _outcome(site: Site) -> Outcome:
    deployment, topics = site.deployment, site.deployment.config.topics
    # A worker that took over at the very end has published some panes again.
    ends, judged = deployment.ends(topics.panes), site.watch.now.judged
    skipped = {(p, offset) for p, at in enumerate(judged) for offset in range(at, ends[p])}
    return Outcome(
        [*site.eras, site.era(committed(site.kafka.broker.kafka.bootstrap, topics.predictions), skipped=skipped)],
        records(deployment, topics.alerts),
        records(deployment, f"{topics.panes}.dlq"),
        deployment.model_states(),
        _labels(site, site.producer.labels) if site.producer.labels else None,
    )


def _labels(site: Site, labels: LabelTopic) -> Labels:
    log = committed(labels.kafka, labels.topic)
    return Labels(labels.topic, log, records(site.deployment, f"{labels.topic}.dlq"), site.stragglers)


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
