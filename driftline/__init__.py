"""Driftline: a streaming drift detector. `driftline.detectors` is its numeric core, `driftline.stream` the rest."""

from driftline.detectors.online.adwin import ADWIN
from driftline.detectors.online.windowed_ks import WindowedKS

__all__ = ["ADWIN", "WindowedKS"]
