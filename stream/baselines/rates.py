"""How many events a model has in each hour of the week, learned from files that hold all of them. Pure.

A worker learns it from what it reads, which takes weeks. Files are often samples, and say nothing of it unless somebody
says that they are whole (`absence.rates`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.rates import HOUR, SLOT, WEEK, Rates
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar, Traffic
from driftline.stream.baselines.encoding import array_file, read_array

#: The file of the rates: what is learned, the longest gap, and the arrays, one after another.
RATES_FILE: Final = "rates.npy"
#: Raised whenever the same events give other rates; then a worker learns its own.
RATES_VERSION: Final = 1
_SHAPES = {name: getattr(Rates(0), name).shape for name in ("cells", "levels", "spread", "tails")}
_SIZES = [int(np.prod(shape)) for shape in _SHAPES.values()]
# Hours before the last event from which is learned: half a year, as an eighth is forgotten each week. It takes 5 s.
_MOST = 26 * WEEK


def rates_of(times: Iterable[int], calendar: Calendar = EVERY_DAY) -> Rates:
    """The rates of events at these times, epoch ms, which are all that came between the first and the last of them."""
    slots, counts = np.unique(np.fromiter(times, np.int64) // (SLOT * 1000), return_counts=True)
    return learn_rates(slots, counts, calendar)


def learn_rates(slots: IntArray, counts: IntArray, calendar: Calendar = EVERY_DAY) -> Rates:
    """The rates of a model with counts (n,) of events in slots (n,), n >= 1, all others between them being empty.

    The first and the last hour are left out, of which a part may be missing.
    """
    end = int(slots.max()) // HOUR
    first = max(int(slots.min()) // HOUR + 1, end - _MOST)
    # An hour is learned when the next one has passed.
    return Traffic.start(first * HOUR).observe(slots, counts, (end + 1) * HOUR + 1, calendar=calendar).rates


def rates_file(rates: Rates) -> bytes:
    """The .npy file, without what belongs to the time at which the rates were learned."""
    arrays = [getattr(rates, name).ravel() for name in _SHAPES]
    return array_file(np.concatenate([[rates.learned, rates.longest], *arrays])[None], "<i8")


def rates_facts(file: bytes) -> dict[str, Any]:
    """What the manifest says of the file."""
    return {"version": RATES_VERSION, "hash": hashlib.sha256(file).hexdigest()}


def rates_from(facts: Mapping[str, Any], file: bytes) -> Rates | None:
    """The rates in a file, of which the manifest states `facts`; None if another version learned them.

    Raises ValueError or KeyError if it is damaged.
    """
    if facts["version"] != RATES_VERSION:
        return None
    values = read_array(file, "<i8")
    if facts["hash"] != hashlib.sha256(file).hexdigest() or values.shape != (1, 2 + sum(_SIZES)):
        raise ValueError("the rates do not match their hash")
    (learned, longest), *parts = np.split(values[0], [*accumulate(_SIZES[:-1], initial=2)])
    arrays = {name: part.reshape(_SHAPES[name]) for name, part in zip(_SHAPES, parts, strict=True)}
    return Rates(0, int(learned), quiet=0, longest=int(longest), **arrays)
