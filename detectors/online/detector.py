"""What the detectors of one stream share: many values at once, and how they are printed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from driftline.detectors.parameters import at_least


class Detector(ABC):
    """A detector of one stream of numbers."""

    drift_detected: bool
    n_detections: int
    n_skipped: int

    @abstractmethod
    def update(self, x: float) -> None:
        """Add one value; `drift_detected` then says whether a change was found."""

    def update_many(self, values: Iterable[Any], cooldown: int = 0) -> list[int]:
        """Add values; returns the positions among them at which a change was found.

        cooldown: after a change, positions of this many values are left out: a change that is still going on, or stays
        in the window, is found again. Raises ValueError if it is negative.

        >>> from driftline import ADWIN
        >>> stream = [0] * 500 + [1] * 500
        >>> ADWIN().update_many(stream), ADWIN().update_many(stream, cooldown=100)
        ([511, 543, 607], [511])
        """
        found, allowed = list[int](), 0
        at_least(0, "cooldown", cooldown)
        for position, value in enumerate(values):
            self.update(value)
            if self.drift_detected and position >= allowed:
                found.append(position)
                allowed = position + cooldown + 1
        return found

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What to print of it: parameters, then what it has seen."""

    def __repr__(self) -> str:
        facts = {**self._facts(), "detections": self.n_detections, "skipped": self.n_skipped}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in facts.items())})"
