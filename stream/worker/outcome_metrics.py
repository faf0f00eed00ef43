"""The Prometheus metrics of labels and of how well models do, of a worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from driftline.stream.judge.waiting import Waiting


class JoinMetrics:
    """What became of labels, and of the predictions that wait for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._labels = Counter("driftline_labels", "Records read from the labels topic", registry=registry)
        self._joined = Gauge(
            "driftline_joined",
            "Predictions and labels that were joined, or not, by what became of them",
            ["model", "what"],
            registry=registry,
        )
        self._pending = [
            Gauge(f"driftline_labels_{name}", text, ["model"], registry=registry)
            for name, text in (
                ("pending", "Predictions that wait for their label"),
                ("pending_bytes", "Bytes in memory of all that is remembered to be joined"),
                ("oldest_timestamp_seconds", "Time of the earliest prediction that waits; 0 without any"),
                ("sampled", "Share of the predictions that are joined; below 1, there are more than max_pending"),
            )
        ]

    def read(self, records: int) -> None:
        """Count records of the labels topic."""
        self._labels.inc(records)

    def set(self, model: str, waiting: Waiting) -> None:
        """Set what became of the predictions and labels of a model, and what waits."""
        for what, count in waiting.counts._asdict().items():
            self._joined.labels(model, what).set(count)
        values = waiting.pending, waiting.nbytes, (waiting.oldest or 0) / 1000, 0.5**waiting.halvings
        for gauge, value in zip(self._pending, values, strict=True):
            gauge.labels(model).set(value)


class PerformanceMetrics:
    """The metrics of the newest outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._performance = Gauge(
            "driftline_performance",
            "Metrics of the newest outcomes, by version where it has a baseline of its own",
            ["model", "version", "metric"],
            registry=registry,
        )
        self._shown = dict[str, set[tuple[str, str]]]()

    def set(self, model: str, figures: Mapping[str, Mapping[str, float]], versions: Collection[str]) -> None:
        """Set metrics by version, and drop those of versions that are not among `versions`, all that the model has."""
        shown = self._shown.setdefault(model, set())
        for version, metric in [each for each in shown if each[0] not in versions]:
            shown.discard((version, metric))
            self._performance.remove(model, version, metric)
        for version, own in figures.items():
            shown.update((version, metric) for metric in own)
            for metric, value in own.items():
                self._performance.labels(model, version, metric).set(value)
