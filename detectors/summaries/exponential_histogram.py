"""The exponential histogram (nicknamed "ladder"): all of history at every scale, in O(M log n) buckets.

Datar, Gionis, Indyk & Motwani, "Maintaining Stream Statistics over Sliding Windows" (SIAM J. Comput. 31(6), 2002),
as used inside ADWIN (Bifet & Gavaldà 2007). Row i holds at most M buckets, each the sum of 2^i pushed items:

    rows[2]    rows[1]      rows[0]
    [4][4]     [2][2][2]    [1][1][1]      <- newest item
    oldest                    newest

A push appends to row 0; a row that grows beyond M merges its two oldest buckets into one bucket of the next row. Unlike
in the paper, a bucket holds any additive summary (a sketch, moments), not a count of ones, so every suffix of the
buckets is a window whose summary is exact.

An exponential histogram is immutable: operations return a new one, which shares the unchanged buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import add
from typing import Any, Generic, Protocol, TypeVar

from driftline.detectors.snapshots import check_version

SNAPSHOT_VERSION = 1


class Additive(Protocol):
    """A summary with an associative `+`; the sum of two summaries summarises both parts."""

    def __add__(self, other: Any, /) -> Any: ...


T = TypeVar("T", bound=Additive)


# Without slots: in Python 3.11 `ExponentialHistogram[int]()` fails for a frozen generic dataclass that has them.
@dataclass(frozen=True)
class ExponentialHistogram(Generic[T]):
    """Buckets of 2^i items, at most `max_buckets` a row, oldest first within a row; iterates from oldest to newest.

    Memory: at most M * (log2(n / M + 1) + 1) buckets for n items, M = `max_buckets`.
    Raises ValueError if `max_buckets` is below 2.

    >>> histogram = ExponentialHistogram[int](max_buckets=2)
    >>> for one in [1] * 7:
    ...     histogram = histogram.push(one)
    >>> histogram.rows
    ((1,), (2,), (4,))
    >>> list(histogram)
    [4, 2, 1]
    """

    max_buckets: int = 5
    rows: tuple[tuple[T, ...], ...] = ()

    def __post_init__(self) -> None:
        # With one bucket a row, every merge would leave its row empty: a hole between the sizes.
        if self.max_buckets < 2:
            raise ValueError(f"max_buckets must be at least 2, got {self.max_buckets}")

    def push(self, item: T) -> ExponentialHistogram[T]:
        """The histogram with one more item; O(1) amortised, O(log n) at worst."""
        return self.extend((item,))

    def extend(self, items: Iterable[T]) -> ExponentialHistogram[T]:
        """The histogram with more items, oldest first: the same as pushing them one by one, but cheaper."""
        rows, carry = list(self.rows), tuple(items)
        level = 0
        while carry:
            row = (*rows[level], *carry) if level < len(rows) else carry
            # As many of the oldest buckets as bring the row back to max_buckets: an even number, merged in pairs.
            merged = max(0, len(row) - self.max_buckets + 1) // 2 * 2
            rows[level : level + 1] = [row[merged:]]
            carry = tuple(map(add, row[:merged:2], row[1:merged:2]))
            level += 1
        return ExponentialHistogram(self.max_buckets, tuple(rows))

    def map(self, change: Callable[[T], T]) -> ExponentialHistogram[T]:
        """The histogram with each bucket changed. `change` must be additive, as the buckets are."""
        return ExponentialHistogram(self.max_buckets, tuple(tuple(map(change, row)) for row in self.rows))

    def drop_oldest(self) -> ExponentialHistogram[T]:
        """The histogram without its oldest bucket. Raises IndexError if it is empty."""
        *newer, oldest = self.rows or ((),)
        if not oldest:
            raise IndexError("drop_oldest from an empty exponential histogram")
        return ExponentialHistogram(self.max_buckets, (*newer, oldest[1:]) if len(oldest) > 1 else tuple(newer))

    def __iter__(self) -> Iterator[T]:
        """Buckets from oldest to newest."""
        return chain.from_iterable(reversed(self.rows))

    def __len__(self) -> int:
        """Number of buckets."""
        return sum(map(len, self.rows))

    def snapshot(self, encode: Callable[[T], Any]) -> dict[str, Any]:
        """The histogram as plain data; `encode` turns one bucket into plain data."""
        return {
            "version": SNAPSHOT_VERSION,
            "max_buckets": self.max_buckets,
            "rows": [[encode(bucket) for bucket in row] for row in self.rows],
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], decode: Callable[[Any], T]) -> ExponentialHistogram[T]:
        """The histogram of a snapshot; `decode` is the inverse of `encode`.

        Raises ValueError if the snapshot has an unknown version or rows that no histogram has.
        """
        check_version("histogram", snapshot, SNAPSHOT_VERSION)
        rows = tuple(tuple(map(decode, row)) for row in snapshot["rows"])
        histogram = cls(snapshot["max_buckets"], rows)
        if not all(0 < len(row) <= histogram.max_buckets for row in rows):
            raise ValueError(f"histogram snapshot: every row must have 1 to {histogram.max_buckets} buckets")
        return histogram
