"""Driftline: a streaming drift detector. `driftline.detectors` is its numeric core, `driftline.stream` the rest."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from driftline.detectors import ADWIN, WindowedKS
    from driftline.stream.scan.compare import Result, compare

__all__ = ["ADWIN", "Result", "WindowedKS", "compare"]

# Imported on first use: NumPy takes a tenth of a second, comparing tables half a second, which `driftline --help` and
# whoever wants only the other one should not pay.
_HOMES: Final = {
    "ADWIN": "driftline.detectors",
    "WindowedKS": "driftline.detectors",
    "Result": "driftline.stream.scan.compare",
    "compare": "driftline.stream.scan.compare",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
