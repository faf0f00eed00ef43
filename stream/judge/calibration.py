"""Calibration: what is promised of a model, what its own history would have paged, and what is seen of it. Pure.

A baseline keeps its history as time-ordered blocks. Replayed against itself, each quarter of them is judged against the
other three, with thresholds that come from those three alone: what pages then is either a false page, or a change that
the history itself holds. A quarter is judged from its own first block on, as live traffic is. Where the history is
shorter than a few of its cycles, a quarter has no like among the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.bins import dispersions_of_blocks
from driftline.stream.baselines.remarks import unpromised
from driftline.stream.baselines.slopes import slopes_of_blocks
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.judge import Incidents, Judge
from driftline.stream.judge.pace import pace_of_baseline
from driftline.stream.judge.promise import Promise
from driftline.stream.judge.resolution import proof_remarks
from driftline.stream.judge.shares import Share, shares_of_baseline
from driftline.stream.judge.sight import Sight, sights
from driftline.stream.panes.pane import Pane, Range

# Parts of the history, each judged against all others.
_PARTS = 4
#: The fewest blocks that are replayed: with fewer, the thresholds of the rest know nothing of its dependence.
FEWEST_BLOCKS: Final = 32
#: Horizons in days, by name.
HORIZONS: Final = {"hour": 1 / 24, "day": 1.0, "week": 7.0}
_MONTH = 30.0  # days


@dataclass(frozen=True)
class OwnPage:
    """A page of the replay. at, since: epoch ms, when it would have been sent, and when the change began."""

    at: int
    since: int
    signals: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """What is known of a model before it is live.

    pages: of the replay of its history; None if that could not be replayed, and `why` says why. block: events between
    two checks of the replay. interpolated: whether dates suppose that events came evenly. seen: of each signal, for
    each of `HORIZONS`; empty without a pace. by_phase: signals that are compared by phase of a day or a week, and
    that are left out of both, as blocks do not say when their events came. unpromised: of which signals the rate is not
    promised, and why. shares: of the false pages, by signal; none if all are the same.
    """

    promise: Promise
    days: float | None
    pages: tuple[OwnPage, ...] | None
    why: str
    block: int
    interpolated: bool
    seen: tuple[Sight, ...]
    by_phase: tuple[str, ...] = ()
    unpromised: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()


def calibrate(baseline: Baseline, config: ModelConfig, times: IntArray | None = None) -> Calibration:
    """What a configuration promises of a model with this baseline, and what its judge would see.

    times: (n,) of the baseline's events, epoch ms, rising, if they are known.
    """
    pace = pace_of_baseline(baseline)
    rate = config.rate_per_event(pace or 0.0)
    horizons = [] if pace is None else [pace * days / _MONTH for days in HORIZONS.values()]
    by_phase = tuple(baseline.cycles.by_name) if baseline.cycles and config.reference == "baseline" else ()
    seen = sights(Judge(replace(baseline, cycles=None), config), horizons, rate) if horizons else []
    doubts = unpromised(baseline, but=config.signals.is_proven), map(str, proof_remarks(baseline, config))
    why = _why_not(baseline) or ("all of its signals are compared by phase" * (len(by_phase) == len(baseline.names)))
    replayed = baseline if why else baseline.select_signals(lambda name: name not in by_phase)
    blocks = None if why else replayed.blocks
    days = None if pace is None else baseline.total.n / pace * _MONTH
    return Calibration(
        promise=Promise.of(baseline.model, config, pace, baseline),
        days=days,
        pages=None if blocks is None else tuple(replay_itself(replayed, blocks, config, times)),
        why=why,
        block=0 if blocks is None else baseline.total.n // len(blocks),
        interpolated=times is None,
        seen=tuple(each for each in seen if each.name not in by_phase),
        by_phase=by_phase,
        unpromised=tuple(chain.from_iterable(doubts)),
        shares=shares_of_baseline(baseline, config),
    )


def _why_not(baseline: Baseline) -> str:
    """Why a baseline cannot be replayed against itself, "" if it can."""
    if baseline.read_blocks is None:
        return "it was learned live, and its blocks were not kept"
    if baseline.total.n < 2:
        return "one event is no history"
    if pace_of_baseline(baseline) is None or not baseline.about.get("settings", {}).get("ordered", True):
        return "the order of its events is not known"
    if len(baseline.blocks) < FEWEST_BLOCKS:
        return f"it has {len(baseline.blocks)} blocks in time, and {FEWEST_BLOCKS} are needed"
    return ""


def replay_itself(
    baseline: Baseline, blocks: IntArray, config: ModelConfig, times: IntArray | None = None
) -> list[OwnPage]:
    """The pages of a baseline's own blocks (P, C), each quarter judged against the other three. times: of events."""
    ends = _ends(baseline, blocks, times)
    found = []
    for part in np.array_split(np.arange(len(blocks)), _PARTS):
        rest = np.delete(blocks, part, axis=0)
        reference = Baseline.of(baseline.layout, rest, _sketch(baseline, rest.sum(0)), baseline.about)
        if baseline.slopes:
            own = slopes_of_blocks(baseline.layout, rest)
            slopes = own and own.select(baseline.slopes.runs)
            bins = dispersions_of_blocks(baseline.layout, rest, slopes) if baseline.bins else None
            reference = replace(reference, slopes=slopes, bins=bins)
        found += _replayed(Judge(reference, config), blocks, part, ends)
    return found


def _replayed(judge: Judge, blocks: IntArray, part: IntArray, ends: IntArray) -> list[OwnPage]:
    state, pages, offset = judge.start(), list[OwnPage](), 0
    incidents: Incidents = {}
    for block in part.tolist():
        content = _sketch(judge.baseline, blocks[block])
        run = Range(0, offset, offset := offset + content.n)
        pane = Pane(content, int(ends[block]), int(ends[block + 1]), (run,))
        state, incidents, steps = judge.judge(state, incidents, pane)
        pages += [_page(step) for step in steps if step.status is Status.FIRING]
    return pages


def _page(step: Step) -> OwnPage:
    return OwnPage(step.at, min(each.since for each in step.findings), tuple(each.signal for each in step.findings))


def _sketch(baseline: Baseline, counts: IntArray) -> Sketch:
    """The sketch of a block. Blocks keep no moments, which only describe a change: those of all events stand in."""
    n = int(baseline.layout.events(counts))
    sums = np.rint(baseline.total.sums * (n / max(baseline.total.n, 1))).astype(np.int64)
    return Sketch(n, counts, sums, baseline.total.extremes)


def _ends(baseline: Baseline, blocks: IntArray, times: IntArray | None) -> IntArray:
    """When each block began, and the last one ended (P + 1,), epoch ms."""
    if times is None:
        first, last = int(baseline.about["time_from"]), int(baseline.about["time_to"])
        return np.asarray(np.linspace(first, last, len(blocks) + 1).astype(np.int64))
    bounds = np.cumsum([0, *baseline.layout.events(blocks).tolist()])
    return np.asarray(times[bounds.clip(max=len(times) - 1)])
