"""Events of invented models, and a replay that says which model states and alerts must follow from them.

The replay runs the same pure pipeline in one process and one sequence, without Kafka, Redis, crash or rebalance.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.alerts.schema import AlertEvent
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import FORMAT_VERSION
from driftline.stream.baselines.given import Versions
from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.judge.state import TrackState
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import Pipeline
from load_tests.harness.ticks_heard import NOTHING, Heard, HeardWith

#: A stored model state: its parts by name, see `stream.codec.state`.
Parts = dict[str, bytes]

EPOCH = 1_767_225_600_000
#: Fields of an alert that do not depend on the log, or that only live alerts have.
ENVELOPE = ("emitted_at", "mode", "commands")


def messages(model: str, count: int, first: int = 0, drift: tuple[int, int] = (0, 0), step: int = 1) -> list[bytes]:
    """Events first, first + 1, ... of a model, every `step` ms; from `drift[0]` to `drift[1]` amount is 2 σ higher.

    An event has the same bytes in every call that returns it.
    """
    rng = np.random.default_rng(zlib.crc32(model.encode()))
    rows = rng.normal(size=(first + count, 3)).tolist()
    return [
        orjson.dumps(
            {
                "id": f"{model}-{i}",
                "ts": EPOCH + step * i,
                "model": model,
                "features": {
                    "amount": amount + 2.0 * (drift[0] <= i < drift[1]),
                    "country": "at" if place > 1 else "ch",
                },
                "score": score,
            }
        )
        for i, (amount, score, place) in enumerate(rows[first:], first)
    ]


def interleave(*logs: Sequence[bytes]) -> list[bytes]:
    """The logs merged into one, with a message of each in turn. They must be equally long."""
    return [message for row in zip(*logs, strict=True) for message in row]


def baseline_of(model: str, seed: str = "", format_version: int = FORMAT_VERSION) -> Baseline:
    """A baseline of the model's traffic without drift, of few blocks, so that judging starts soon. seed: any text."""
    rows = [orjson.loads(row) | {"model": model} for row in messages(f"{model} before {seed}", 2000)]
    settings = BuildSettings(blocks=16, format_version=format_version)
    return build_baseline([parse_event(orjson.dumps(row)) for row in rows], {"model": model}, settings)


@dataclass
class Replay:
    """The pipeline over the logs of partitions, read in any portions; runs at their ends stay open.

    level: format level of the group. heard: the ticks that its judges have heard, see `TicksHeard`; without them, none.
    versions: the baselines of versions that have their own.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    level: int = NEWEST
    heard: HeardWith = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    versions: Versions = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.config, self.baselines, mode="live", level=self.level, versions=self.versions)
        self._sketchers: dict[int, Any] = {}

    def read(self, partition: int, values: Sequence[bytes | None], first: int = 0) -> None:
        """Read the next messages of a partition; the first has offset `first`."""
        if partition not in self._sketchers:
            self._sketchers[partition] = self._pipeline.sketcher(partition, first)
        runs = self._sketchers[partition].consume(np.arange(first, first + len(values)), values).runs
        self._judge(runs)

    def close(self, partition: int, end: int) -> None:
        """End the open run of a partition, as the idle timeout does."""
        self._judge([self._sketchers[partition].close(end)])

    def _judge(self, runs: Iterable[Run]) -> None:
        for run in runs:
            for model, pane in run.panes.items():
                then, *ticks = self.heard.get((model, pane.ranges[0]), NOTHING)
                self._pipeline.ticks, self._pipeline.until = then.ticks, then.until
                self.alerts += map(as_json, self._pipeline.judge(run._replace(panes={model: pane})))
                for each in ticks:
                    self.alerts += map(as_json, self._tick(model, each))

    def _tick(self, model: str, heard: Heard) -> list[AlertEvent[Any]]:
        own, monitor = self._pipeline, self._pipeline.monitors[model]
        own.states[model], steps = monitor.tick(own.states[model], *heard)
        return [build_alert(monitor, each, mode="live", topic=own.topic_name, emitted_at=each.at) for each in steps]

    def model_states(self) -> dict[str, Parts]:
        """The parts of every model's state, as they are stored."""
        states = self._pipeline.states.items()
        return {model: state_delta(None, state).write for model, state in states}

    def sealed(self) -> dict[int, int]:
        """The end of the last run that has ended, by partition."""
        return {partition: each.cutter.start for partition, each in sorted(self._sketchers.items())}


def as_json(alert: AlertEvent[Any]) -> dict[str, Any]:
    """An alert as it is read from the alerts topic."""
    event: dict[str, Any] = orjson.loads(encode_alert(alert))
    return event


def alert_bodies(alerts: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Alerts by id, without what does not depend on the log. AssertionError if two with one id differ."""
    by_id: dict[str, bytes] = {}
    for alert in alerts:
        body = {name: value for name, value in alert["data"].items() if name not in ENVELOPE}
        # The description of a live alert ends with its commands.
        body["description"] = body["description"].partition("\n$ ")[0]
        line = orjson.dumps({**alert, "time": None, "data": body})
        assert by_id.setdefault(body["id"], line) == line, "equal ids are equal alerts"
    return by_id


def events_counted(parts: Parts, given: Baseline | None) -> int:
    """The number of events that a stored model state has counted."""
    model = restore_state(parts, given)
    tracks = [TrackState(model.sample, model.learned, model.judge), *model.tracks.values()]
    learned = sum(each.learned.total.n for each in tracks if each.learned is not None)
    return sum(len(each.sample) for each in tracks) + sum(each.end for each in model.judges) + learned


def event_or_none(message: bytes | None) -> Event | None:
    """The event in a message, None if the message is no event."""
    try:
        return parse_event(message)
    except EventError:
        return None
