"""Values in another unit: a share of them multiplied by one factor, as when some clients send cents for euros. Pure.

Of a mixture (1 - p)·F(x) + p·F(x/f) in which F is the reference, all that lies beyond the range of F was multiplied.
How much that is and where its median lies give p and f: with the share q of multiplied values that stay in the range,

    p = beyond / (1 - q),      f = median beyond / quantile (1 + q)/2 of F,      q = F(end of the range / f)

solved by iteration, for magnitudes, so that signs do not matter. Factors below 1 are found towards 0 in the same way.
The mixture is believed only if the values are distributed as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from driftline.detectors.summaries.distribution import Distribution

# Values beyond the range that tell a factor: fewer may be a few wrong values.
_LEAST = 20
# Steps of the iteration: each halves the error or better.
_STEPS = 40
# How far the values may be from the mixture, as part of the share: between two ends of intervals both are interpolated.
# Chance adds the 5 % point of the Kolmogorov-Smirnov distance.
_MISFIT, _CHANCE = 0.05, 1.36
# The medians tell the factor to a tenth, as wide as half an interval beyond the range.
_ROUGHLY = 1.1
# Nine tenths of values over one tenth of them, up to which their second moment tells a factor better than their median,
# to a hundredth. That of wider distributions depends on few large values.
_ALIKE = 3.0
# How far that factor may be from the other one, and a share above 1.
_NEAR = 1.2


@dataclass(frozen=True, slots=True)
class Rescaling:
    """A share of the values, in (0, 1], multiplied by a factor > 0."""

    factor: float
    share: float


def rescaling(before: Distribution, after: Distribution, growth: float | None = None) -> Rescaling | None:
    """The factor by which a share of the values `after` was multiplied; None if that does not describe them.

    growth: ratio of the second moments about 0, after to before, if they are known exactly: it makes a factor above 1
    more exact.
    """
    old, new = before.magnitude(), after.magnitude()
    found = _upwards(old, new)
    if found and growth is not None:
        found = _refined(found, old, growth)
    found = found or _downwards(old, new)
    return found if found and _fits(found, old, new) else None


def _upwards(old: Distribution, new: Distribution) -> Rescaling | None:
    end = float(old.high.max())
    beyond = 1 - float(new.share_up_to(end))
    if beyond * new.counts.sum() < _LEAST or end == 0:
        return None

    def inside(factor: float) -> tuple[float, float]:
        stay = float(old.share_up_to(end / factor))
        return stay, old.quantile((1 + stay) / 2)

    return _iterated(beyond, new.quantile(1 - beyond / 2), old, inside)


def _downwards(old: Distribution, new: Distribution) -> Rescaling | None:
    end = float(old.low.min())
    beyond = float(new.share_up_to(np.nextafter(end, 0)))
    if beyond * new.counts.sum() < _LEAST or end == 0:
        return None

    def inside(factor: float) -> tuple[float, float]:
        stay = 1 - float(old.share_up_to(end / factor))
        return stay, old.quantile((1 - stay) / 2)

    return _iterated(beyond, new.quantile(beyond / 2), old, inside)


def _iterated(
    beyond: float, median: float, old: Distribution, inside: Callable[[float], tuple[float, float]]
) -> Rescaling | None:
    """inside: the share of values that stay in the range at a factor, and the middle one of the others before it."""
    middle, stay = old.quantile(0.5), 0.0
    for _ in range(_STEPS):
        if not (middle > 0 and math.isfinite(factor := median / middle) and factor > 0):
            return None
        stay, middle = inside(factor)
    share = beyond / (1 - stay) if stay < 1 else math.inf
    return Rescaling(factor, min(share, 1.0)) if share < _NEAR else None


def _refined(found: Rescaling, old: Distribution, growth: float) -> Rescaling:
    """The factor that the second moment tells, of values so alike that beyond the range they have a few cells."""
    exact = math.sqrt(max((growth - (1 - found.share)) / found.share, 0.0))
    near = found.factor / _NEAR < exact < found.factor * _NEAR
    return Rescaling(exact, found.share) if near and old.quantile(0.9) < _ALIKE * old.quantile(0.1) else found


def _fits(found: Rescaling, old: Distribution, new: Distribution) -> bool:
    at, chance = new.ends, _CHANCE * (new.counts.sum() ** -0.5 + old.counts.sum() ** -0.5)
    same, share = (1 - found.share) * old.share_up_to(at), found.share
    # Steps of a distribution lie where the factor says, which is not known better than roughly.
    with np.errstate(over="ignore"):
        least, most = (same + share * old.share_up_to(at / found.factor * by) for by in (1 / _ROUGHLY, _ROUGHLY))
    seen = new.share_up_to(at)
    return bool(np.maximum(seen - most, least - seen).max() <= _MISFIT * share + chance)
