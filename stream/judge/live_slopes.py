"""Slopes from live events, where a baseline cannot say how its own depend on each other. Pure.

A training set is usually shuffled, and its rows then look independent of each other whatever live events are. So the
first live events are counted in `LIVE_BLOCKS` blocks, and these tell the slopes (`stream.baselines.slopes`), by
residuals around each stretch's own mean: the order of the baseline is not asked for. Of three stretches in a row the
middle slope counts, so that a change in one of them does not widen what is usual. Until then, `PROVISIONAL` events
count for one, by which a large change still shows at once.

A baseline that has slopes is believed, until as many live events overrule it (`stream.baselines.overruled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from msgspec.structs import replace

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.far import Far
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.overruled import overruled_slopes, raised
from driftline.stream.baselines.slopes import (
    LIVE_BLOCK,
    LIVE_BLOCKS,
    PROVISIONAL,
    Slopes,
    constant_slopes,
    slopes_of_stretches,
)
from driftline.stream.judge.alike import Alike
from driftline.stream.judge.proven import Proven
from driftline.stream.judge.weights import Weights
from driftline.stream.panes.pane import Pane

_STRETCHES = 3


@dataclass(frozen=True, slots=True, eq=False)
class LiveSlopes:
    """What live events say of slopes.

    blocks: of the events so far, oldest first; the last one may still grow. known: the slopes, once there are enough
    blocks, which are not needed then. overruled: of a baseline with slopes, how many times as large they are, by signal
    with larger ones, which are `known` if there are any; None before there are enough blocks.
    """

    blocks: tuple[Pane[Sketch], ...] = ()
    known: Slopes | None = None
    overruled: Mapping[str, float] | None = None

    def add(self, pane: Pane[Sketch], baseline: Baseline) -> LiveSlopes:
        """With the events of one more check."""
        if self.known is not None or self.overruled is not None:
            return self
        pane, grows = replace(pane, slots=()), bool(self.blocks) and self.blocks[-1].content.n < LIVE_BLOCK
        blocks = (*self.blocks[:-1], self.blocks[-1] + pane) if grows else (*self.blocks, pane)
        if len(blocks) < LIVE_BLOCKS or blocks[-1].content.n < LIVE_BLOCK:
            return LiveSlopes(blocks)
        counts = np.stack([block.content.counts for block in blocks])
        if baseline.slopes is not None:
            known, times = overruled_slopes(baseline.slopes, baseline.layout, counts, baseline.total.counts)
            return LiveSlopes((), known if times else None, times)
        stretches = counts.reshape(_STRETCHES, LIVE_BLOCKS // _STRETCHES, -1)
        return LiveSlopes((), slopes_of_stretches(baseline.layout, stretches, baseline.total.counts))


@dataclass(frozen=True)
class Alikes:
    """What judges the signals of a baseline that have phases, slopes, bets or a range.

    by_slope: whether slopes may be used, and far values be tested.

    weights, proven: see `Alike`.
    """

    baseline: Baseline
    battery: Battery
    by_slope: bool
    weights: Weights
    proven: Proven | None = None
    # The slopes that live events showed last, and what judges by them: to lay it out takes longer than to judge a pane.
    _newest: list[Any] = field(default_factory=list)

    def bets_on(self, signal: int) -> bool:
        """Whether a signal, by its index, is judged by bets."""
        return self.proven is not None and signal in self.proven.signals

    @cached_property
    def learns(self) -> bool:
        """Whether live events tell the slopes, or may overrule them."""
        asked = self.baseline.asks_live or self.baseline.is_doubted
        return self.by_slope and not self.battery.against_past and asked

    def after(self, live: LiveSlopes | None, pane: Pane[Sketch]) -> LiveSlopes | None:
        """What live events say after one more check; None where they are not asked."""
        return (live or LiveSlopes()).add(pane, self.baseline) if self.learns else None

    def by(self, live: LiveSlopes | None) -> Alike | None:
        """What judges by what live events have shown; None if no signal has phases, slopes, bets or a range."""
        known = live.known if live and self.learns else None
        if live is None or known is None:
            return self._at_first
        if not self._newest or self._newest[0] is not known:
            self._newest[:] = known, self._after(known, live.overruled)
        judges: Alike | None = self._newest[1]
        return judges

    def _after(self, known: Slopes, overruled: Mapping[str, float] | None) -> Alike | None:
        """What judges by slopes that live events have shown."""
        own = self.baseline.slopes
        # What does not fit was damaged where it was stored.
        if not known.fits(self.baseline.layout, self.baseline.total.counts) or (own and not own.has(known)):
            return self._at_first
        return self._with(raised(own, known) if own else known, overruled=overruled)

    @cached_property
    def _at_first(self) -> Alike | None:
        if not (self.learns and self.baseline.asks_live):
            return self._with(self.baseline.slopes if self.by_slope else None)
        slopes = constant_slopes(self.baseline.layout, self.baseline.total.counts, PROVISIONAL, LIVE_BLOCK)
        return self._with(slopes, provisional=True)

    def _with(
        self, slopes: Slopes | None, *, provisional: bool = False, overruled: Mapping[str, float] | None = None
    ) -> Alike | None:
        cycles, bins = self.baseline.cycles, self.baseline.bins if self.by_slope else None
        if self.battery.against_past or not (cycles or slopes or self.proven or self._far):
            return None
        own = self.battery, self.weights, self.proven, self._far
        return Alike(self.baseline, cycles, slopes, bins, *own, provisional, overruled or {}, self.by_slope)

    @cached_property
    def _far(self) -> Far | None:
        """The far values that are tested; None if none are."""
        bet_on = self.proven.signals if self.proven else frozenset[int]()
        far = Far(self.baseline.layout, self.baseline.total, bet_on)
        return far if self.by_slope and far.columns else None
