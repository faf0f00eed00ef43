"""Ids of events as 64-bit keys, by which labels find their predictions. Pure.

The keys are stored and travel on topics, so this function never changes: `tests/outcomes/test_ids.py` has vectors. Of n
predictions, a label belongs to a wrong one with a chance of n / 2^64: 5e-13 of ten million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

#: The bits of a key.
KEY_BITS: Final = 64
# 2^64 divided by the golden ratio, and the multipliers of SplitMix64 (Steele, Lea and Flood 2014, mix13 of Stafford).
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD = 8
# Bytes of the ids that are hashed as one matrix: a long id would make all others as long.
_LONG = 64


def hash_ids(ids: Sequence[str]) -> Keys:
    """The keys (n,) of ids: their UTF-8 in words of 8 bytes, little-endian, mixed one after the other.

    The length is mixed in first, so ids that differ in zeros at their end have different keys.
    """
    texts = [id_.encode("utf-8", "surrogatepass") for id_ in ids]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    keys = np.empty(len(texts), np.uint64)
    words = -(-lengths // _WORD)
    # Ids of a batch are nearly always of one or two widths.
    for width in np.unique(np.where(lengths > _LONG, words, -1)).tolist():
        rows = np.flatnonzero(words == width if width >= 0 else lengths <= _LONG)
        keys[rows] = _hashed([texts[row] for row in rows.tolist()], lengths[rows])
    return keys


def _hashed(texts: list[bytes], lengths: npt.NDArray[np.int64]) -> Keys:
    """The keys of texts; those that end before the longest are mixed only as far as they go."""
    words = -(-lengths // _WORD)
    width = int(words.max(initial=0))
    matrix = np.array(texts, f"S{max(width, 1) * _WORD}").view("<u8").reshape(len(texts), -1).astype(np.uint64)
    keys = _mixed(lengths.astype(np.uint64) * _STEP)
    for place in range(width):
        mixed = _mixed(keys ^ (matrix[:, place] * _STEP + np.uint64(place)))
        keys = np.where(words > place, mixed, keys)
    return keys


def _mixed(keys: Keys) -> Keys:
    keys = (keys ^ (keys >> np.uint64(30))) * _FIRST
    keys = (keys ^ (keys >> np.uint64(27))) * _SECOND
    return keys ^ (keys >> np.uint64(31))
