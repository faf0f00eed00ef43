"""Synthetic traffic for operating characteristics: 20 independent features of five families."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.columns import Columns
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Incident, Step
from driftline.stream.judge.judge import Judge
from driftline.stream.panes.pane import Pane, Range

FAMILIES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "t2": lambda rng, n: rng.standard_t(2, size=n),
    "bernoulli": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "category": lambda rng, n: rng.choice(list("abcdefghij"), n, p=np.arange(10, 0, -1) / 55),
}
Batch = dict[str, np.ndarray]


def draw(rng: np.random.Generator, n: int) -> Batch:
    """n events of four features of each family, by signal name; None is a missing value."""
    return {
        f"features.{family}_{i}": make(rng, n).astype(object) for family, make in FAMILIES.items() for i in range(4)
    }


def baseline_of(batch: Batch, model: str = "synthetic", *, ordered: bool = True) -> Baseline:
    """The baseline of a batch, one event a second. ordered: whether it says that this is their order."""
    rows = zip(*batch.values(), strict=True)
    events = [
        Event(str(i), 10**12 + i * 1000, model, None, dict(zip(batch, row, strict=True))) for i, row in enumerate(rows)
    ]
    return build_baseline(events, {"model": model}, BuildSettings(ordered=ordered))


@dataclass
class Driver:
    """A judge without broker or clock: batches in, steps out. One pane holds `pane` events, as by default."""

    baseline: Baseline
    config: ModelConfig = field(default_factory=ModelConfig)
    pane: int = 250
    seen: int = 0

    def __post_init__(self) -> None:
        self.judge = Judge(self.baseline, self.config)
        self.state, self.incidents = self.judge.start(), dict[str, Incident]()

    def feed(self, batch: Batch) -> Iterator[tuple[int, Step]]:
        """Steps with the number of events seen when they were decided."""
        for pane in self.panes(batch):
            for step in self.take(pane):
                yield self.seen, step

    def panes(self, batch: Batch) -> Iterator[Pane[Sketch]]:
        """The panes of a batch, which are then seen."""
        columns = self.columns(batch)
        codes = self.baseline.encode(columns)
        for first in range(0, len(codes), self.pane):
            part = slice(first, first + self.pane)
            sketch = self.baseline.layout.sketch(codes[part], columns.numeric[part])
            run = Range(0, self.seen, self.seen + sketch.n)
            self.seen = run.end
            yield Pane(sketch, run.start * 1000, run.end * 1000, (run,))

    def take(self, pane: Pane[Sketch]) -> list[Step]:
        """Judge a pane."""
        self.state, self.incidents, steps = self.judge.judge(self.state, self.incidents, pane)
        return steps

    def columns(self, batch: Batch) -> Columns:
        numeric = [batch[each.name].astype(float) for each in self.baseline.fields if each.numeric]
        texts = [batch[each.name].tolist() for each in self.baseline.fields if not each.numeric]
        n = len(next(iter(batch.values())))
        return Columns(np.arange(n), np.arange(n), [""] * n, np.column_stack(numeric), texts, [])
