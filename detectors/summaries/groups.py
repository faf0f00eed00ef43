"""Groups: the values of a text that have no category of their own, counted in a few groups by hash.

Of a text with many values, the baseline knows the commonest ones, and all others are unseen: by their sum alone, a
rare value that becomes common is seen late or never, and not at all that rare values are written in another way. Here
a value belongs to one of G groups by a hash of its text. A group has hundreds of values, whose share of the traffic is
as steady as that of one value, and which one of them moves.

A signal of groups is a nominal one like any other. Its categories are the values with a category in the text's own
signal, together, and the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import Categories, Special, shortened

#: The category of all values that have one in the text's own signal.
KNOWN = "known values"


def group_categories(number: int) -> Categories:
    """The categories of a signal of `number` groups.

    >>> group_categories(2).values
    ('known values', 'group 1 of 2', 'group 2 of 2')
    """
    return Categories((KNOWN, *(f"group {group} of {number}" for group in range(1, number + 1))))


def group_codes(texts: Sequence[str | None], codes: IntArray, known: int, number: int) -> IntArray:
    """Local codes (n,) of texts in `number` groups; what is special has the same special code.

    codes: (n,) of the texts among their `known` categories. A group is the CRC-32 of the text in UTF-8, of as much of
    it as counts, modulo `number`: the same on every machine.

    >>> group_codes(["DE", "XX", None], Categories(("DE", "FR")).encode(["DE", "XX", None]), 2, 32).tolist()
    [0, 6, 33]
    """
    found = np.where(codes < known, 0, codes - known + 1 + number)
    rows = np.flatnonzero(codes == known + Special.UNSEEN)
    hashes = [crc32(shortened(texts[row]).encode("utf-8", "surrogatepass")) for row in rows.tolist()]
    found[rows] = 1 + np.array(hashes, np.int64) % number
    return found
