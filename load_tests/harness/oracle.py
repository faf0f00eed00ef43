"""Events of made-up models as they lie on a topic, and what must be remembered and told after them: by replay.

The replay is the same pure pipeline in one process and one sequence, without Kafka, Redis, crash or rebalance.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.schema import AlertEvent
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import Pipeline

#: A stored memory: its parts by name, see `stream.codec.state`.
Parts = dict[str, bytes]

EPOCH = 1_767_225_600_000
#: What of an alert no log decides, and what only live ones have.
ENVELOPE = ("emitted_at", "mode", "commands")


def messages(model: str, count: int, first: int = 0, drift: tuple[int, int] = (0, 0), step: int = 1) -> list[bytes]:
    """Events first, first + 1, ... of a model, every `step` ms; from `drift[0]` to `drift[1]` its amount is 2 σ higher.

    The same event has the same bytes, in whatever portions it is asked for.
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
    """Several models' events in one log, one of each in turn."""
    return [message for row in zip(*logs, strict=True) for message in row]


def baseline_of(model: str, seed: str = "") -> Baseline:
    """What the model's traffic is like without drift. seed: makes it another. With few blocks, judges start soon."""
    rows = [orjson.loads(row) | {"model": model} for row in messages(f"{model} before {seed}", 2000)]
    return build_baseline([parse_event(orjson.dumps(row)) for row in rows], {"model": model}, BuildSettings(blocks=16))


@dataclass
class Replay:
    """The pipeline over logs by partition, given in any portions; the open runs at their ends stay open."""

    config: Config
    baselines: Mapping[str, Baseline]
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.config, self.baselines, mode="live")
        self._sketchers: dict[int, Any] = {}

    def read(self, partition: int, values: Sequence[bytes | None], first: int = 0) -> None:
        """The next messages of a partition, which begin at offset `first`."""
        if partition not in self._sketchers:
            self._sketchers[partition] = self._pipeline.sketcher(partition, first)
        runs, _, _ = self._sketchers[partition].consume(np.arange(first, first + len(values)), values)
        self._judge(runs)

    def close(self, partition: int, end: int) -> None:
        """End the open run of a partition, as its being idle does."""
        self._judge([self._sketchers[partition].close(end)])

    def _judge(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self.alerts += map(as_json, self._pipeline.judge(run))

    def model_states(self) -> dict[str, Parts]:
        """The parts of every model's memory, as they are stored."""
        memories = self._pipeline.states.items()
        return {model: state_delta(None, memory, self.baselines.get(model)).write for model, memory in memories}

    def sealed(self) -> dict[int, int]:
        """Where the last run that ended ends, by partition."""
        return {partition: each.cutter.start for partition, each in sorted(self._sketchers.items())}


def as_json(alert: AlertEvent[Any]) -> dict[str, Any]:
    """An alert as it is read from the alerts topic."""
    event: dict[str, Any] = orjson.loads(encode_alert(alert))
    return event


def alert_bodies(alerts: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Alerts by id, without what no log decides; those with equal ids must be equal."""
    by_id: dict[str, bytes] = {}
    for alert in alerts:
        body = {name: value for name, value in alert["data"].items() if name not in ENVELOPE}
        # The commands of a live alert stand at the end of its description too.
        body["description"] = body["description"].partition("\n$ ")[0]
        line = orjson.dumps({**alert, "time": None, "data": body})
        assert by_id.setdefault(body["id"], line) == line, "equal ids are equal alerts"
    return by_id


def events_counted(parts: Parts, given: Baseline | None) -> int:
    """How many events a stored memory has counted."""
    memory = restore_state(parts, given)
    state, learned = memory.judge, memory.learned
    judged = 0 if state is None else state.seen + (state.pending.content.n if state.pending else 0)
    return len(memory.sample) + judged + (learned.total.n if learned is not None else 0)


def event_or_none(message: bytes | None) -> Event | None:
    """The event in a message, None if the message is no event."""
    try:
        return parse_event(message)
    except EventError:
        return None
