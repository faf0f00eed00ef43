"""Pages of changes so small that nobody minds, on traffic where they are significant, by the least change that pages.

    nice python -m load_tests.bench.small                          3 seeds of each change: some 15 minutes
    nice python -m load_tests.bench.small --seeds 1 --json

A model of six signals has a baseline of a million independent events, or of 50,000. From the first live event on, one
of its signals is a little different; a million events follow, in panes of 1,000. One false page in a million events is
allowed. Counts are drawn by code, from the shares that a normal distribution, or categories, have.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import erf, sqrt
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Grid, Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.bins import dispersions_of_blocks
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.slopes import slopes_of_blocks
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range

#: Events of the layout, of the baselines, those that follow, of a pane; and milliseconds from one to the next.
SHAPED_BY, KNOWN, LIVE, PANE, STEP = 20_000, (50_000, 1_000_000), 1_000_000, 1000, 100
_BLOCKS, _START = 2048, 1_700_000_000_000
_SIGNALS = tuple(f"features.{kind} {i}" for kind in ("number", "category") for i in range(3))
_DRIFTS = {"number": _SIGNALS[0], "category": _SIGNALS[3]}
_NAMES = np.array([f"c{i}" for i in range(10)])
_SHARES = np.arange(1, 11) ** -0.9 / (np.arange(1, 11) ** -0.9).sum()
_MISSING = 0.02

Rng = np.random.Generator


@dataclass(frozen=True)
class Law:
    """How a signal's events are distributed: a number, or a category whose first value loses to its second."""

    shift: float = 0.0
    scale: float = 1.0
    missing: float = _MISSING
    moved: float = 0.0
    unseen: float = 0.0

    def shares(self, layout: Layout, signal: int) -> FloatArray:
        """The shares (K,) of the codes of a signal in a layout."""
        coder, special = layout.signals[signal].coder, np.zeros(len(Special))
        if isinstance(coder, Grid):
            below = [0.0, *((1 + erf((cut - self.shift) / self.scale / sqrt(2))) / 2 for cut in coder.cuts), 1.0]
            regular, special[Special.MISSING] = np.diff(below), self.missing
        else:
            known = _SHARES + self.moved * np.array([-1.0, 1.0, *[0.0] * 8])
            regular = known[[int(str(value)[1:]) for value in coder.values]]
            special[Special.UNSEEN] = self.unseen
        return np.concatenate([regular * (1 - special.sum()), special])


CHANGES: Mapping[str, tuple[str, Law]] = {
    "none": ("number", Law()),
    "mean 0.005 σ": ("number", Law(shift=0.005)),
    "mean 0.01 σ": ("number", Law(shift=0.01)),
    "mean 0.02 σ": ("number", Law(shift=0.02)),
    "mean 0.05 σ": ("number", Law(shift=0.05)),
    "spread × 1.005": ("number", Law(scale=1.005)),
    "spread × 1.01": ("number", Law(scale=1.01)),
    "missing 2 → 2.1 %": ("number", Law(missing=0.021)),
    "share 0.3 points": ("category", Law(moved=0.003)),
    "share 1 point": ("category", Law(moved=0.01)),
    "unseen 0.003 %": ("category", Law(unseen=0.00003)),
    "unseen 0.02 %": ("category", Law(unseen=0.0002)),
}

RULES: Mapping[str, SignalRule] = {
    "any": SignalRule(min_distance=0.0, min_share=0.0),
    "default": SignalRule(),
    "a point": SignalRule(min_distance=0.01, min_share=0.002),
}


@cache
def layout() -> Layout:
    """The layout of the model's signals."""
    rng = np.random.default_rng(1)
    numbers = np.where(rng.random((3, SHAPED_BY)) < _MISSING, None, rng.standard_normal((3, SHAPED_BY)).astype(object))
    columns = [*numbers, *rng.choice(_NAMES, (3, SHAPED_BY), p=_SHARES).astype(object)]
    rows = enumerate(zip(*columns, strict=True))
    events = [Event(str(i), _START + i * STEP, "m", None, dict(zip(_SIGNALS, row, strict=True))) for i, row in rows]
    return build_baseline(events, {"model": "m"}).layout


