"""Intervals of 95 % for the figures that a table of outcomes gives. Arrays of any shape that broadcast.

effect: the design effect; n rows count as n / effect independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# The normal distribution has 2.5 % beyond it.
_Z = 1.959963984540054


class Figure(NamedTuple):
    """A figure of n rows with an interval of 95 %; None where it has none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


#: A figure of no rows.
NOTHING = Figure(None)


def share(k: float, n: float, effect: float = 1.0) -> Figure:
    """k of n rows, with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927), which never leaves [0, 1].

    >>> [round(each, 3) for each in share(0, 20)]
    [0.0, 0.0, 0.161, 20]
    """
    if n <= 0:
        return NOTHING
    p, own = float(k / n), n / effect
    middle = (p + _Z**2 / (2 * own)) / (1 + _Z**2 / own)
    half = _Z / (1 + _Z**2 / own) * math.sqrt(p * (1 - p) / own + _Z**2 / (4 * own**2))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Figure(p, 0.0 if k == 0 else low, 1.0 if k == n else high, round(n))


def mean(total: float, squares: float, n: float, effect: float = 1.0) -> Figure:
    """The mean of n values from their sum and that of their squares, with a normal interval."""
    if n <= 0:
        return NOTHING
    value = float(total / n)
    if n < 2:
        return Figure(value, n=round(n))
    variance = max(squares / n - value**2, 0.0) * n / (n - 1)
    half = _Z * math.sqrt(variance * effect / n)
    return Figure(value, value - half, value + half, round(n))


def mapped(figure: Figure, value_of: Callable[[float], float]) -> Figure:
    """A figure of which another one is a rising function; the interval is mapped likewise."""
    if figure.value is None:
        return NOTHING
    low, high = (None if each is None else value_of(each) for each in (figure.low, figure.high))
    return Figure(value_of(figure.value), low, high, figure.n)


def logit(value: float, variance: float, n: int, fewest: float, effect: float = 1.0) -> Figure:
    """A figure from 0 to 1 with its variance, and an interval that is normal on the scale of its logit.

    fewest: rows of the smaller side, by which the interval is that of a share where the variance says nothing.
    """
    if not 0 < value < 1 or variance <= 0:
        return share(value * fewest, fewest, effect)._replace(n=n)
    middle, half = math.log(value / (1 - value)), _Z * math.sqrt(variance * effect) / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (middle - half, middle + half))
    return Figure(value, low, high, n)
