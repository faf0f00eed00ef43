"""Driftline on the same values as its peers: all of its judge on a model of 20 signals, and `EDetector` on the one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.online.edetector import EDetector
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from load_tests.bench.days import events
from load_tests.bench.detection import MODEL, RATE, values
from load_tests.bench.peers.cases import PER_VALUE, Alarmed, Case, Peer
from load_tests.bench.peers.drifts import DRIFTS

# Events of the baseline, quiet ones before the drift, and those it is waited for.
_KNOWN, _BEFORE, _PATIENCE = 20_000, 5000, 30_000
#: The most events of a pane, by which delays are judged, and other sizes.
PANES = (250, 50)
#: Kinds of `detection.values` without a drift, and the days of baseline that each needs.
TRAFFIC = {"nothing": 2.4, "ar 0.8": 5.8, "ar 0.95": 5.8, "sessions": 5.8, "level": 5.8}


@dataclass(frozen=True, eq=False)
class Model:
    """Twenty signals of one kind. known: events of the baseline. at: index from which the first drifts; None: never."""

    traffic: Mapping[str, FloatArray]
    known: int
    at: int | None = None

    @cached_property
    def name(self) -> str:
        """Of the first signal."""
        return next(iter(self.traffic))

    @cached_property
    def case(self) -> Case:
        """The first signal, as peers see it."""
        return Case(self.traffic[self.name], self.known, self.at)

    @cached_property
    def _baseline(self) -> Baseline:
        rows = list(events(dict(self.traffic), 0, self.known))
        return build_baseline(rows, {"model": "m"}, BuildSettings(timezone="UTC")).with_derived()

    def steps(self, pane: int, rate: float = RATE) -> Iterator[tuple[int, Step]]:
        """The steps of incidents on what follows the baseline, with the event after each."""
        config = ModelConfig(false_alarms_per_event=rate, clock=pane)
        monitor, state = Monitor("m", config, self._baseline, **monitor_settings()), ModelState()
        end = len(self.case.values)
        for start in range(self.known, end, pane):
            part = list(events(dict(self.traffic), start, min(start + pane, end)))
            slots, counts = np.unique([event.ts // SLOT_MS for event in part], return_counts=True)
            content, run = self._baseline.sketch_events(part), Range(0, start, start + len(part))
            slotted = tuple(zip(slots.tolist(), counts.tolist(), strict=True))
            state, steps = monitor.judge(state, Pane(content, part[0].ts, part[-1].ts, (run,), slotted))
            yield from ((start + len(part), step) for step in steps)

    def delay(self, pane: int, rate: float = RATE) -> int | None:
        """Events from the drift to the first alarm after it that names the signal; None if none comes."""
        at = self.case.values.size if self.at is None else self.at
        seen = (
            end - at for end, step in self.steps(pane, rate) if any(each.signal == self.name for each in step.findings)
        )
        return next((each for each in seen if each > 0), None)

    def false_pages(self, pane: int) -> int:
        """Pages of all signals."""
        return sum(step.status is Status.FIRING for _, step in self.steps(pane))


def drifting(drift: str, seed: int) -> Model:
    """A model whose first signal drifts."""
    rng = np.random.default_rng([seed, *drift.encode()])
    model = _model("nothing", rng, _KNOWN, _BEFORE + _PATIENCE)
    at, drifted = _KNOWN + _BEFORE, model.case.values.copy()
    drifted[at:] = DRIFTS[drift].of(rng, drifted[at:])
    return replace(model, traffic={**model.traffic, model.name: drifted}, at=at)


def quiet(kind: str, live: int) -> Model:
    """A model without a drift. live: events after the baseline."""
    known = int(TRAFFIC[kind] * 8640) // PANES[0] * PANES[0]
    return _model(kind, np.random.default_rng([0, *kind.encode()]), known, live)


def _model(kind: str, rng: np.random.Generator, known: int, live: int) -> Model:
    return Model({f"features.{kind} {i}": values(kind, rng, known + live, i / MODEL) for i in range(MODEL)}, known)


def _proving(known: FloatArray) -> Alarmed:
    ranked, detector = np.sort(known), EDetector(0.5, alpha=PER_VALUE)

    def alarmed(value: float) -> bool:
        detector.update(float(np.searchsorted(ranked, value)) / len(ranked))
        return detector.drift_detected

    return alarmed


#: An e-detector of ranks in the baseline: it proves its rate.
EDETECTOR = Peer("EDetector", _proving)
