"""Codes: the integers that values become before they are counted.

A baseline gives every signal a coder. A coder has `size` regular codes, 0 .. size-1, followed by the six special codes
of `Special`, the same for every signal, so that a value that is not regular is counted as what it is and never as 0.

`Grid`, for ordered signals: K-1 cuts on the real line,

        code 0   cuts[0]   code 1   cuts[1]   code 2  ...  cuts[K-2]   code K-1
    ────────────────┤───────────────────┤───────────────────────┤─────────────────►   (a cut belongs to the code below)

so the code of a value is the number of cuts below it: monotone, and found by one binary search. A frequent value `a`
(an atom) gets a code of its own by two cuts, the float just below `a` and `a` itself.

Beyond the baseline's range the outermost codes say nothing of how far away a value is. `magnitudes` does, for those
values alone: cells of equal ratio around zero, the same for every signal, as in DDSketch (Masson, Rim & Lee, "DDSketch:
A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", PVLDB 12(12), 2019).

`Categories`, for nominal signals: one code per value that the baseline knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray, IntArray

# With 64 quantile bins, D is at most 1/64 less than if every value were kept; a shift of 0.1 sigma moves D by 0.04.
# Half as many bins save half the judge's time and memory and double that loss.
BINS = 64
# A signal with at most this many distinct values keeps them all, and D is exact. With 256, its bucket takes 4 kB.
MAX_DISTINCT = 256
#: Characters of a text by which it counts. 255 categories of 2000 signals then take half a gigabyte at worst; texts
#: that differ only after that many are documents, of which nearly every one is another anyway.
TEXT = 1000

# Cells of an octave: a value is known to a ninth, and a change of unit, which is seldom below 2.5, to that.
_PER_OCTAVE = 4
# 2^(1/4) to 2^(3/4) times a half: where an octave is cut. As literals, and compared with exact mantissas, so that a
# value has the same cell on every processor; logarithms differ in their last bit.
_OCTAVE_CUTS = np.array([0.5946035575013605, 0.7071067811865476, 0.8408964152537145])
# Octaves on either side of 1 that are told apart, 2^-64 to 2^64: nanoseconds in a year are 2^55.
_OCTAVES = 64
_PER_SIGN = 2 * _OCTAVES * _PER_OCTAVE
#: Number of cells of magnitudes: of either sign, and one of values so near to 0 that they are 0 to everyone.
MAGNITUDES = 2 * _PER_SIGN + 1


class Kind(StrEnum):
    """The kind of values of a signal in its baseline."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    CONSTANT = "constant"


