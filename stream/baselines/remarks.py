"""What a baseline knows of the times and the dependence of its events, and what cannot be promised, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from driftline.detectors.statistics.long_run import FEWEST
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.cycles import cycle_remarks
from driftline.stream.baselines.slopes import AT_FIRST
from driftline.stream.text.phrases import listed


def baseline_remarks(baseline: Baseline) -> Iterator[str]:
    """What people should know of how a baseline is judged against."""
    yield from cycle_remarks(baseline.cycles, baseline.about)
    yield from unpromised(baseline)


def unpromised(baseline: Baseline, but: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
    """Of which signals the stated rate of false pages is not promised, or not yet, and why.

    but: which ones are judged in another way, by their names.
    """
    cycles, slopes = baseline.cycles, baseline.slopes
    unknown = baseline.names.difference(cycles.by_name if cycles else (), slopes.runs if slopes else ())
    without = sorted(name for name in unknown if not but(name))
    if not without:
        return
    signals = listed(without)
    if baseline.asks_live:
        yield f"no order in time is known of {signals}: {AT_FIRST}"
        return
    if not baseline.is_ordered:
        why = "nobody knows how their events depend on each other"
    elif slopes or baseline.total.n < FEWEST:
        why = "the history is too short for how slowly they vary"
    elif baseline.about.get("learned"):
        why = "the events that it was learned from do not tell how they depend on each other; build one of more events"
    else:
        why = "an earlier version built the baseline; build it again"
    yield f"false pages may come more often than stated for {signals}: {why}"
