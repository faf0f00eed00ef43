"""What changed in a signal, in words that one can act on: the size now, in the signal's own unit. Pure.

Every sentence begins with the name of a signal, which the caller adds: names come from traffic, and each way of showing
text escapes them in its own way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from driftline.detectors.summaries.codes import Kind, Special
from driftline.detectors.summaries.distribution import distribution
from driftline.detectors.summaries.groups import KNOWN
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.categories import GROUP_OF
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.text.phrases import DAY, moment
from driftline.stream.text.printable import printable

# Digits of a figure in a sentence; a number with more is written as a power of ten.
_DIGITS, _LONGEST = 3, 1e7
# Shares below this are shown as less than it, and differences of spread from which on a sentence names the spread.
_LEAST, _SPREAD = 0.0005, 1.2
# σ of the reference by which a typical value must move to have moved.
_MOVED = 0.25
# Characters of a value in a sentence.
_SHOWN = 40
_LEAST_SHARE = 0.1
# What `KNOWN` is beside groups.
_KNOWN = "values that are not rare"


class Kindred(StrEnum):
    """What sort of change it is: it decides the sentence and what to do."""

    USUAL = "as usual"
    MISSING = "missing"
    BROKEN = "broken"
    NEW = "new values"
    BEGAN = "no longer constant"
    STUCK = "stuck"
    UNIT = "another unit"
    SHIFT = "shift"
    SPREAD = "spread"
    SHARE = "share"
    GROUP = "rare values"
    SHAPE = "shape"


def kindred(signal: SignalView) -> Kindred:
    """The sort of a signal's change."""
    figure = signal.figure
    if not signal.episodes:
        return Kindred.USUAL
    if isinstance(figure.value, Special):
        if figure.value is Special.UNSEEN:
            return Kindred.BEGAN if signal.kind == Kind.CONSTANT.value else Kindred.NEW
        return Kindred.MISSING if figure.value is Special.MISSING else Kindred.BROKEN
    if figure.is_share:
        return Kindred.SHARE if signal.groups_of is None else Kindred.GROUP
    change = signal.change
    after = change.after
    if after.low is not None and after.low == after.high and change.before.low != change.before.high:
        return Kindred.STUCK
    if change.rescaled:
        return Kindred.UNIT
    spread = (change.before.deviation or 0.0), (after.deviation or 0.0)
    if _has_moved(signal):
        return Kindred.SHIFT
    ratio = spread[1] / spread[0] if spread[0] else math.inf
    return Kindred.SHAPE if 1 / _SPREAD < ratio < _SPREAD else Kindred.SPREAD


def _has_moved(signal: SignalView) -> bool:
    """Whether the values lie higher or lower: the typical one, and their mean in the same direction.

    The median alone jumps from hump to hump where values have two.
    """
    figure, old, new = signal.figure, signal.change.before, signal.change.after
    if figure.before is None or figure.after is None or not old.deviation or old.mean is None or new.mean is None:
        return figure.before != figure.after
    moved, mean = (figure.after - figure.before) / old.deviation, (new.mean - old.mean) / old.deviation
    return abs(moved) >= _MOVED and mean * moved > 0 and abs(mean) >= _MOVED / 2


def sentence(model: ModelView, signal: SignalView) -> str:
    """What changed, as a sentence without its subject and full stop."""
    sort = kindred(signal)
    if sort is Kindred.USUAL:
        return "looks as it did in the reference" if signal.judged else "was not judged"
    figure, change = signal.figure, signal.change
    now, was = figure_text(signal, figure.after), figure_text(signal, figure.before)
    verb = "is" if signal.is_open else "was"
    match sort:
        case Kindred.MISSING:
            return f"{verb} missing in {now} of the rows; in the reference in {was}"
        case Kindred.BROKEN:
            return f"{verb} {figure.what} in {now} of the rows; in the reference in {was}"
        case Kindred.BEGAN:
            varies = "now varies" if signal.is_open else "varied for a time"
            return f"{varies}; in the reference it was always {_constant(model, signal)}"
        case Kindred.STUCK:
            low, high = number(change.before.low), number(change.before.high)
            return f"{verb} stuck at {number(change.after.low)}; in the reference it lay between {low} and {high}"
        case Kindred.UNIT if change.rescaled:
            factor, share = change.rescaled.factor, change.rescaled.share
            which = "" if share >= 0.95 else f" in {percent(share)} of the rows"
            about, way = (factor, "larger") if factor > 1 else (1 / factor, "smaller")
            times = f"about {number(float(f'{about:.2g}'))} times {way}"
            return f"{verb} {times}{which}, as in another unit"
        case Kindred.SHIFT:
            higher = (figure.after or 0.0) > (figure.before or 0.0)
            old = "was" if signal.is_open else "usually"
            new = "is now" if signal.is_open else "was"
            return f"{verb} {'higher' if higher else 'lower'}: a typical value {new} {now}, {old} {was}"
        case Kindred.NEW | Kindred.GROUP | Kindred.SHARE:
            return _of_values(signal, sort, now, was)
        case _:
            return f"{verb} {_spread_words(signal, sort)}: {_ranges(model, signal)}"


