"""What a number of pages says of how many are to be expected, if it is a Poisson number."""

from __future__ import annotations

from collections.abc import Callable

from load_tests.bench.absence import above


def interval(count: int) -> tuple[float, float]:
    """The means of a Poisson number of which it is neither too small nor too large to be `count`, each in 2.5 %.

    >>> [round(each, 2) for each in interval(10)], round(interval(0)[1], 2)
    ([4.8, 18.39], 3.69)
    """
    low = _where(lambda mean: above(count, mean) > 0.025, count) if count else 0.0
    return low, _where(lambda mean: 1 - above(count + 1, mean) <= 0.025, count)


def bound(count: int) -> float:
    """The largest mean of a Poisson number that is as small as `count` in 5 % of cases.

    >>> round(bound(0), 2), round(bound(10), 2)
    (3.0, 16.96)
    """
    return _where(lambda mean: 1 - above(count + 1, mean) <= 0.05, count)


def _where(holds: Callable[[float], bool], count: int) -> float:
    """The least mean for which something holds, of means about a Poisson number."""
    low, high = 0.0, 2.0 * count + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
