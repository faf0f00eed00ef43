"""Incremental drift statistics and online drift detectors; numpy only.

`ADWIN` and `WindowedKS` take one value at a time and have River's interface (`update(x)`, `drift_detected`). The other
modules hold the same statistics, vectorised over windows and signals, for the stream workers.
"""

from driftline.detectors.online.adwin import ADWIN
from driftline.detectors.online.windowed_ks import WindowedKS

__all__ = ["ADWIN", "WindowedKS"]
