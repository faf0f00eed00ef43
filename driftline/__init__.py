"""Driftline: a streaming drift detector. `driftline.detectors` is its numeric core, `driftline.stream` the rest."""

from driftline.detectors import ADWIN, WindowedKS

__all__ = ["ADWIN", "WindowedKS"]
