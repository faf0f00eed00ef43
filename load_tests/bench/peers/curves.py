"""Delay against the rate of false pages: what a detector can do shows only where both are seen at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from load_tests.bench.detection import MODEL
from load_tests.bench.peers.cases import Peer, alarms, middle, normal
from load_tests.bench.peers.drifts import optimum
from load_tests.bench.peers.model import PANES, Model, drifting
from load_tests.bench.peers.of_river import peer

#: Drifts that have curves.
CURVES = ("mean 0.2 σ", "mean 0.5 σ", "spread × 1.2")
# False pages that Driftline and the optimum are allowed for an event of the model.
_RATES = (1e-4, 1e-5, 1e-6)
_SETTINGS = {"ADWIN": (0.3, 0.1, 0.02, 0.002), "Page-Hinkley": (100, 200, 400, 800, 1600)}
# Values without a drift by which a peer's rate is measured; one with fewer alarms than three has none.
_MEASURED_ON, _FEWEST = 6_000_000, 3


def curves(drifts: Sequence[str], runs: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By drift and detector: false pages in a million events of a model of 20 such signals, and the median delay."""
    rates = {name: [_rate(peer(name, each)) for each in settings] for name, settings in _SETTINGS.items()}
    found = {}
    for drift in drifts:
        models = [drifting(drift, seed) for seed in range(runs)]
        found[drift] = _curves(drift, models, rates)
        print(f"curves of {drift}: {found[drift]}", file=sys.stderr, flush=True)
    return found


def _curves(
    drift: str, models: Sequence[Model], rates: dict[str, list[float | None]]
) -> dict[str, list[tuple[float, float]]]:
    least = [middle([optimum(drift, each.case.values[each.at :], rate / MODEL) for each in models]) for rate in _RATES]
    own = [middle([each.delay(PANES[1], rate) for each in models]) for rate in _RATES]
    promised = [rate * 1e6 for rate in _RATES]
    found: dict[str, Any] = {"optimum": zip(promised, least, strict=True), "Driftline": zip(promised, own, strict=True)}
    for name, settings in _SETTINGS.items():
        slow = [middle([peer(name, each).figure(model.case) for model in models]) for each in settings]
        found[name] = zip(rates[name], slow, strict=True)
    return {
        name: [(rate, delay) for rate, delay in points if rate is not None and math.isfinite(delay)]
        for name, points in found.items()
    }


def _rate(watching: Peer) -> float | None:
    quiet = normal(_MEASURED_ON)
    found = sum(1 for _ in alarms(watching.start(quiet[:20_000]), quiet))
    return found / len(quiet) * MODEL * 1e6 if found >= _FEWEST else None
