"""Driftline: a streaming drift detector. `driftline.detectors` is its numeric core, `driftline.stream` the rest."""

from typing import TYPE_CHECKING, Any

from driftline.detectors import ADWIN, WindowedKS

if TYPE_CHECKING:
    from driftline.stream.scan.compare import Result, compare

__all__ = ["ADWIN", "Result", "WindowedKS", "compare"]


def __getattr__(name: str) -> Any:
    # Comparing tables takes half a second to import, which the detectors and the command line should not pay.
    if name in ("compare", "Result"):
        from driftline.stream.scan import compare as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
