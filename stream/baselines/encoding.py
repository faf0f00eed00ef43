"""The bytes of a baseline's signals and arrays, of which both the content hash and the file are made."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Categories, Coder, Grid, Kind
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch

#: Type of each array that the content hash covers, by the name of its file.
DTYPES = {"blocks.npy": "<u4", "sums.npy": "<i8", "extremes.npy": "<f8"}
#: Types of counts that are stored in as few bytes as the largest needs.
COUNTS = ("|u1", "<u2", "<u4", "<u8")
# The only .npy header that is written and read: numpy's own reader evaluates the header and allocates what it claims.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(\|u1|<u2|<u4|<u8|<i8|<f8)', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}), (\d{1,9})\), \} *\n",
    re.DOTALL,
)


def signal_to_json(signal: Signal) -> dict[str, Any]:
    """A signal as plain JSON data."""
    coder = signal.coder
    values = {"cuts": coder.cuts.tolist()} if isinstance(coder, Grid) else {"categories": list(coder.values)}
    plain = {"name": signal.name, "kind": signal.kind.value, "numeric": signal.numeric}
    lies = {} if signal.range is None else {"range": list(signal.range)}
    spelt = {"whole": True} if signal.whole else {}
    grouped = {} if signal.groups_of is None else {"groups_of": signal.groups_of}
    return {**plain, "center": signal.center, "spread": signal.spread, **values, **lies, **spelt, **grouped}


def signal_from_json(plain: Mapping[str, Any]) -> Signal:
    """The inverse of `signal_to_json`. Raises ValueError, KeyError or TypeError for other data."""
    coder: Coder = Grid(np.array(plain["cuts"], float)) if "cuts" in plain else Categories(tuple(plain["categories"]))
    center, spread = float(plain["center"]), float(plain["spread"])
    ends = _range(*plain["range"]) if "range" in plain else None
    return Signal(
        str(plain["name"]),
        Kind(plain["kind"]),
        coder,
        bool(plain["numeric"]),
        center,
        spread,
        range=ends,
        whole=bool(plain.get("whole", False)),
        groups_of=str(plain["groups_of"]) if "groups_of" in plain else None,
    )


def _range(low: float, high: float) -> tuple[float, float]:
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"a signal cannot range from {low} to {high}")
    return float(low), float(high)


def content_hash(signals: bytes, blocks: IntArray, total: Sketch) -> str:
    """SHA-256 of signals, as `signals_file` has them, and arrays, in hex: baselines with the same hash judge alike."""
    return hashlib.sha256(b"".join([signals, *array_files(blocks, total).values()])).hexdigest()


def signals_file(layout: Layout) -> bytes:
    """The signals as JSON."""
    return canonical_json(list(map(signal_to_json, layout.signals)))


def array_files(blocks: IntArray, total: Sketch) -> dict[str, bytes]:
    """The .npy files of the arrays that the content hash covers, by name."""
    arrays: tuple[IntArray | FloatArray, ...] = (blocks, total.sums, total.extremes)
    return {name: array_file(array, dtype) for (name, dtype), array in zip(DTYPES.items(), arrays, strict=True)}


def array_file(array: IntArray | FloatArray, dtype: str) -> bytes:
    """The .npy file of a two-dimensional array."""
    out = io.BytesIO()
    np.save(out, array.astype(dtype, order="C"), allow_pickle=False)
    return out.getvalue()


def counts_file(counts: IntArray) -> bytes:
    """The .npy file of counts (P, C), in the smallest type that holds them."""
    return array_file(counts, counts_type(counts))


def counts_type(counts: IntArray) -> str:
    """The smallest type that holds these counts."""
    largest = int(counts.max(initial=0))
    return next(each for each in COUNTS if largest <= np.iinfo(each).max)


def read_array(content: bytes, *dtypes: str) -> Any:
    """The two-dimensional array in a .npy file of one of these types. Raises ValueError for any other content."""
    head = _NPY.match(content)
    if head is None or head[1].decode() not in dtypes:
        raise ValueError(f"expected a .npy file of two dimensions and type {' or '.join(dtypes)}")
    return np.frombuffer(content, head[1].decode(), offset=head.end()).reshape(int(head[2]), int(head[3]))


def canonical_json(plain: Any) -> bytes:
    """Compact JSON with sorted keys: equal data gives equal bytes."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
