"""False pages of outcomes, observed beside promised: models that stay as right as they were, through the whole replay.

    nice python -m load_tests.bench.outcome_pages                         all kinds, 5 seeds each: some 10 minutes
    nice python -m load_tests.bench.outcome_pages --kinds independent rare --seeds 2 --json

Each run has a reference of 5,000 outcomes, of a baseline or learned live, and then 100,000 outcomes, in panes of 50.
One false alarm in 10,000 events is allowed, so that a few runs tell whether it is kept. A page is an incident of class
outcomes, or one that is open again.

Exit code 1: more pages than promised in all runs of a kind whose errors are independent (95 % Poisson bound). Kinds
marked with * depend on their past: they are shown, and not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from driftline.detectors.arrays import FloatArray
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.config.load import parse_config
from driftline.stream.events.parse import EventReader
from driftline.stream.judge.incidents import OUTCOMES, Status
from driftline.stream.replay.pipeline import Pipeline
from load_tests.bench.absence import above

RATE, REFERENCE, ROWS = 1e-4, 5000, 100_000
CONFIG = parse_config(
    f"""
panes: {{events: 50, seconds: null}}
defaults:
  clock: 50
  false_alarms_per_event: {RATE}
  learn_events: 1000
  outcomes: {{labels: event, learn: {REFERENCE}}}
"""
)
_EPOCH, _STEP = 1_767_225_600_000, 1000
_BATCH = 5000
Rng = np.random.Generator
# Prediction, score (None where there is none) and label of each row (n,), by draws (n,) in [0, 1] that decide them.
Rows = Callable[[Rng, FloatArray], Iterator[tuple[Any, float | None, Any]]]
# Draws (n,), uniform in [0, 1].
Draws = Callable[[Rng, int], FloatArray]


def independent(rng: Rng, n: int) -> FloatArray:
    """Draws that know nothing of each other."""
    return rng.random(n)


def remembering(keep: float, rng: Rng, n: int) -> FloatArray:
    """Draws of which each follows the last: the ranks of an AR(1)."""
    noise, last = rng.normal(scale=math.sqrt(1 - keep * keep), size=n), float(rng.normal())
    for i, each in enumerate(noise.tolist()):
        noise[i] = last = keep * last + each
    return np.asarray((np.argsort(np.argsort(noise)) + 0.5) / n)


def customers(events: float, rng: Rng, n: int) -> FloatArray:
    """Draws that come again and again, as those of a customer whom the model gets wrong: `events` times on average."""
    who = np.cumsum(rng.random(n) < 1 / events)
    return np.asarray(rng.random(int(who.max()) + 1)[who])


def two(chance: float, rng: Rng, draws: FloatArray) -> Iterator[tuple[Any, float | None, Any]]:
    """Two classes whose scores are right on average. chance: of the class that a high score means."""
    scores = np.round(rng.beta(1, 1 / chance - 1, len(draws)), 3).tolist()
    for score, draw in zip(scores, draws.tolist(), strict=True):
        predicted = score > 0.5
        wrong = draw < min(score, 1 - score)
        names = ("fine", "fraud")
        yield names[predicted], score, names[predicted != wrong]


def five(rng: Rng, draws: FloatArray) -> Iterator[tuple[Any, float | None, Any]]:
    """Five classes, without scores; one prediction in five is wrong."""
    predicted = rng.choice(5, len(draws), p=[0.5, 0.2, 0.15, 0.1, 0.05])
    others = (predicted + rng.integers(1, 5, len(draws))) % 5
    for own, other, draw in zip(predicted.tolist(), others.tolist(), draws.tolist(), strict=True):
        yield f"class {own}", None, f"class {other if draw < 0.2 else own}"


def numbers(rng: Rng, draws: FloatArray) -> Iterator[tuple[Any, float | None, Any]]:
    """Prices, whose errors are Laplace's, in proportion to them."""
    prices = rng.lognormal(3, 1, len(draws))
    errors = np.sign(draws - 0.5) * -np.log1p(-np.abs(2 * draws - 1) * (1 - 1e-12))
    for price, error in zip(prices.tolist(), errors.tolist(), strict=True):
        yield price, None, price * (1 + 0.1 * error)


