"""The one figure of a signal that shows its change best: a typical value, or a share of the events. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.decision.battery import Column
from driftline.detectors.summaries.codes import Categories, Grid, Special
from driftline.detectors.summaries.distribution import distribution
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.judge.changes import BROKEN, SPECIAL_WORDS, surest_code

# A share that has changed by this much says more of a numeric signal than its median: a median of nine values in ten
# hardly moves when every third one is lost.
_MUCH = 0.05
# Values without a category where the reference has some, too: those cannot be called unseen.
_RARE_OR_NEW = "rare or new values"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one signal, before and after.

    value: of which the share is meant, None for a typical value. columns: of a sketch's counts, which are that value.
    """

    signal: int
    what: str
    before: float | None
    after: float | None
    value: str | Special | None = None
    columns: tuple[int, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the events, 0 to 1."""
        return bool(self.columns)

    def of(self, layout: Layout, sketch: Sketch) -> float | None:
        """The figure of other events; None without any."""
        if self.columns:
            return float(sketch.counts[list(self.columns)].sum() / sketch.n) if sketch.n else None
        return typical(layout, sketch, self.signal)


def typical(layout: Layout, sketch: Sketch, s: int) -> float | None:
    """The median of a numeric signal or, if the baseline does not say where values lie, the mean; None without one."""
    values = distribution(layout, sketch, s)
    if values is not None:
        return values.quantile(0.5)
    moments = layout.summary(sketch, s)
    return None if moments is None else moments.low if moments.low == moments.high else moments.mean


def choose_figure(layout: Layout, test: Column, before: Sketch, after: Sketch) -> Figure:
    """The figure of what `test` found between two sketches."""
    s = test.signal
    if test.special is not None:
        return _special(layout, s, test.special, before, after)
    moved = {each: _share(layout, s, each, after) - _share(layout, s, each, before) for each in BROKEN}
    most = max(moved, key=lambda each: abs(moved[each]))
    if abs(moved[most]) >= _MUCH:
        return _special(layout, s, most, before, after)
    if (columns := _two_values(layout, s, before, after)) is not None:
        value, own = columns
        return Figure(s, value, *_shares(own, before, after), value=value, columns=own)
    if layout.signals[s].numeric:
        return Figure(s, "typical value", typical(layout, before, s), typical(layout, after, s))
    return _category(layout, s, before, after)


def _special(layout: Layout, s: int, special: Special, before: Sketch, after: Sketch) -> Figure:
    own = (layout.special_column(s, special),)
    old, new = _shares(own, before, after)
    what = _RARE_OR_NEW if special is Special.UNSEEN and old else SPECIAL_WORDS[special]
    return Figure(s, what, old, new, value=special, columns=own)


def _share(layout: Layout, s: int, special: Special, sketch: Sketch) -> float:
    return float(sketch.counts[layout.special_column(s, special)] / max(sketch.n, 1))


def _shares(columns: tuple[int, ...], before: Sketch, after: Sketch) -> tuple[float, float]:
    old, new = (float(each.counts[list(columns)].sum() / max(each.n, 1)) for each in (before, after))
    return old, new


def _two_values(layout: Layout, s: int, before: Sketch, after: Sketch) -> tuple[str, tuple[int, ...]] | None:
    """The greater one of two values that are all that a numeric signal has, and its column; None if it has others."""
    coder, start = layout.signals[s].coder, int(layout.starts[s])
    counts = before.counts[start : start + int(layout.sizes[s])]
    filled = np.flatnonzero(counts)
    if not isinstance(coder, Grid) or len(filled) != 2 or filled[1] >= len(coder.cuts):
        return None
    index = layout.numeric.index(s)
    ends = {float(each) for each in (*before.extremes[:, index], *after.extremes[:, index]) if np.isfinite(each)}
    low, high = (float(coder.cuts[each]) for each in filled)
    return (f"{high:.4g}", (start + int(filled[1]),)) if ends <= {low, high} else None


def _category(layout: Layout, s: int, before: Sketch, after: Sketch) -> Figure:
    """The share of the category that has changed most."""
    coder, start = layout.signals[s].coder, int(layout.starts[s])
    columns = np.array([*range(start, start + int(layout.sizes[s])), layout.special_column(s, Special.UNSEEN)])
    old, new = (each.counts[columns] / max(each.n, 1) for each in (before, after))
    if layout.signals[s].groups_of is not None:
        most = surest_code(layout, s, before, after)
    else:
        # Of two that change alike, as where there are two, the one that became more common; of none, the commonest.
        most = int(np.lexsort((old, np.round(new - old, 9), np.round(np.abs(new - old), 9)))[-1])
    if most == len(columns) - 1 or not isinstance(coder, Categories):
        return _special(layout, s, Special.UNSEEN, before, after)
    value = str(coder.values[most])
    own = (int(columns[most]),)
    return Figure(s, value, *_shares(own, before, after), value=value, columns=own)
