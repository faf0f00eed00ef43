"""An alert as a picture: one panel per signal, with shares before and after. Edge: matplotlib, of the extra `plot`."""

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
from driftline.stream.reports.alert import format_time
from driftline.stream.text.printable import printable

#: Most panels: with more, the labels cannot be read on a screen of 1920 pixels.
MAX_PANELS = 12
# Inches of a panel and of the heading; bars have half of a panel's width, labels the rest. Dots per inch: text of 8
# points is 14 pixels high.
_WIDTH, _HEIGHT, _HEAD, _DPI = 4.4, 3.4, 0.9, 120
# Blue and orange of Okabe and Ito (2008), distinct with every kind of colour blindness, and in brightness.
_BEFORE, _AFTER = "#0072B2", "#E69F00"
# Characters that fit into a label, into each of the two lines of a panel's title, and into an inch of the heading.
_LABEL_LENGTH, _TITLE_LENGTH, _HEADLINE_LENGTH = 22, 42, 50
_CHARACTERS_PER_INCH = 11.5
_BAR_HEIGHT = 0.4
# Rows that a panel has room for at least: with fewer, two bars would look like blocks.
_MIN_ROWS = 6


def plot(alert: ReadAlert, path: Path) -> int:
    """Write the strongest signals of an alert to a PNG; returns how many it shows. Writes no file if that is 0."""
    charts = [(each, rows) for each in alert.signals if (rows := picture(each))][:MAX_PANELS]
    if not charts:
        return 0
    columns = math.ceil(math.sqrt(len(charts)))
    rows_of_panels = math.ceil(len(charts) / columns)
    size = (max(columns * _WIDTH, 2 * _WIDTH), rows_of_panels * _HEIGHT + _HEAD)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    for position, (signal, rows) in enumerate(charts, 1):
        axes = figure.add_subplot(rows_of_panels, columns, position)
        _panel(axes, rows)
        name = _shorten(printable(signal.name.removeprefix("features.")), _TITLE_LENGTH)
        title = f"{name}\n{cut(printable(signal.change.headline), _HEADLINE_LENGTH)}"
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    _heading(figure, alert, len(charts))
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes; matplotlib would warn about each on the terminal.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, format="png")
    return len(charts)


def _panel(axes: Any, rows: Picture) -> None:
    """Paired bars, the first label on top."""
    for side, shares, colour in ((-_BAR_HEIGHT / 2, rows.before, _BEFORE), (_BAR_HEIGHT / 2, rows.after, _AFTER)):
        heights = [100 * (share or 0.0) for share in shares]
        axes.barh([i + side for i in range(len(shares))], heights, _BAR_HEIGHT, color=colour)
    axes.set_yticks(
        range(len(rows.labels)), [_shorten(printable(label), _LABEL_LENGTH) for label in rows.labels], fontsize=8
    )
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(max(len(rows.labels), _MIN_ROWS) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("% of events", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _shorten(name: str, limit: int) -> str:
    """Cut the middle out of a long name: long names differ at their ends."""
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"


def _heading(figure: Figure, alert: ReadAlert, panels: int) -> None:
    """The alert's title, its identity, and a legend of the colours."""
    left_out = len(alert.signals) - panels
    more = f"; not drawn: {left_out} more" if left_out > 0 else ""
    title = textwrap.fill(printable(alert.title), int(figure.get_figwidth() * _CHARACTERS_PER_INCH))
    text = f"{title}\n{alert.status}, published {format_time(alert.emitted_at)} UTC, alert {alert.id}{more}"
    figure.suptitle(text, fontsize=11, x=0.01, ha="left", parse_math=False)
    sides = [Patch(color=_BEFORE, label="before"), Patch(color=_AFTER, label="after")]
    figure.legend(handles=sides, loc="outside lower right", ncols=2, fontsize=9, frameon=False)