def drawn(rng: Rng, events: int, panes: int, laws: Mapping[str, Law]) -> IntArray:
    """Counts (panes, C) of `events` events in each of some panes. laws: of the signals that are not as usual."""
    shape = layout()
    counts = np.zeros((panes, shape.width), np.int64)
    for s, signal in enumerate(shape.signals):
        shares = laws.get(signal.name, Law()).shares(shape, s)
        counts[:, shape.columns[s]] = rng.multinomial(events, shares / shares.sum(), size=panes)
    return counts


def sketch(counts: IntArray) -> Sketch:
    """The sketch of counts (C,), without moments, which only describe a change."""
    shape = layout()
    numeric = len(shape.numeric)
    extremes = np.array([[-5.0] * numeric, [5.0] * numeric])
    return Sketch(int(shape.events(counts)), counts, np.zeros((2, numeric), np.int64), extremes)


def baseline(rng: Rng, known: int) -> Baseline:
    """A baseline of as many events as usual."""
    blocks = drawn(rng, known // _BLOCKS, _BLOCKS, {})
    about = {"model": "m", "time_from": _START - known * STEP, "time_to": _START, "settings": {"ordered": True}}
    made = Baseline.of(layout(), blocks, sketch(blocks.sum(0)), about)
    slopes = slopes_of_blocks(layout(), blocks)
    return replace(made, slopes=slopes, bins=dispersions_of_blocks(layout(), blocks, slopes)).with_derived()


def first_page(change: str, known: int, seed: int, rule: SignalRule) -> tuple[int | None, int]:
    """Events until the signal that changes is in a page, None if it is in none, and all pages."""
    rng = np.random.default_rng([seed, known, *change.encode()])
    kind, law = CHANGES[change]
    config = ModelConfig(signals=Signals(rules={"*": rule}))
    monitor, state = Monitor("m", config, baseline(rng, known), **monitor_settings()), ModelState()
    pages, first = 0, None
    for at, counts in enumerate(drawn(rng, PANE, LIVE // PANE, {_DRIFTS[kind]: law})):
        start, when = at * PANE, _START + at * PANE * STEP
        run = Range(0, start, start + PANE)
        state, steps = monitor.judge(state, Pane(sketch(counts), when, when + (PANE - 1) * STEP, (run,)))
        for step in (each for each in steps if each.status is Status.FIRING):
            pages += 1
            if first is None and any(each.signal == _DRIFTS[kind] for each in step.findings):
                first = run.end
    return first, pages


def run(change: str, known: int, seeds: int) -> dict[str, Any]:
    """A change over some seeds: how often, and when, it pages; by each of `RULES`."""
    found: dict[str, Any] = {"change": change, "baseline": known}
    for name, rule in RULES.items():
        each = [first_page(change, known, seed, rule) for seed in range(seeds)]
        found[name] = {"after": [first for first, _ in each], "pages": sum(pages for _, pages in each)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each change")
    parser.add_argument("--changes", nargs="+", choices=[*CHANGES], default=[*CHANGES], metavar="CHANGE")
    parser.add_argument("--json", action="store_true", help="print each change as a line of JSON, when it is done")
    chosen = parser.parse_args()
    table = Table("change", "baseline", *(cell for name in RULES for cell in (f"pages, {name}", "after")))
    for known in KNOWN:
        for change in chosen.changes:
            row = run(change, known, chosen.seeds)
            if chosen.json:
                print(json.dumps(row, ensure_ascii=False), flush=True)
            cells = [str(each) for name in RULES for each in (row[name]["pages"], row[name]["after"])]
            table.add_row(change, f"{known:,}", *cells)
    Console(file=sys.stderr).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
