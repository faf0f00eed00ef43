"""Pictures as SVG text: no script, no style attribute, nothing fetched; colours are classes of the page's style sheet.

A picture stretches with the page and its text does not: shapes lie in a nested SVG that is scaled, text beside it at
percentages of the width. Coordinates are rounded, so equal figures give equal bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

# Units of a picture's width inside; its height is in pixels.
WIDTH = 1000
# From this ratio of values on, steps of equal ratio show them better.
_FOLD = 20


def tag(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """An element. A trailing underscore of an attribute is dropped, others become hyphens; None leaves it out."""
    parts = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    # Names are of this package's own code; attributes and content are escaped.
    return Markup(f"<{name}{parts}>{escape(content)}</{name}>")  # noqa: S704


def joined(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(parts)


def _attribute(value: object) -> str:
    return coordinate(value) if isinstance(value, float) else str(value)


def coordinate(value: float) -> str:
    """A coordinate with two decimals at most, the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def percent_of(value: float) -> str:
    """A part of the width, 0 to 1, as a percentage."""
    return f"{coordinate(100 * value)}%"


def picture(height: float, label: str, *parts: Markup, class_: str = "plot") -> Markup:
    """A picture as wide as the page lets it be. label: what it shows, for those who do not see it."""
    return tag("svg", joined(parts), class_=class_, height=height, role="img", aria_label=label)


def stretched(height: float, *parts: Markup, top: float = 0.0) -> Markup:
    """Shapes in coordinates of 0 to `WIDTH` and 0 to `height`, stretched to the picture's width."""
    box = f"0 0 {WIDTH} {coordinate(height)}"
    return tag(
        "svg", joined(parts), x=0, y=float(top), width="100%", height=float(height), viewBox=box,
        preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip


def path(points: Iterable[tuple[float, float]], class_: str, closed: bool = False) -> Markup:
    """A line through points, or the area within."""
    text = " ".join(f"{'L' if i else 'M'}{coordinate(x)} {coordinate(y)}" for i, (x, y) in enumerate(points))
    return tag("path", d=text + ("Z" if closed else ""), class_=class_) if text else Markup("")


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to heights: the least is at the bottom. log: each step up is as many times as much."""

    low: float
    high: float
    height: float
    log: bool = False

    def y(self, value: float) -> float:
        """The distance from the top, within the picture."""
        low, high, at = (self._place(each) for each in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.height * (1 - min(max(share, 0.0), 1.0))

    def share(self, value: float) -> float:
        """The place between the least and the greatest value, 0 to 1."""
        return 1 - self.y(value) / self.height

    def at(self, share: float) -> float:
        """The value at a place, 0 to 1."""
        low, high = self._place(self.low), self._place(self.high)
        place = low + (high - low) * share
        return math.exp(place) if self.log else 2 * place

    def _place(self, value: float) -> float:
        # Halves, since the distance of two finite numbers may be infinite.
        return math.log(max(value, 1e-300)) if self.log else value / 2

    def ticks(self, count: int = 4) -> list[float]:
        """Round values within the scale, some `count` of them."""
        if self.log:
            return _powers(self.low, self.high)
        step = _round_step((self.high / 2 - self.low / 2) * 2 / count)
        if not step or not math.isfinite(step):
            return [self.low]
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)][: 2 * count]


def scale_of(values: Sequence[float], height: float, log: bool = False, floor: float | None = None) -> Scale:
    """A scale that shows all these values. floor: a value that it shows, too."""
    known = [each for each in (*values, *([] if floor is None else [floor])) if math.isfinite(each)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if low == high:
        spare = abs(low) / 10 or 1.0
        low, high = low - (0.0 if log else spare), high + spare
    return Scale(low, high, height, log)


def fits_log(low: Sequence[float], high: Sequence[float], medians: Sequence[float]) -> bool:
    """Whether positive values span so much that only steps of equal ratio show them all."""
    if not low or min(low) <= 0 or max(high) <= 1:  # of probabilities, the least ones say nothing
        return False
    widest = max(top / bottom for top, bottom in zip(high, low, strict=True))
    return max(max(medians) / min(medians), widest) > _FOLD


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    if step <= 0 or not math.isfinite(step):
        return 0.0
    power = 10.0 ** math.floor(math.log10(step))
    return next((nice * power for nice in (1, 2, 2.5, 5) if nice * power >= step * 0.999), 10 * power)


def _powers(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max((last - first) // 4, 1)
    return [10.0**each for each in range(first, last + 1, step)]
