"""An alert as a picture: a panel a signal with shares before and after. Edge: matplotlib, from the extra `plot`."""

from __future__ import annotations

import math
import textwrap
import warnings
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from driftline.stream.alerts.explain import Picture, picture
from driftline.stream.alerts.read import ReadAlert
from driftline.stream.alerts.schema import cut
from driftline.stream.reports.alert import plain, stamp

#: Panels at most: on a screen of 1920 pixels, labels of more cannot be read.
PANELS = 12
# Inches of a panel; its bars have half of the width, its labels the rest. Dots per inch: text of 8 points is 14 pixels.
_WIDTH, _HEIGHT, _HEAD, _DPI = 4.4, 3.4, 0.9, 120
# Blue and orange of Okabe and Ito (2008), which every kind of colour blindness tells apart; and light against dark.
_BEFORE, _AFTER = "#0072B2", "#E69F00"
# Characters that fit: of a label, of a panel's two lines, and of the heading by the inch.
_LABEL, _TITLE, _HEADLINE = 22, 42, 50
_BY_INCH = 11.5
_BAR = 0.4
# Lines of a panel at least, so that two bars are no two blocks.
_LINES = 6


def plot(told: ReadAlert, path: Path) -> int:
    """Write the strongest signals of an alert as a PNG; how many there are in it. Without any, nothing is written."""
    drawn = [(each, rows) for each in told.signals if (rows := picture(each))][:PANELS]
    if not drawn:
        return 0
    columns = math.ceil(math.sqrt(len(drawn)))
    lines = math.ceil(len(drawn) / columns)
    size = (max(columns * _WIDTH, 2 * _WIDTH), lines * _HEIGHT + _HEAD)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    for place, (signal, rows) in enumerate(drawn, 1):
        axes = figure.add_subplot(lines, columns, place)
        _panel(axes, rows)
        name = _shortened(plain(signal.name.removeprefix("features.")), _TITLE)
        title = f"{name}\n{cut(plain(signal.change.headline), _HEADLINE)}"
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    _heading(figure, told, len(drawn))
    with warnings.catch_warnings():
        # Names in a script that the font lacks are shown as boxes; that is no reason to say so on the terminal.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, format="png")
    return len(drawn)


def _panel(axes: Any, rows: Picture) -> None:
    """Paired bars, the first label on top."""
    for side, shares, colour in ((-_BAR / 2, rows.before, _BEFORE), (_BAR / 2, rows.after, _AFTER)):
        heights = [100 * (share or 0.0) for share in shares]
        axes.barh([i + side for i in range(len(shares))], heights, _BAR, color=colour)
    axes.set_yticks(range(len(rows.labels)), [_shortened(plain(label), _LABEL) for label in rows.labels], fontsize=8)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(max(len(rows.labels), _LINES) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("% of events", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _shortened(name: str, limit: int) -> str:
    """Without its middle: long names differ at their ends."""
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"


def _heading(figure: Figure, told: ReadAlert, panels: int) -> None:
    """What has happened, and what the colours mean."""
    left_out = len(told.signals) - panels
    more = f"; not drawn: {left_out} more" if left_out > 0 else ""
    title = textwrap.fill(plain(told.title), int(figure.get_figwidth() * _BY_INCH))
    text = f"{title}\n{told.status}, told {stamp(told.emitted_at)} UTC, alert {told.id}{more}"
    figure.suptitle(text, fontsize=11, x=0.01, ha="left", parse_math=False)
    sides = [Patch(color=_BEFORE, label="before"), Patch(color=_AFTER, label="after")]
    figure.legend(handles=sides, loc="outside lower right", ncols=2, fontsize=9, frameon=False)
