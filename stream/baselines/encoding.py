"""The bytes of a baseline's signals and arrays, of which both the content hash and the file are made."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Categories, Coder, Grid, Kind
from driftline.detectors.summaries.layout import Signal
from driftline.detectors.summaries.sketch import Sketch

#: Type of each array, by the name of its file.
DTYPES = {"blocks.npy": "<u4", "sums.npy": "<i8", "extremes.npy": "<f8"}
# The only .npy header that is written and read: numpy's own reader evaluates the header and allocates what it claims.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<u4|<i8|<f8)', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}), (\d{1,9})\), \} *\n",
    re.DOTALL,
)


def signal_to_json(signal: Signal) -> dict[str, Any]:
    """A signal as plain JSON data."""
    coder = signal.coder
    values = {"cuts": coder.cuts.tolist()} if isinstance(coder, Grid) else {"categories": list(coder.values)}
    plain = {"name": signal.name, "kind": signal.kind.value, "numeric": signal.numeric}
    return {**plain, "center": signal.center, "spread": signal.spread, **values}


def signal_from_json(plain: Mapping[str, Any]) -> Signal:
    """The inverse of `signal_to_json`. Raises ValueError, KeyError or TypeError for other data."""
    coder: Coder = Grid(np.array(plain["cuts"], float)) if "cuts" in plain else Categories(tuple(plain["categories"]))
    center, spread = float(plain["center"]), float(plain["spread"])
    return Signal(str(plain["name"]), Kind(plain["kind"]), coder, bool(plain["numeric"]), center, spread)


def array_files(blocks: IntArray, total: Sketch) -> dict[str, bytes]:
    """The .npy files of a baseline's arrays, by name."""
    arrays = zip(DTYPES.items(), (blocks, total.sums, total.extremes), strict=True)
    return {name: _npy(array.astype(dtype, order="C")) for (name, dtype), array in arrays}


def read_array(content: bytes, dtype: str) -> Any:
    """The two-dimensional array in a .npy file. Raises ValueError for any other content."""
    head = _NPY.match(content)
    if head is None or head[1].decode() != dtype:
        raise ValueError(f"expected a .npy file of two dimensions and type {dtype}")
    return np.frombuffer(content, dtype, offset=head.end()).reshape(int(head[2]), int(head[3]))


def canonical_json(plain: Any) -> bytes:
    """Compact JSON with sorted keys: equal data gives equal bytes."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _npy(array: IntArray | FloatArray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