def _of_values(signal: SignalView, sort: Kindred, now: str, was: str) -> str:
    """What changed in the shares of texts. now, was: the share."""
    verb, has = ("is", "has") if signal.is_open else ("was", "had")
    what, times = signal.figure.what, f"in {now} of the rows; in the reference in {was}"
    if sort is Kindred.SHARE:
        return f"{verb} “{shown(what)}” {times}"
    if sort is Kindred.GROUP:
        return f"{has} {_KNOWN if what == KNOWN else f'rare values of {what}'} {times}"
    return (
        f"{has} {what} {times}"
        if signal.figure.before
        else f"{has} values that the reference never had in {now} of the rows"
    )


def _spread_words(signal: SignalView, sort: Kindred) -> str:
    if sort is Kindred.SHAPE:
        return "distributed differently"
    wider = (signal.change.after.deviation or 0.0) > (signal.change.before.deviation or 0.0)
    return "spread wider" if wider else "spread less"


def _ranges(model: ModelView, signal: SignalView) -> str:
    new, old = (band(model.layout, each, signal.index) for each in (signal.after, model.baseline.total))
    if new is None or old is None:
        return f"σ {number(signal.change.before.deviation)} → {number(signal.change.after.deviation)}"
    return (
        f"9 of 10 values lie between {number(new[0])} and {number(new[-1])}, in the reference between "
        f"{number(old[0])} and {number(old[-1])}"
    )


def _constant(model: ModelView, signal: SignalView) -> str:
    value = getattr(model.layout.signals[signal.index].coder, "values", ("",))[0]
    return number(value) if isinstance(value, float) else shown(str(value))


#: The shares of the values that a band shows: 9 of 10, half of them, and the median.
BAND = (0.05, 0.25, 0.5, 0.75, 0.95)


def band(layout: Layout, sketch: Sketch, s: int) -> tuple[float, ...] | None:
    """The quantiles at `BAND` of a numeric signal; None without a value, or where the baseline has no range."""
    values = distribution(layout, sketch, s)
    return None if values is None else tuple(values.quantiles(BAND))


def least_span(model: ModelView, signal: SignalView) -> float:
    """The span of a signal's figure that a line over time has at least, so that noise looks like noise.

    A tenth of the events, or half of the reference's values.
    """
    if signal.figure.is_share:
        return _LEAST_SHARE
    old = band(model.layout, model.baseline.total, signal.index)
    return 0.0 if old is None else old[3] - old[1]


def rest_looks_usual(model: ModelView, signal: SignalView) -> bool:
    """Whether the values that still come look as they did, where some are lost: a lost field, not other customers."""
    new, old = (band(model.layout, each, signal.index) for each in (signal.after, model.baseline.total))
    if kindred(signal) not in (Kindred.MISSING, Kindred.BROKEN) or new is None or old is None:
        return False
    width = (old[-1] - old[0]) or abs(old[2]) or 1.0
    return all(abs(a - b) <= 0.1 * width for a, b in zip(new, old, strict=True))


def advice(sort: Kindred, since: str) -> str:
    """What to do first about a change of this sort."""
    return _ADVICE.get(sort, _OTHERWISE).format(around=f" around {since}" if since else "")


_ADVICE = {
    Kindred.MISSING: "Ask whoever sends this column what was released{around}: it is lost on the way, or left out on "
    "purpose.",
    Kindred.BROKEN: "Ask whoever sends this column what was released{around}: its values cannot be read as before.",
    Kindred.NEW: "Look at the new values: are they spelt differently, or is there something that the model has not "
    "learned?",
    Kindred.BEGAN: "The reference has one value of this column: what the model makes of others is untested. Find "
    "out what was switched on{around}; then train again, or leave the column out.",
    Kindred.STUCK: "Ask whoever sends this column what happened{around}: a default value, or a feed that stands still.",
    Kindred.GROUP: "Find out what changed{around}: count the rows of this group by value, before and since. Is a rare "
    f"value now common, or are many spelt differently? The group of a value, in Python: {GROUP_OF}.",
    Kindred.UNIT: "Compare a raw row from before with one from after{around}: cents for euros, metres for feet, or a "
    "scaling that is done twice or not at all.",
}
_OTHERWISE = (
    "Look at what else changed at the same time. If this is how it is from now on, train on rows since then, and take "
    "them as the reference."
)


