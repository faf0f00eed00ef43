"""The Prometheus metrics of a worker."""

from __future__ import annotations

import re
from collections import Counter as Counts
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

from faust.types import TP
from prometheus_client import Counter, Gauge, Histogram

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.codec.state import StateDelta
from driftline.stream.events.limits import limit_of
from driftline.stream.events.unreadable import Unreadable
from driftline.stream.judge.incidents import Incident, Status
from driftline.stream.judge.promise import Promise
from driftline.stream.judge.waiting import Waiting
from driftline.stream.ops.http import own_registry
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.sketcher import Sketched
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.incident_metrics import IncidentMetrics
from driftline.stream.worker.outcome_metrics import JoinMetrics, PerformanceMetrics

# s. A commit to a near Redis takes 1 ms; one that takes 1 s means trouble.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# Models in labels: a name is free text in the events, and each makes time series of its own.
_MAX_MODELS = 100

# Models in the answer of /health: enough to see a pattern in invented names.
_LAST_MODELS = 10

_VALUE = attrgetter("value")


@dataclass
class NoRoom:
    """Panes since the start of models without a baseline that were refused for lack of room; the last such models."""

    panes: int = 0
    models: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_MODELS))

    def add(self, model: str) -> None:
        """Count a pane of a model; the model becomes the last one."""
        self.panes += 1
        if model in self.models:
            self.models.remove(model)
        self.models.append(model)

    def fields(self) -> dict[str, Any]:
        """What /health says of it: the last models come last."""
        return {"panes": self.panes, "models": list(self.models)}


