"""The pace of a model, how many events it has a month, by its history. Pure.

Both come from the log, so a replay spends the budget of false pages as the worker did.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from statistics import median_low
from typing import Any

import numpy as np

from driftline.detectors.decision.budget import MONTH_MS, events_a_month
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.judge.clock import begun
from driftline.stream.judge.state import BUCKETS
from driftline.stream.panes.pane import Pane


def pace_of(history: Iterable[Pane[Any]], others: Iterable[Iterable[Pane[Any]]] = ()) -> float:
    """Events in 30 days of event time, of all tracks; 0 before the first.

    history: of the track that has had events now. others: the histories of others, which may have had none for long.
    """
    now, pace = 0, 0.0
    for panes in ([*history], *map(list, others)):
        if panes:
            # One of the newest panes may have a wrong clock; their median has not. What came later is left out.
            until = median_low(pane.last_ts for pane in panes[-BUCKETS:])
            known = [pane for pane in panes if pane.first_ts < until] or panes[:1]
            n = [*accumulate(pane.content.n for pane in reversed(known))][::-1]
            now = max(now, until)
            pace += events_a_month(begun(known), np.array(n), now)
    return pace


def pace_of_baseline(baseline: Baseline) -> float | None:
    """Events in 30 days of what a baseline was made of, which may be a sample; None if it knows no times."""
    first, last = (baseline.about.get(each) for each in ("time_from", "time_to"))
    if not isinstance(first, int) or not isinstance(last, int) or last <= first:
        return None
    cut = ((each["from"], each["to"]) for each in baseline.about.get("excluded", ()))
    without: int = sum(max(min(end, last) - max(begin, first), 0) for begin, end in cut)
    return baseline.total.n * MONTH_MS / max(last - first - without, 1)