class Special(IntEnum):
    """Codes of values that are not regular; a coder's local code of one is `size + special`."""

    MISSING = 0
    NAN = 1
    NEG_INF = 2
    POS_INF = 3
    INVALID = 4
    UNSEEN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Ordered codes of a numeric signal.

    cuts: (K-1,) finite, strictly ascending, in the signal's unit, or ValueError.

    >>> grid = Grid.fit(np.array([1.0, 2.0, 2.0, 5.0]))
    >>> grid.encode(np.array([0.0, 1.0, 1.5, 2.0, 5.0, 9.0, np.nan, np.inf])).tolist()
    [0, 1, 2, 3, 5, 6, 7, 10]
    """

    cuts: FloatArray

    def __post_init__(self) -> None:
        if self.cuts.ndim != 1 or not np.isfinite(self.cuts).all() or (self.cuts[1:] <= self.cuts[:-1]).any():
            raise ValueError("cuts must be finite and strictly ascending")

    @classmethod
    def fit(cls, values: npt.ArrayLike, bins: int = BINS, max_distinct: int = MAX_DISTINCT) -> Grid:
        """The grid of a sample of any length; values that are not finite are ignored.

        With up to `max_distinct` distinct values, each is an atom. Otherwise the cuts are `bins` quantiles, and every
        value with more than one bin's share is an atom. Raises ValueError if `bins` is below 2.
        """
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        sample = np.asarray(values, float).ravel()
        sample = sample[np.isfinite(sample)]
        distinct, counts = np.unique(sample, return_counts=True)
        if distinct.size <= max_distinct:
            return cls(_around(distinct))
        atoms = distinct[counts > sample.size / bins]
        shares = np.arange(1, bins) / bins
        return cls(np.unique(np.concatenate([quantiles(sample, shares), _around(atoms)])))

    @property
    def size(self) -> int:
        """Number of regular codes, K."""
        return self.cuts.size + 1

    def encode(self, values: FloatArray) -> IntArray:
        """Local codes (n,) of float values (n,). NaN stands for an absent value and becomes MISSING."""
        codes = np.searchsorted(self.cuts, values, side="left")
        odd = ~np.isfinite(values)
        if odd.any():
            codes[odd] = self.size + _special_floats(values[odd])
        return codes


@dataclass(frozen=True)
class Categories:
    """Nominal codes: one per value that the baseline knows, in the order given. A text counts by its beginning.

    values: (K,) distinct, at least one, or ValueError; text for categorical, boolean and constant text signals, one
    float for a constant number.

    >>> Categories(("DE", "FR")).encode(["FR", "XX", None]).tolist()
    [1, 7, 2]
    """

    values: tuple[str, ...] | tuple[float]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError("categories must be distinct, and at least one")

    @property
    def size(self) -> int:
        """Number of regular codes, K."""
        return len(self.values)

    @cached_property
    def _codes(self) -> dict[Any, int]:
        # Of values that begin alike, as a baseline may have that was made before texts were cut, the first one counts.
        values = list(enumerate(self.values))[::-1]
        return {shortened(value): code for code, value in values} | {None: self.size + Special.MISSING}

    def encode(self, values: FloatArray | Sequence[str | None]) -> IntArray:
        """Local codes (n,) of text values or, for a constant number, of floats (NaN stands for an absent value)."""
        if isinstance(values, np.ndarray):
            return self._encode_numbers(values)
        unseen, code_of = self.size + Special.UNSEEN, self._codes.get
        codes = np.fromiter((code_of(value, unseen) for value in values), np.int64, len(values))
        for row in np.flatnonzero(codes == unseen).tolist():  # those that are too long to be found as they are
            codes[row] = code_of(shortened(values[row]), unseen)
        return codes

    def _encode_numbers(self, values: FloatArray) -> IntArray:
        codes = np.where(values == self.values[0], 0, self.size + Special.UNSEEN)
        odd = ~np.isfinite(values)
        codes[odd] = self.size + _special_floats(values[odd])
        return codes


def shortened(value: Any) -> Any:
    """A text's first `TEXT` characters; any other value as it is.

    >>> len(shortened("x" * 5000)), shortened("DE"), shortened(1.5)
    (1000, 'DE', 1.5)
    """
    return value[:TEXT] if isinstance(value, str) else value


Coder = Grid | Categories


def quantiles(sample: FloatArray, shares: npt.ArrayLike) -> FloatArray:
    """For each share in (0, 1], the least value of a finite sample (n,), n > 0, that this share of it does not exceed.

    The results are values of the sample; numpy's `inverted_cdf` interpolates and gets NaN from -1e308 and 1e308.
    """
    nth = np.ceil(np.multiply(shares, sample.size)).astype(np.int64)
    return np.asarray(np.sort(sample)[nth - 1])


def _around(atoms: FloatArray) -> FloatArray:
    """The two cuts that give each atom (m,) a code of its own; adjacent floats share one, the lowest needs only one."""
    with np.errstate(over="ignore"):
        below = np.nextafter(atoms, -np.inf)
    cuts = np.unique(np.column_stack([below, atoms]))
    return np.asarray(cuts[np.isfinite(cuts)])


def magnitudes(values: FloatArray) -> IntArray:
    """Cell (n,) in 0 .. MAGNITUDES-1 of each finite value (n,); it rises with the value.

    >>> (magnitudes(np.array([-1.0, 0.0, 1.0, 1.1, 1.2, 2.0])) - magnitudes(np.array([1.0]))).tolist()
    [-514, -257, 0, 0, 1, 4]
    """
    mantissas, exponents = np.frexp(np.abs(values))
    octave = _PER_OCTAVE * (exponents.astype(np.int64) - 1 + _OCTAVES)
    cell = octave + np.searchsorted(_OCTAVE_CUTS, mantissas, side="right")
    distance = np.where(cell < 0, 0, np.minimum(cell, _PER_SIGN - 1) + 1)
    return np.asarray(_PER_SIGN + np.where(values == 0, 0, np.sign(values).astype(np.int64) * distance))


def magnitude_edges(cells: IntArray) -> tuple[FloatArray, FloatArray]:
    """Between which values each cell (n,) of `magnitudes` lies; the outermost ones reach to infinity."""
    distance = np.abs(cells - _PER_SIGN)
    near = np.where(distance > 0, 2.0 ** ((distance - 1) / _PER_OCTAVE - _OCTAVES), 0.0)
    far = np.where(distance == _PER_SIGN, np.inf, 2.0 ** (distance / _PER_OCTAVE - _OCTAVES))
    negative = cells < _PER_SIGN
    zero = np.where(distance == 0, -far, near)
    return np.where(negative, -far, zero), np.where(negative, -near, far)


def _special_floats(odd: FloatArray) -> IntArray:
    """Special codes of floats that are not finite."""
    infinities = np.where(odd > 0, Special.POS_INF, Special.NEG_INF)
    return np.where(np.isnan(odd), Special.MISSING, infinities).astype(np.int64)
