"""Changes: what a drift looks like to a person, before → after, in one line and in figures. Pure.

The types are part of an alert and of a stored incident; the descriptions of their fields are published in the alert's
JSON Schema. The effect sizes are those of `detectors.statistics.effect_sizes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.decision.far import Far
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.clumps import g_evidence
from driftline.detectors.statistics.effect_sizes import jensen_shannon, psi, wasserstein
from driftline.detectors.statistics.ks import ks_statistic
from driftline.detectors.statistics.rescaling import rescaling
from driftline.detectors.summaries.codes import Categories, Grid, Special
from driftline.detectors.summaries.distribution import distribution
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch, Summary

# The smallest change of mean (σ) and of spread (ratio) that the headline names; below both, it names the shape.
_SHIFT, _SPREAD_RATIO = 0.25, 1.2
# Traffic does not drift fivefold with mean and spread in step: that is a change of unit.
_UNIT_RATIO = 5.0
# Shares of the values in another unit: from some, which are worth a sentence, up to nearly all, which need none.
_SOME, _ALL = 0.05, 0.95
# The most common values of a nominal signal listed on each side, and the characters shown of a value.
_COMMON, _SHOWN = 5, 40
# Bins of a histogram: deciles are familiar, and two histograms of them fit in one line on a telephone.
_BINS = 10
# A tenth of the events is not exact in floating point: without this, a bin could end one code late.
_ROUNDING = 1e-9
_BARS = "▁▂▃▄▅▆▇█"
#: Special codes in words.
SPECIAL_WORDS = {
    Special.MISSING: "missing",
    Special.NAN: "NaN",
    Special.NEG_INF: "-infinity",
    Special.POS_INF: "+infinity",
    Special.INVALID: "of a wrong type",
    Special.UNSEEN: "unseen values",
}
#: Codes of values that mean nothing; an unseen value may mean something new.
BROKEN = tuple(each for each in Special if each is not Special.UNSEEN)


class Profile(Struct, frozen=True):
    """One side of a change."""

    events: Annotated[int, Meta(description="Number of events.")]
    special: Annotated[
        dict[str, float],
        Meta(description="Shares of the events without a regular value, by code, where there are any."),
    ]
    values: Annotated[
        dict[str, float], Meta(description="Shares of the most common values of a signal that has categories.")
    ]
    mean: Annotated[
        float | None, Meta(description="Mean of the regular values; null if it has none, or is no number.")
    ] = None
    deviation: Annotated[float | None, Meta(description="Standard deviation of the regular values.")] = None
    low: Annotated[float | None, Meta(description="The least regular value.")] = None
    high: Annotated[float | None, Meta(description="The greatest regular value.")] = None
    median: Annotated[
        float | UnsetType,
        Meta(description="About the median of the regular values; missing if the baseline is of format 1."),
    ] = UNSET

    @property
    def broken(self) -> float:
        """The share of the events whose value means nothing."""
        return min(sum(self.special.get(each.name.lower(), 0.0) for each in BROKEN), 1.0)


class Volume(Struct, frozen=True):
    """How many events there were in a stretch of time, and how many were expected. until: its end, epoch ms."""

    seen: int
    expected: float
    until: int

    @property
    def effect(self) -> float:
        """The share of the traffic that is missing, or that came on top: 1 for none at all."""
        if not self.seen:
            return 1.0
        return abs(self.seen - self.expected) / max(self.seen, self.expected)


class Histogram(Struct, frozen=True):
    """Shares of the regular values in bins that hold a tenth of `before` each, or one value that is common."""

    edges: Annotated[tuple[float, ...], Meta(description="Upper ends of all bins but the last, in the signal's unit.")]
    before: Annotated[tuple[float, ...], Meta(description="Shares in the reference, by bin.")]
    after: Annotated[tuple[float, ...], Meta(description="Shares in the window that raised the alarm, by bin.")]


class Rescaled(Struct, frozen=True):
    """A share of the values that look multiplied by one factor, as in another unit."""

    factor: Annotated[float, Meta(description="What they look multiplied by; below 1 for a larger unit.")]
    share: Annotated[float, Meta(description="Their share of the regular values.")]


class Change(Struct, frozen=True):
    """How a signal changed."""

    headline: Annotated[str, Meta(description="The change in one line, without the signal's name.")]
    before: Annotated[Profile, Meta(description="The reference.")]
    after: Annotated[Profile, Meta(description="The window that raised the alarm.")]
    psi: Annotated[
        float,
        Meta(description="Population stability index, in nats: by common usage 0.1 is moderate and 0.25 large."),
    ]
    jensen_shannon: Annotated[
        float,
        Meta(
            description="Jensen-Shannon distance: 0 is equal, 1 has nothing in common. The severity depends on it; "
            "that of data-quality on the one between the shares of broken values."
        ),
    ]
    distance: Annotated[
        float | None, Meta(description="Kolmogorov-Smirnov distance, 0 to 1; null for signals without an order.")
    ]
    wasserstein: Annotated[
        float | None,
        Meta(
            description="By what share of the reference an event moved on average; null for signals without an order."
        ),
    ]
    histogram: Annotated[Histogram | None, Meta(description="Of a numeric signal; null for others.")] = None
    rescaled: Annotated[
        Rescaled | UnsetType,
        Meta(description="Missing unless some or all of the values look multiplied by 5 or more, or divided by it."),
    ] = UNSET
    least: Annotated[
        float | UnsetType,
        Meta(
            description="Only where it decided: the least change that pages, as a share (`signals.rules`). Other "
            "windows had evidence enough for an alarm, and have changed by less."
        ),
    ] = UNSET
    provisional: Annotated[
        bool | UnsetType,
        Meta(
            description="true where the baseline does not say how events of the signal depend on each other, and live "
            "events had not shown it yet: only large changes page until then. Else missing."
        ),
    ] = UNSET
    slope_ratio: Annotated[
        float | UnsetType,
        Meta(
            description="Only where live events depend on each other clearly more than the baseline's rows say, which "
            "may have been shuffled or sampled, and overrule it: how many times as many events count for one."
        ),
    ] = UNSET

    @property
    def breakage(self) -> float:
        """The Jensen-Shannon distance between the shares of broken values, whatever the other values are."""
        new, old = (np.array([side.broken, 1 - side.broken]) for side in (self.after, self.before))
        return float(jensen_shannon(new[None], old).item())

    @property
    def scale(self) -> float:
        """The factor, at least 1, by which some values or mean and σ changed, as in another unit; 1 if none did."""
        if self.rescaled:
            return max(self.rescaled.factor, 1 / self.rescaled.factor)
        old, new = self.before, self.after
        if not (old.mean and new.mean and old.deviation and new.deviation):
            return 1.0
        factor = new.mean / old.mean
        return max(factor, 1 / factor) if _is_unit(factor, new.deviation / old.deviation) else 1.0


def _is_unit(factor: float, ratio: float) -> bool:
    """Whether means that differ by a factor, and deviations that differ by a ratio, look like two units."""
    return ratio / 2 <= factor <= ratio * 2


def bars(heights: Iterable[float]) -> str:
    """Bars of these heights as text; the highest one is full."""
    rows = [max(height, 0.0) for height in heights]
    top = max(rows, default=0.0) or 1.0
    return "".join(_BARS[round((len(_BARS) - 1) * height / top)] for height in rows)


def describe(battery: Battery, test: Column, before: Sketch, after: Sketch) -> Change:
    """The change of a signal between two sketches that `test` found."""
    layout, s = battery.layout, test.signal
    old, new = _codes(layout, before.counts, s), _codes(layout, after.counts, s)
    distance = moved = None
    if layout.signals[s].ordered:
        span = slice(int(layout.starts[s]), int(layout.starts[s] + layout.sizes[s]))
        distance = float(ks_statistic(after.counts[None, span], before.counts[span])[0].item())
        moved = float(wasserstein(after.counts[None, span], before.counts[span], battery.midranks[span]).item())
    rescaled = _rescaled(layout, s, before, after)
    return Change(
        headline=_headline(battery, test, before, after, distance, rescaled),
        before=_profile(layout, s, before),
        after=_profile(layout, s, after),
        psi=float(psi(new[None], old).item()),
        jensen_shannon=float(jensen_shannon(new[None], old).item()),
        distance=distance,
        wasserstein=moved,
        histogram=_histogram(layout, s, before, after),
        rescaled=rescaled,
    )


def _codes(layout: Layout, counts: IntArray, s: int) -> IntArray:
    """Counts (codes,) of one signal, special codes last."""
    start, special = layout.starts[s], layout.special_column(s, Special.MISSING)
    return np.concatenate([counts[start : start + layout.sizes[s]], counts[special : special + len(Special)]])


def _profile(layout: Layout, s: int, sketch: Sketch) -> Profile:
    shares, size = _codes(layout, sketch.counts, s) / max(sketch.n, 1), int(layout.sizes[s])
    special = {each.name.lower(): float(shares[size + each]) for each in Special if shares[size + each]}
    known = sorted(zip(shares, _values(layout.signals[s].coder), strict=False), key=lambda pair: (-pair[0], pair[1]))
    values = {_short(value): float(share) for share, value in known[:_COMMON] if share}
    moments = _moments(layout, sketch, s)
    if moments is None:
        return Profile(sketch.n, special, values)
    values_of = distribution(layout, sketch, s)
    median = UNSET if values_of is None else values_of.quantile(0.5)
    return Profile(sketch.n, special, values, moments.mean, moments.deviation, moments.low, moments.high, median)


def _moments(layout: Layout, sketch: Sketch, s: int) -> Summary | None:
    """The moments, exact if all values are equal: sums in units of the baseline's spread would round that value."""
    moments = layout.summary(sketch, s)
    same = moments is not None and moments.low == moments.high
    return replace(moments, mean=moments.low, deviation=0.0) if moments and same else moments


