"""What is known of a signal without its baseline: enough to read sketches, and to tell whether two are judged alike."""

from __future__ import annotations

from typing import NamedTuple


class WatchedSignal(NamedTuple):
    """A signal of a baseline, without its coder.

    hash: of all that decides how it is judged, see `stream.baselines.derived`. size, ordered, numeric, range: the shape
    of its codes, as in `detectors.summaries.layout.Signal`.
    """

    name: str
    hash: str
    size: int
    ordered: bool
    numeric: bool
    range: tuple[float, float] | None


#: All signals of a layout, in its order.
Signals = tuple[WatchedSignal, ...]
