"""The pictures of docs/DETECTION.md: delays of all detectors, and delay against the rate of false pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from load_tests.bench.peers.cases import middle

# Of Okabe and Ito (2008), distinct with every kind of colour blindness.
_COLOURS = {"optimum": "#000000", "Driftline": "#0072B2", "ADWIN": "#E69F00", "Page-Hinkley": "#009E73"}
_PEER = "#777777"
_DOTS = ("mean 0.2 σ", "mean 0.5 σ", "spread × 1.2", "two humps", "5 % at one value")
_LEFT_OUT = ("always", "never")


def plot(figures: Mapping[str, Any], folder: Path) -> None:
    """Save `delays.png` and `delay-by-rate.png`."""
    _dots(figures["delays"], folder / "delays.png")
    _curves(figures["curves"], folder / "delay-by-rate.png")


def _dots(delays: Mapping[str, list[dict[str, float | None]]], path: Path) -> None:
    import matplotlib.pyplot as plt  # an extra; only plots need it

    names = [name for name in next(iter(delays.values()))[0] if name not in _LEFT_OUT]
    figure, axes = plt.subplots(1, len(_DOTS), figsize=(13, 0.3 * len(names) + 1.2), sharey=True, layout="constrained")
    for axis, drift in zip(axes, _DOTS, strict=True):
        for row, name in enumerate(names):
            found = middle([run[name] for run in delays[drift]])
            colour = next((colour for start, colour in _COLOURS.items() if name.startswith(start)), _PEER)
            if math.isfinite(found):
                axis.plot([max(found, 1)], [row], "o", color=colour, ms=6)
            elif name != "optimum" or any(run[name] is not None for run in delays[drift]):
                axis.text(
                    0.98,
                    row,
                    "missed",
                    color=colour,
                    size=8,
                    ha="right",
                    va="center",
                    transform=axis.get_yaxis_transform(),
                )
        axis.set_xscale("log")
        axis.set_xlim(20, 40_000)
        axis.set_title(drift, fontsize=10)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("values from the drift to the alarm, median", fontsize=10)
    figure.savefig(path, dpi=75)


def _curves(curves: Mapping[str, Mapping[str, list[tuple[float, float]]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, (drift, found) in zip(axes, curves.items(), strict=True):
        for name, points in found.items():
            axis.plot(*zip(*points, strict=True) if points else ([], []), "o-", ms=4, color=_COLOURS[name], label=name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(drift, fontsize=10)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("values to the alarm, median")
    figure.supxlabel("false pages in a million events of a model of 20 signals", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=75)