@dataclass(frozen=True)
class Kind:
    """Outcomes without a change. promised: whether they are independent, as a rate per event supposes."""

    rows: Rows
    draws: Draws = independent
    promised: bool = True


KINDS: dict[str, Kind] = {
    "independent": Kind(partial(two, 0.25)),
    "rare": Kind(partial(two, 0.02)),
    "five classes": Kind(five),
    "numbers": Kind(numbers),
    "AR(1) 0.8": Kind(partial(two, 0.25), partial(remembering, 0.8), promised=False),
    "AR(1) 0.95": Kind(partial(two, 0.25), partial(remembering, 0.95), promised=False),
    "customers": Kind(partial(two, 0.25), partial(customers, 20), promised=False),
    "numbers, AR(1) 0.8": Kind(numbers, partial(remembering, 0.8), promised=False),
}


class Counted(NamedTuple):
    """Pages of a kind in `runs` runs, and how many are promised."""

    kind: str
    reference: str
    runs: int
    pages: int
    promised: float

    @property
    def is_kept(self) -> bool:
        """Whether chance explains as many pages as came, by what is promised."""
        return not KINDS[self.kind].promised or above(self.pages, self.promised) >= 0.05


def pages(kind: str, given: bool, seed: int, rows: int) -> int:
    """The pages of one run. given: whether a baseline has the reference; otherwise it is learned."""
    rng, chosen = np.random.default_rng([seed, 53]), KINDS[kind]
    # Without a baseline, its first 1,000 events make one, and the next 5,000 outcomes are the reference.
    known = REFERENCE if given else REFERENCE + 1000
    log = [*_messages(chosen, rng, known + rows)]
    baselines = {}
    if given:
        reader = EventReader(extras=["label"])
        events = [event for each in log[:known] for event in reader.read(each).events]
        baselines["m"] = replace(build_baseline(events, {"model": "m"}), outcomes=outcomes_of(events))
    pipeline, live = Pipeline(CONFIG, baselines, keeps_history=True), log[known:] if given else log
    sketcher = pipeline.sketcher(0, 0)
    for first in range(0, len(live), _BATCH):
        part = live[first : first + _BATCH]
        for run in sketcher.consume(np.arange(first, first + len(part)), part).runs:
            pipeline.judge(run)
            pipeline.tick_after(run)
    own = [step for _, step in pipeline.steps if step.incident.scope == OUTCOMES]
    return sum(step.status is Status.FIRING or step.reopened for step in own)


def _messages(kind: Kind, rng: Rng, n: int) -> Iterator[bytes]:
    for i, (predicted, score, label) in enumerate(kind.rows(rng, kind.draws(rng, n))):
        event = {"id": str(i), "ts": _EPOCH + _STEP * i, "model": "m", "prediction": predicted, "label": label}
        yield orjson.dumps(event | ({} if score is None else {"score": score}))


def main() -> int:
    """Count, print, and compare with what is promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS, help="outcomes of a run, after the reference")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = list[Counted]()
    cells = [(kind, given) for kind in options.kinds for given in (True, False) if given or "numbers" not in kind]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("runs", total=len(cells) * options.seeds)
        for kind, given in cells:
            count = 0
            for seed in range(options.seeds):
                count += pages(kind, given, seed, options.rows)
                progress.advance(task)
            promised = RATE * options.rows * options.seeds
            found.append(Counted(kind, "baseline" if given else "learned", options.seeds, count, promised))
    if options.json:
        print(json.dumps([{**each._asdict(), "is_kept": each.is_kept} for each in found], indent=2))
    else:
        _print(found)
    return int(not all(each.is_kept for each in found))


def _print(found: list[Counted]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("kind", "reference", "runs", "pages", "promised"):
        table.add_column(heading, justify="left" if heading in ("kind", "reference") else "right")
    for each in found:
        name = each.kind + "*" * (not KINDS[each.kind].promised)
        mark = "" if each.is_kept else " too many"
        table.add_row(name, each.reference, str(each.runs), f"{each.pages}{mark}", f"{each.promised:.0f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