def _rescaled(layout: Layout, s: int, before: Sketch, after: Sketch) -> Rescaled | UnsetType:
    old, new = (distribution(layout, each, s) for each in (before, after))
    if old is None or new is None:
        return UNSET
    squares = [_square(layout, s, each) for each in (before, after)]
    found = rescaling(old, new, squares[1] / squares[0] if all(squares) else None)
    if found is None or max(found.factor, 1 / found.factor) < _UNIT_RATIO or found.share < _SOME:
        return UNSET
    return Rescaled(found.factor, found.share)


def _square(layout: Layout, s: int, sketch: Sketch) -> float:
    """The mean of the squares of a signal's values; 0 if it is not known."""
    moments = layout.summary(sketch, s)
    if moments is None or layout.clipped(sketch, s):
        return 0.0
    square = moments.mean * moments.mean + moments.deviation * moments.deviation
    return square if math.isfinite(square) else 0.0


def _histogram(layout: Layout, s: int, before: Sketch, after: Sketch) -> Histogram | None:
    coder, span = layout.signals[s].coder, slice(int(layout.starts[s]), int(layout.starts[s] + layout.sizes[s]))
    old, new = before.counts[span], after.counts[span]
    if not isinstance(coder, Grid) or not old.any():
        return None
    filled = np.cumsum(old) / old.sum()
    ends = np.unique(np.searchsorted(filled, np.arange(1, _BINS) / _BINS - _ROUNDING))
    ends = ends[ends < len(old) - 1]
    starts = np.concatenate([[0], ends + 1])
    shares = (np.add.reduceat(counts, starts) / max(int(counts.sum()), 1) for counts in (old, new))
    return Histogram(tuple(coder.cuts[ends].tolist()), *(tuple(np.round(each, 4).tolist()) for each in shares))


