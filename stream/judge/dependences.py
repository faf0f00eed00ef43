"""The dependence of baselines, derived once for all judges that share a cache. Pure."""

from __future__ import annotations

from weakref import WeakValueDictionary

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import Dependence
from driftline.stream.baselines.baseline import Baseline


class DependenceCache:
    """The dependence of each baseline, derived once for all judges that share the cache.

    Deriving one takes some tenths of a second, and the same model in many regions has one baseline. Entries are kept by
    content hash and reference, and each is dropped with the last judge that uses it.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, bool], Dependence] = WeakValueDictionary()

    def of(self, baseline: Baseline, battery: Battery) -> Dependence:
        """The dependence of a baseline's own windows in the columns of `battery`."""
        key = baseline.content_hash, battery.against_past
        found = self._known.get(key) or baseline.dependence(battery)
        return self._known.setdefault(key, found)
