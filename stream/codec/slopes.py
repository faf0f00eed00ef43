"""What live events say of slopes, as parts of a model's state; from level 3 on. Pure.

- block:I, the I-th block of them, a pane, until they are known;
- slopes, the slopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec
import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.statistics.long_run import LongRun, window_lengths
from driftline.detectors.summaries.shape import Shape, SignalShape
from driftline.stream.baselines.slopes import Slopes
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.panes import PackedPane
from driftline.stream.judge.live_slopes import LiveSlopes

_SINCE = 3
# Blocks of a stretch at most: more would be read into gigabytes.
_MOST_BLOCKS = 4096


class _PackedRun(Stored, frozen=True):
    """A LongRun. variance: by length and functional, little-endian floats of 8 bytes."""

    lag: int
    short: bool
    variance: bytes


class _PackedSlopes(Stored, frozen=True):
    """Slopes. runs: by signal, of each family."""

    blocks: int
    block: float
    runs: dict[str, tuple[_PackedRun, ...]]

    @classmethod
    def of(cls, slopes: Slopes) -> Self:
        runs = {
            name: tuple(_PackedRun(run.lag, run.short, run.variance.astype("<f8").tobytes()) for run in own)
            for name, own in slopes.runs.items()
        }
        return cls(slopes.blocks, slopes.block, runs)

    def unpack(self) -> Slopes:
        if not (1 <= self.blocks <= _MOST_BLOCKS and 0 < self.block < np.inf and self.runs):
            raise FormatError("the slopes of live events are such as nothing can have")
        lengths = window_lengths(self.blocks)
        runs = {
            name: tuple(LongRun(lengths, _variance(run.variance, len(lengths)), run.lag, run.short) for run in own)
            for name, own in self.runs.items()
        }
        return Slopes(self.blocks, self.block, runs)


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_SLOPES, _BLOCK = msgspec.msgpack.Decoder(_PackedSlopes), msgspec.msgpack.Decoder(PackedPane)


def live_slopes_parts(live: LiveSlopes) -> dict[str, tuple[Any, ...]]:
    """The values that each part is made of."""
    blocks: dict[str, tuple[Any, ...]] = {f"block:{i}": (block,) for i, block in enumerate(live.blocks)}
    return blocks | ({"slopes": (live.known,)} if live.known else {})


def live_slopes_facts(live: LiveSlopes | None) -> dict[str, Any]:
    """What the head of a state says of them."""
    overruled = None if live is None or live.overruled is None else dict(live.overruled)
    return {"blocks": len(live.blocks) if live else 0, "overruled": overruled}


def pack_slopes(part: tuple[Slopes]) -> bytes:
    """The frame of the part `slopes`."""
    return frame(b"s", _PackedSlopes.of(*part), _SINCE)


def unpack_live_slopes(
    parts: Mapping[str, bytes], shape: Shape[SignalShape], blocks: int, overruled: Mapping[str, float] | None
) -> LiveSlopes | None:
    """What parts say of slopes; None if nothing. blocks: how many there are. overruled: as in `LiveSlopes`.

    Raises FormatError, or KeyError if one is missing.
    """
    panes = (unframe(b"B", parts[f"block:{i}"], _BLOCK).unpack(shape) for i in range(blocks))
    slopes = unframe(b"s", parts["slopes"], _SLOPES).unpack() if "slopes" in parts else None
    names = {signal.name for signal in shape.signals}
    asked = (names if slopes else ()) if overruled is None else overruled
    if {*(slopes.runs if slopes else ())} != {*asked} or not names.issuperset(asked):
        raise FormatError("the slopes of live events are those of other signals")
    if not all(1 <= times < np.inf for times in (overruled or {}).values()):
        raise FormatError("the slopes of live events are larger by what nothing can be")
    return LiveSlopes(tuple(panes), slopes, overruled) if blocks or slopes or overruled is not None else None


def _variance(data: bytes, lengths: int) -> FloatArray:
    if not data or len(data) % (8 * lengths):
        raise FormatError("the slopes of live events do not match their lengths")
    variance = np.frombuffer(data, "<f8").astype(float).reshape(lengths, -1)
    if not (np.isfinite(variance).all() and (variance >= 0).all()):
        raise FormatError("the slopes of live events are such as nothing can have")
    return variance
