"""What is remembered of a model's traffic, as two parts of its state. Pure.

    traffic     what each pane changes: the counts by slot that are not learned yet, and the incident
    rates       what each hour changes: all that is learned

Both are integers: a number takes as many bytes as it needs, and most are small or 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import msgspec
import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.delays import Delays
from driftline.detectors.decision.rates import HOUR, KEPT, Rates
from driftline.detectors.decision.traffic import Traffic
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.state import TrafficState

# The arrays of `Rates`, and the shapes of all but `kept`, which grows.
_ARRAYS = ("cells", "levels", "spread", "tails", "silence", "kept")
_SHAPES = {name: getattr(Rates(0), name).shape for name in _ARRAYS}


class _PackedTraffic(Stored, frozen=True):
    """A TrafficState without its rates."""

    pending: list[int]
    until: int
    unknown: tuple[int, int]
    begin: int
    closed: tuple[int, int]
    incident: Incident | None
    delays: tuple[int, ...] = Delays().panes
    left_out: tuple[int, int] = (0, 0)

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"delays": 2, "left_out": 2})


class _PackedRates(Stored, frozen=True):
    """The rates, each array as one list."""

    hour: int
    learned: int
    quiet: int
    longest: int
    arrays: dict[str, list[int]]

    @classmethod
    def of(cls, rates: Rates) -> Self:
        arrays = {name: getattr(rates, name).ravel().tolist() for name in _ARRAYS}
        return cls(rates.hour, rates.learned, rates.quiet, rates.longest, arrays)

    def unpack(self) -> Rates:
        """The rates. Raises ValueError if an array has another size."""
        arrays = {name: _shaped(name, self.arrays.get(name, [])) for name in _ARRAYS}
        return Rates(self.hour, self.learned, quiet=self.quiet, longest=self.longest, **arrays)


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_TRAFFIC, _RATES = msgspec.msgpack.Decoder(_PackedTraffic), msgspec.msgpack.Decoder(_PackedRates)


def traffic_parts(state: TrafficState) -> dict[str, tuple[Any, ...]]:
    """The values that each part is made of."""
    counts = state.counts
    own = (counts.pending, counts.until, counts.unknown, state.begin, state.closed, state.incident)
    return {"traffic": (*own, state.delays.panes, counts.left_out), "rates": (counts.rates,)}


def pack_traffic(part: tuple[Any, ...]) -> bytes:
    """The frame of the part `traffic`."""
    pending, *others = part
    return frame(b"C", _PackedTraffic(pending.tolist(), *others))


def pack_rates(part: tuple[Any, ...]) -> bytes:
    """The frame of the part `rates`."""
    return frame(b"W", _PackedRates.of(*part))


def unpack_traffic(traffic: bytes, rates: bytes) -> TrafficState:
    """The state in two frames. Raises FormatError, ValueError or OverflowError for anything else."""
    stored = unframe(b"C", traffic, _TRAFFIC)
    pending = np.array(stored.pending, np.int64)
    if pending.min(initial=0) < 0:
        raise FormatError("a model's traffic has a slot with less than no event")
    known = unframe(b"W", rates, _RATES).unpack()
    counts = Traffic(known, pending, stored.until, stored.unknown, stored.left_out)
    if not counts.first <= counts.until <= counts.first + 2 * HOUR:
        raise FormatError(f"a model's traffic is complete to slot {counts.until}, and learned up to {counts.first}")
    if len(stored.delays) != len(Delays().panes) or min(stored.delays) < 0:
        raise FormatError("a model's traffic has delays that cannot be")
    return TrafficState(counts, stored.begin, stored.closed, stored.incident, Delays(stored.delays))


def unpack_incident(traffic: bytes) -> Incident | None:
    """The incident in the part `traffic`, None if there is none. Raises FormatError."""
    return unframe(b"C", traffic, _TRAFFIC).incident


def _shaped(name: str, values: list[int]) -> IntArray:
    array = np.array(values, np.int64).reshape((*_SHAPES[name][:-1], -1))
    if array.shape != _SHAPES[name] and not (name == "kept" and array.shape[1] <= KEPT):
        raise FormatError(f"what is learned of a model's traffic has {array.size} {name}")
    return array
