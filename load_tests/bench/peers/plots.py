"""The pictures of docs/DETECTION.md: delays of all detectors, and delay against the rate of false pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load_tests.bench.peers.cases import middle

# Of Okabe and Ito (2008), distinct with every kind of colour blindness; other detectors are grey.
_COLOURS = {"optimum": "#000000", "Driftline": "#0072B2", "ADWIN": "#E69F00", "Page-Hinkley": "#009E73"}
_GREY = "#777777"
_DRIFTS = ("mean 0.2 σ", "mean 0.5 σ", "spread × 1.2", "two humps", "5 % at one value")
_LEFT_OUT = ("always", "never")


def plot(figures: Mapping[str, Any], folder: Path) -> None:
    """Save `delays.png`, of figures of all drifts, and `delay-by-rate.png`."""
    if figures["delays"]:
        _dots(figures["delays"], figures["looser"], folder / "delays.png")
    _curves(figures["curves"], folder / "delay-by-rate.png")


def _dots(delays: Mapping[str, list[Mapping[str, float | None]]], looser: Sequence[str], path: Path) -> None:
    import matplotlib.pyplot as plt  # an extra; only plots need it

    names = [name for name in delays[_DRIFTS[0]][0] if name not in _LEFT_OUT]
    size = (12.5, 0.28 * len(names) + 1.2)
    figure, axes = plt.subplots(1, len(_DRIFTS), figsize=size, sharex=True, sharey=True, layout="constrained")
    for axis, drift in zip(axes, _DRIFTS, strict=True):
        for row, name in enumerate(names):
            _dot(axis, row, [run[name] for run in delays[drift]], _colour(name), name in looser)
        _style(axis, drift)
    axes[0].set_xlim(10, 40_000)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("values from the drift to the alarm, median; hollow: more false alarms than allowed", fontsize=10)
    figure.savefig(path, dpi=80)


def _dot(axis: Any, row: int, found: Sequence[float | None], colour: str, is_looser: bool) -> None:
    if math.isfinite(delay := middle(found)):
        axis.plot([delay], [row], "o", color=colour, mfc="white" if is_looser else colour, ms=6)
    elif colour != _COLOURS["optimum"]:
        axis.annotate(
            "missed", (0.98, row), xycoords=("axes fraction", "data"), color=colour, size=8, ha="right", va="center"
        )


def _colour(name: str) -> str:
    return next((colour for start, colour in _COLOURS.items() if name.startswith(start)), _GREY)


def _curves(curves: Mapping[str, Mapping[str, list[tuple[float, float]]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(11, 3.6), sharex=True, sharey=True, layout="constrained")
    for axis, (drift, found) in zip(axes, curves.items(), strict=True):
        for name, points in found.items():
            rates, delays = zip(*points, strict=True) if points else ((), ())
            axis.plot(rates, delays, "o-", ms=4, color=_COLOURS[name], label=name)
        missed = [name for name, points in found.items() if not points]
        axis.annotate(
            "\n".join(f"{name}: missed" for name in missed), (0.97, 0.03), xycoords="axes fraction", size=9, ha="right"
        )
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_minor_formatter("")
        _style(axis, drift)
    axes[0].set_ylabel("values to the alarm, median")
    figure.supxlabel("false pages in a million events of a model of 20 signals", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=80)


def _style(axis: Any, title: str) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.tick_params(labelsize=8)
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