class Metrics:
    """The counters of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = own_registry()
        count, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._events = count("driftline_events", "Records read from the predictions topic")
        self._bytes = count("driftline_bytes", "Bytes of these records")
        self._dead_letters = count("driftline_dead_letters", "Records sent to the dead-letter topic", ["reason"])
        self._accepted = count("driftline_accepted_events", "Events read from these records")
        self._rejected = count("driftline_rejected", "Records, or rows of records, that are no events", ["reason"])
        self._limited = count("driftline_limited", "Messages, events and panes refused because of a limit", ["limit"])
        self._unwatched = gauge(
            "driftline_unwatched_fields", "Fields of the events that no signal watches", ["model", "reason"]
        )
        self._forgotten = count(
            "driftline_models_forgotten", "Models that were forgotten, on request or for lack of room"
        )
        self._panes = count("driftline_panes", "Panes published")
        self._ticks = count("driftline_ticks", "Ticks sent, of all partitions")
        self._judge = Histogram(
            "driftline_judge_seconds", "Time to judge a batch of panes", buckets=_BUCKETS, registry=registry
        )
        self._commit = Histogram(
            "driftline_commit_seconds", "Time to commit a batch to Redis", buckets=_BUCKETS, registry=registry
        )
        self._written = count("driftline_state_written_bytes", "Bytes of state written to Redis")
        self._alerts = count("driftline_alerts", "Alerts decided", ["status"])
        self._pages = count("driftline_pages", "Incidents that began, by model: each is a page", ["model"])
        self._promised = gauge(
            "driftline_pages_promised",
            "False pages in 30 days that the configuration allows, at the traffic of the model",
            ["model"],
        )
        self._performance = PerformanceMetrics(registry)
        self._joins = JoinMetrics(registry)
        self._models = dict[str, None]()
        self._incidents = IncidentMetrics(registry)
        self._lag = gauge("driftline_lag_records", "Records not yet read", ["topic", "partition"])
        self._removed = count(
            "driftline_records_removed_unread",
            "Records removed, as by retention, before they were read",
            ["topic", "partition"],
        )
        self.no_room = NoRoom()
        self.removed_unread = 0  #: of all partitions, since the start
        self.level = 0  #: the group's format level; 0 before it is known
        self._passed_over = count(
            "driftline_records_passed_over", "Records in batches that could not be unpacked", ["topic", "partition"]
        )
        self._progress = gauge("driftline_last_progress_timestamp_seconds", "When work was last done")
        self._progress.set_to_current_time()
        self._lags: dict[tuple[str, int], int] = {}

    def sketched(self, fetch: Fetch, sketched: Sketched) -> None:
        """Count the records of a sketched fetch, and its dead letters by reason."""
        self._events.inc(len(fetch.records))
        self._bytes.inc(sum(map(len, filter(None, map(_VALUE, fetch.records)))))
        defects = [defect.reason for _, defect in sketched.defects]
        for reason in [rejection.reason for rejection in sketched.rejections] + defects:
            self._dead_letters.labels(_reason_label(reason)).inc()
        self._accepted.inc(sketched.events)
        for rejection in sketched.rejections:
            self._rejected.labels(_reason_label(rejection.reason)).inc()
        self.limited(rejection.reason for rejection in sketched.rejections)
        self._record_progress(fetch)

    def read_labels(self, fetch: Fetch, sketched: Sketched) -> None:
        """Count the records of fetched labels, and their dead letters by reason."""
        self._joins.read(len(fetch.records))
        for rejection in sketched.rejections:
            self._dead_letters.labels(_reason_label(rejection.reason)).inc()
        self.limited(rejection.reason for rejection in sketched.rejections)
        self._record_progress(fetch)

    def joined(self, model: str, waiting: Waiting) -> None:
        """Set what became of the predictions and labels of a model, and what waits."""
        if self.shows(model):
            self._joins.set(model, waiting)

    def limited(self, reasons: Iterable[str]) -> None:
        """Count those reasons of dead letters that name a limit."""
        for limit in filter(None, map(limit_of, reasons)):
            self._limited.labels(limit).inc()

    def set_unwatched(self, fields: Iterable[Unwatched]) -> None:
        """Set the number of unwatched fields by model and reason, of the first models by name."""
        counts = Counts((each.model, each.why.value) for each in fields)
        models = sorted({model for model, _ in counts})[:_MAX_MODELS]
        self._unwatched.clear()
        for (model, reason), count in counts.items():
            if model in models:
                self._unwatched.labels(model, reason).set(count)

    def published_panes(self, count: int) -> None:
        """Count published panes."""
        self._panes.inc(count)

    def sent_tick(self) -> None:
        """Count a tick that was sent."""
        self._ticks.inc()

    def dead_lettered(self, count: int) -> None:
        """Count panes that became dead letters. Their reasons name models, which may be too many for labels."""
        self._dead_letters.labels("pane").inc(count)

    def forgotten(self, count: int) -> None:
        """Count models that were forgotten."""
        self._forgotten.inc(count)

    def judged(self, fetch: Fetch, seconds: float) -> None:
        """Record how long a batch of the panes topic took to judge."""
        self._judge.observe(seconds)
        self._record_progress(fetch)

    def decided(self, alerts: Iterable[IncidentAlert]) -> None:
        """Count decided alerts."""
        for alert in alerts:
            self._alerts.labels(alert.data.status.value).inc()
            if alert.data.status is Status.FIRING and self.shows(model := alert.data.labels.get("model", "")):
                self._pages.labels(model).inc()

    def promised(self, promise: Promise) -> None:
        """Set how many false pages are allowed of a model."""
        if promise.pages is not None and self.shows(promise.model):
            self._promised.labels(promise.model).set(promise.pages)
            self._pages.labels(promise.model)  # it is 0 before the first page

    def performed(self, model: str, figures: Mapping[str, Mapping[str, float]], versions: Collection[str]) -> None:
        """Set how well versions of a model do that is shown, by metric; "" is all that has no baseline of its own.

        versions: all that the model has; those that are gone are dropped.
        """
        self._performance.set(model, figures, versions)

    def shows(self, model: str) -> bool:
        """Whether a model has time series of its own: the first ones have."""
        if model and len(self._models) < _MAX_MODELS:
            self._models[model] = None
        return model in self._models

    def committed(self, seconds: float, deltas: Mapping[str, StateDelta]) -> None:
        """Record how long a commit took, and how many bytes of state it wrote."""
        self._commit.observe(seconds)
        self._written.inc(sum(len(part) for delta in deltas.values() for part in delta.write.values()))

    def open_incidents(self, incidents: Sequence[tuple[str, Incident]]) -> None:
        """Set the incidents open in this worker's partitions, each with its model, "" for the topic."""
        self._incidents.set([(model if self.shows(model) else "", each) for model, each in incidents])

    def set_lags(self, lags: Mapping[TP, int]) -> None:
        """Set the records not yet read of each partition of this worker, and forget all other partitions."""
        self._lag.clear()
        self._lags = {(tp.topic, tp.partition): self._show_lag(tp, lag) for tp, lag in lags.items()}

    def _show_lag(self, tp: TP, lag: int) -> int:
        self._lag.labels(tp.topic, str(tp.partition)).set(lag)
        return lag

    def removed(self, tp: TP, count: int) -> None:
        """Count records of a partition that were removed before they were read."""
        self._removed.labels(tp.topic, str(tp.partition)).inc(count)
        self.removed_unread += count

    def _count_passed_over(self, fetch: Fetch) -> None:
        """Count the offsets of the batches of a fetch that could not be unpacked."""
        for message in map(_VALUE, fetch.records):
            if isinstance(message, Unreadable):
                labels = fetch.tp.topic, str(fetch.tp.partition)
                self._passed_over.labels(*labels).inc(message.end - message.start)

    def lag_by_topic(self) -> dict[str, int]:
        """Records not yet read, by topic."""
        topics = Counts[str]()
        for (topic, _), lag in list(self._lags.items()):
            topics[topic] += lag
        return topics

    def _record_progress(self, fetch: Fetch) -> None:
        self._count_passed_over(fetch)
        self._progress.set_to_current_time()
        if fetch.highwater is not None:
            tp, lag = fetch.tp, fetch.highwater - fetch.next_offset
            self._lags[tp.topic, tp.partition] = self._show_lag(tp, lag)


def _reason_label(reason: str) -> str:
    """A dead letter's reason without what it quotes, so that labels are few: "ts: expected RFC 3339"."""
    return re.split(r", got |, which |: not valid| at byte |: Expecting|: Invalid| \d", reason)[0][:60]