def _headline(
    battery: Battery,
    test: Column,
    before: Sketch,
    after: Sketch,
    distance: float | None,
    rescaled: Rescaled | UnsetType,
) -> str:
    layout = battery.layout
    signal, old, new = layout.signals[test.signal], *(_moments(layout, each, test.signal) for each in (before, after))
    if test.special is not None:
        share = after.counts[column := layout.special_column(test.signal, test.special)] / max(after.n, 1)
        share_before = before.counts[column] / max(before.n, 1)
        if test.special is Special.UNSEEN and len(_values(signal.coder)) == 1:
            return f"left its constant {_short(_values(signal.coder)[0])}: {_percent(share)} other values"
        return f"{SPECIAL_WORDS[test.special]} {_percent(share_before)} → {_percent(share)}"
    if old is not None and new is not None:
        if rescaled and rescaled.share < _ALL and new.low < new.high:
            return f"×{_short(float(f'{rescaled.factor:.2g}'))} for {100 * rescaled.share:.2g} % of the values"
        if test.statistic == "bins":
            return _moments_headline(old, new, _bin(battery, test.signal, before, after), spreads=False)
        if test.statistic == "far" and not rescaled:
            return _far(layout, test.signal, before, after)
        return _moments_headline(old, new, f"shape changed: distance {distance or 0.0:.2f}")
    if signal.ordered:
        return "has numbers, and had none" if new else "has no number any more"
    return _category_headline(layout, test, before, after)


