"""Events that hold their label: how often a model is right is planted, and counted directly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.events.parse import EventReader
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import LogBatch, Pipeline

EPOCH = 1_767_225_600_000
#: Milliseconds from event to event.
STEP = 1000
CONFIG = """
panes: {events: 50}
models: {fraud: {clock: 50, false_alarms_per_event: 1.0e-5, outcomes: {labels: event%s}}}
"""


def configured(more: str = "") -> Config:
    return parse_config(CONFIG % more)


def messages(
    n: int,
    seed: int = 0,
    first: int = 0,
    concept: Callable[[int], float] | None = None,
    correlation: float = 0.0,
    **values: Any,
) -> list[bytes]:
    """n events: `score` is the chance of fraud, of which labels are drawn; concept: how far they are pulled to a coin.

    correlation: of each draw with the one before. values: replace those of each event.
    """
    rng = np.random.default_rng([seed, 77])
    score = np.round(rng.beta(1, 3, n), 3)
    amount, noise = rng.normal(size=n), rng.normal(size=n)
    for i in range(1, n if correlation else 0):
        noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    ranks = np.argsort(np.argsort(noise)) / n
    rows = []
    for i, (p, x, u) in enumerate(zip(score.tolist(), amount.tolist(), ranks.tolist(), strict=True)):
        chance = p + (concept(i) if concept else 0.0) * (0.5 - p)
        row = {
            "id": f"e-{first + i}", "ts": EPOCH + STEP * (first + i), "model": "fraud", "features": {"amount": x},
            "score": p, "prediction": "fraud" if p > 0.5 else "fine",
            # A large draw is wrong: so neighbouring errors are alike, whatever their scores.
            "label": _label(p, chance, u),
        }  # fmt: skip
        rows.append(orjson.dumps(row | values))
    return rows


def _label(score: float, chance: float, draw: float) -> str:
    wrong = min(chance, 1 - chance) if (score > 0.5) == (chance > 0.5) else max(chance, 1 - chance)
    predicted, other = ("fraud", "fine") if score > 0.5 else ("fine", "fraud")
    return other if draw < wrong else predicted


def events(log: Iterable[bytes]) -> list[Event]:
    reader = EventReader(extras=["label"])
    return [event for message in log for event in reader.read(message).events]


def baseline_of(log: Sequence[bytes], with_outcomes: bool = True, **about: Any) -> Baseline:
    own = events(log)
    built = build_baseline(own, {"model": "fraud", **about}, BuildSettings(blocks=16))
    return replace(built, outcomes=outcomes_of(own)) if with_outcomes else built


def confusion(log: Iterable[bytes]) -> Counter[tuple[str, str]]:
    """Outcomes by prediction and label, counted one by one."""
    rows = map(orjson.loads, log)
    return Counter((row["prediction"], row["label"]) for row in rows if row.get("label") is not None)


def ran(log: Sequence[bytes], config: Config, *baselines: Baseline, size: int = 1000, **options: Any) -> Pipeline:
    """A replay of a log of one partition in chunks of `size`, with all alerts in `steps`."""
    pipeline = Pipeline(config, {each.model: each for each in baselines}, keeps_history=True, **options)
    sketcher = pipeline.sketcher(0, 0)
    for first in range(0, len(log), size):
        part = LogBatch(np.arange(first, min(first + size, len(log))), log[first : first + size])
        for run in sketcher.consume(part.offsets, part.messages).runs:
            _judged(pipeline, run)
    _judged(pipeline, sketcher.close(len(log)))
    return pipeline


def _judged(pipeline: Pipeline, run: Run) -> None:
    pipeline.judge(run)
    pipeline.tick_after(run)