def figure_text(signal: SignalView, value: float | None) -> str:
    """A value of a signal's figure as text."""
    if value is None:
        return "none"
    return percent(value) if signal.figure.is_share else number(value)


class Sides(NamedTuple):
    """What shows a signal's change best, as text: what it is, before, and after."""

    what: str
    before: str
    after: str


def sides(model: ModelView, signal: SignalView) -> Sides:
    """The figure of a signal, or the range of 9 of 10 values where a typical value shows no change."""
    figure, before = signal.figure, model.baseline.total
    if kindred(signal) in (Kindred.SPREAD, Kindred.SHAPE):
        old, new = (band(model.layout, each, signal.index) for each in (before, signal.after))
        if old and new:
            return Sides("9 of 10 values", *(f"{number(each[0])} … {number(each[-1])}" for each in (old, new)))
    what = figure.what if figure.is_share else "typical value (median)"
    if kindred(signal) is Kindred.BEGAN:
        what = f"other values than {_constant(model, signal)}"
    return Sides(what, figure_text(signal, figure.before), figure_text(signal, figure.after))


def percent(share: float) -> str:
    """A share, in tenths of a percent.

    >>> [percent(each) for each in (0, 0.0001, 0.004, 0.126, 0.998, 0.9999, 1)]
    ['0 %', '< 0.1 %', '0.4 %', '12.6 %', '99.8 %', '> 99.9 %', '100 %']
    """
    if 0.0 < share < 1.0 and not _LEAST <= share <= 1 - _LEAST:
        return "< 0.1 %" if share < _LEAST else "> 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def number(value: float | None) -> str:
    """A number with as many digits as a sentence needs.

    >>> [number(each) for each in (0.0034666, 16.94, 1234.5, 45312.0, 1e12, -0.0)]
    ['0.00347', '16.9', '1,234', '45,312', '1e+12', '0']
    """
    if value is None:
        return "none"
    if not math.isfinite(value) or abs(value) >= _LONGEST:
        return f"{value:.{_DIGITS}g}"
    if abs(value) >= 10**_DIGITS:
        return f"{value:,.0f}"
    text = f"{value:.{_DIGITS}g}"
    return "0" if text in ("-0", "0") else text


def shown(value: str) -> str:
    """A value from traffic, printable and of bounded length."""
    text = printable(value) or "an empty text"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def names(signals: Sequence[SignalView], most: int = 3) -> str:
    """The names of signals in a sentence."""
    return listed_names([printable(each.short) for each in signals], most)


def listed_names(every: Sequence[str], most: int) -> str:
    """Printable names in a sentence: "a, b and c", or "a, b, c and 7 more"."""
    first = list(every[:most])
    more = len(every) - len(first)
    last = [f"{more:,} more"] if more else first[-1:]
    head = first if more else first[:-1]
    return " and ".join([*([", ".join(head)] if head else []), *last])


def verdict_sentence(model: ModelView) -> str:
    """What became of a model, in a sentence; its name is the first word.

    A text whose rare values are counted in groups is one signal, not two.
    """
    name, total = printable(model.name), _counted(model.signals)
    still = [each for each in model.changed if each.is_open]
    if not still and not model.judged:
        had = f"; {names(model.changed)} had changed" if model.changed else ""
        return f"{name} has no verdict: too little of it was judged{had}."
    if not model.changed:
        none = f"none of its {total:,} signals has changed" if total > 1 else "its only signal has not changed"
        return f"{name} looks as in the reference: {none}."
    if not still:
        return f"{name} is as in the reference again: {names(model.changed)} had changed."
    since = min(each.episode.since for each in still if each.episode)
    begun = f", {'the first ' * (len(still) > 1)}since {moment(since, DAY)}" if model.timed else ""
    differing = _counted(still)
    verb = "differs" if differing == 1 else "differ"
    some = f"all {total:,} signals" if differing == total else f"{differing:,} of its {total:,} signals"
    what = f"{some} {verb}" if total > 1 else "its only signal differs"
    return f"{name} has changed: {what} from the reference{begun}."


def _counted(signals: Sequence[SignalView]) -> int:
    return len({each.groups_of or each.name for each in signals})