def _bin(battery: Battery, s: int, before: Sketch, after: Sketch) -> str:
    """Where the values of a signal are that have become more frequent, or fewer, and how many they are."""
    layout = battery.layout
    own, coder = layout.columns[s][: layout.sizes[s]], layout.signals[s].coder
    bins = Bins(battery.baseline[own])
    old, new = (bins.merged(each.counts[own]) for each in (before, after))
    known = old + bins.new * before.n / bins.events
    most = int(np.argmax(g_evidence(new, after.n, known, before.n)))
    shares = f"{_percent(old[most] / max(before.n, 1))} → {_percent(new[most] / max(after.n, 1))}"
    if bins.new[most]:
        return f"values between known ones: {shares}"
    codes = np.flatnonzero(bins.of == most)
    cuts = coder.cuts if isinstance(coder, Grid) else np.empty(0)
    low, high = (float(cuts[c]) if 0 <= c < len(cuts) else None for c in (codes[0] - 1, codes[-1]))
    if low is None:
        return f"values up to {_short(high or 0.0)}: {shares}"
    if high is None:
        return f"values above {_short(low)}: {shares}"
    at = f"at {_short(high)}" if _short(low) == _short(high) else f"from {_short(low)} to {_short(high)}"
    return f"values {at}: {shares}"


def _far(layout: Layout, s: int, before: Sketch, after: Sketch) -> str:
    """How many values lie far beyond those that the reference has, and the farthest one."""
    index, far = layout.numeric.index(s), Far(layout, before)
    low, high = (float(each) for each in after.extremes[:, index])
    above = high - before.extremes[1, index] > before.extremes[0, index] - low
    share = _percent(far.counts([after])[0, layout.ranged.index(s)] / max(after.n, 1))
    return f"values far beyond the range, {'up' if above else 'down'} to {_short(high if above else low)}: {share}"


def _moments_headline(old: Summary, new: Summary, shape: str, *, spreads: bool = True) -> str:
    """shape: what to say if neither mean nor spread has changed. spreads: whether it counts: one outlier moves it."""
    if old.low == old.high:
        return f"left its constant {_short(old.low)}: mean {_short(new.mean)}"
    if new.low == new.high:
        return f"stuck at {_short(new.low)}: σ {_short(old.deviation)} → 0"
    spread = old.deviation or abs(old.mean) or 1.0
    ratio, scale = new.deviation / spread, new.mean / (old.mean or math.inf)
    if max(ratio, 1 / (ratio or math.inf)) >= _UNIT_RATIO and _is_unit(scale, ratio):
        return f"×{_short(scale)}: mean {_short(old.mean)} → {_short(new.mean)}"
    shift = (new.mean - old.mean) / spread
    if abs(shift) >= _SHIFT:
        return f"mean {_short(old.mean)} → {_short(new.mean)} ({shift:+.2g} σ)"
    if spreads and not 1 / _SPREAD_RATIO < ratio < _SPREAD_RATIO:
        return f"spread ×{_short(ratio)}: σ {_short(old.deviation)} → {_short(new.deviation)}"
    return shape


def _category_headline(layout: Layout, test: Column, before: Sketch, after: Sketch) -> str:
    s = test.signal
    old, new = (_codes(layout, each.counts, s) / max(each.n, 1) for each in (before, after))
    grouped = layout.signals[s].groups_of is not None
    surest = grouped or test.statistic == "bins"
    most = surest_code(layout, s, before, after) if surest else int(np.argmax(np.abs(new - old)[: layout.sizes[s]]))
    value = _short(_values(layout.signals[s].coder)[most])
    what = f"rare values of {value}:" if grouped and most else value
    return f"{what} {_percent(old[most])} → {_percent(new[most])}"


def surest_code(layout: Layout, s: int, before: Sketch, after: Sketch) -> int:
    """The code of a nominal signal whose share has changed most surely; 0 of one of groups for all known values."""
    old, new = (each.counts[layout.columns[s][: layout.sizes[s]]] for each in (before, after))
    return int(np.argmax(g_evidence(new, after.n, old, before.n)))


def _values(coder: object) -> tuple[str | float, ...]:
    return coder.values if isinstance(coder, Categories) else ()


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(value: float | str) -> str:
    """A value as text in a headline: printable, and of bounded length whatever traffic sends."""
    if not isinstance(value, str):
        return f"{value:.4g}"
    text = value if value and value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
