"""River's detectors as peers of `bench.peers`, at their defaults and at the setting that keeps the rate of one signal.

HDDM takes errors, 0 or 1: it is given whether a value is above the baseline's median. KSWIN takes 0.4 ms a value, so
that finding its setting would take half an hour for each. Its p-values are exact, so a level of the rate keeps the
rate on independent values, whatever it is fed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import HDDMA, HDDMW

from load_tests.bench.peers.cases import PER_VALUE, Alarmed, Floats, Peer, most_sensitive


@dataclass(frozen=True)
class Kind:
    """A detector of River. settings: its default, then ever less sensitive ones. errors: it takes 0 and 1."""

    make: Callable[[float], Any]
    settings: tuple[float, ...]
    errors: bool = False
    slow: bool = False

    def start(self, setting: float) -> Callable[[Floats], Alarmed]:
        """How it starts at a setting."""

        def of(known: Floats) -> Alarmed:
            detector, middle = self.make(setting), float(np.median(known))

            def alarmed(value: float) -> bool:
                detector.update(value > middle if self.errors else value)
                return bool(detector.drift_detected)

            return alarmed

        return of


def _hddm(make: Any) -> Callable[[float], Any]:
    return lambda confidence: make(drift_confidence=confidence, warning_confidence=5 * confidence)


_CONFIDENCES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 3e-8, 1e-8)
RIVER = {
    "ADWIN": Kind(
        lambda delta: ADWIN(delta=delta),  # type: ignore[no-untyped-call]  # it is Cython
        (2e-3, 5e-4, 1e-4, 2e-5, 5e-6, 1e-6, 1e-7, 1e-8),
    ),
    "Page-Hinkley": Kind(lambda limit: PageHinkley(threshold=limit), (50, 100, 200, 400, 800, 1600, 3200)),
    "KSWIN": Kind(lambda alpha: KSWIN(alpha=alpha, seed=1), (5e-3, PER_VALUE), slow=True),
    "HDDM_A": Kind(_hddm(HDDMA), _CONFIDENCES, errors=True),
    "HDDM_W": Kind(_hddm(HDDMW), _CONFIDENCES, errors=True),
}


@cache
def tuned(name: str) -> float:
    """The most sensitive setting that raises no more alarms than allowed on normal values."""
    kind = RIVER[name]
    return kind.settings[-1] if kind.slow else most_sensitive(kind.start, kind.settings)


def peer(name: str, setting: float) -> Peer:
    """A detector of River at a setting."""
    kind = RIVER[name]
    return Peer(f"{name} {setting:g}", kind.start(setting), kind.slow)


def peers(*names: str) -> list[Peer]:
    """Each at its default and at the setting that keeps the rate, once where that is the same."""
    both = {name: dict.fromkeys((RIVER[name].settings[0], tuned(name))) for name in names or RIVER}
    return [
        replace(peer(name, setting), is_looser=setting != tuned(name))
        for name, settings in both.items()
        for setting in settings
    ]
