"""Whether the model is right, as a report shows it: the main metric over time, and a table by period. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from driftline.stream.outcomes.performance import Performance, Period
from driftline.stream.outcomes.periods import shown
from driftline.stream.outcomes.sentences import (
    ChangeParts,
    change_parts,
    change_sentence,
    coverage_sentences,
    metric_name,
    metric_text,
)
from driftline.stream.reports.page.charts import Curve, curve_chart, share_row
from driftline.stream.reports.page.ticks import round_ticks
from driftline.stream.reports.page.words import Tag
from driftline.stream.reports.performance import columns, is_worse
from driftline.stream.results.sentences import percent

# Lines of the table, the newest ones, and its metrics.
_PERIODS, _METRICS = 60, 4
# Rows named below the chart of a table without times.
_TICKS = 6
# The least span of a share that the chart shows: noise must not look like a fall.
_SPAN = 0.1


class Fall(NamedTuple):
    """A stretch of worse outcomes as a finding."""

    says: ChangeParts
    mark: Tag
    is_open: bool


class PeriodRow(NamedTuple):
    """A line of the table: the period, its labelled rows, their share, its metrics as text, whether it is in a fall."""

    when: str
    labelled: int
    share: str
    figures: list[str]
    is_worse: bool


def headings(found: Performance) -> list[str]:
    """The metrics of the table."""
    return [metric_name(*each) for each in columns(found, _METRICS - 1)]


def rows(found: Performance) -> list[PeriodRow]:
    """The lines of the table, the oldest first."""
    metrics = columns(found, _METRICS - 1)
    return [
        PeriodRow(
            _when(found, each),
            each.labelled,
            percent(each.labelled / each.seen) if each.seen else "–",
            [metric_text(metric, each.metrics[metric, of].value) for metric, of in metrics],
            is_worse(found, each),
        )
        for each in found.periods[-_PERIODS:]
    ]


def sentences(found: Performance) -> list[str]:
    """What changed, and what the labels allow to say, the worst first."""
    changes = sorted(found.changes, key=lambda each: not each.worse)
    return [*(change_sentence(found, each) for each in changes), *coverage_sentences(found), *found.notes]


def falls(found: Performance) -> list[Fall]:
    """Where outcomes are or were worse."""
    worse = ((each, each.until is None) for each in found.changes if each.worse)
    return [Fall(change_parts(found, each), fall_tag(lasts, timed=bool(found.by)), lasts) for each, lasts in worse]


def fall_tag(is_open: bool, timed: bool = True) -> Tag:
    """The state of a stretch of worse outcomes."""
    return Tag("▲", "open" if timed else "worse", "error") if is_open else Tag("○", "ended", "over")


def is_now(found: Performance) -> str:
    """That outcomes are worse, in a sentence; "" if they are not, or no longer."""
    if found.reference is None or not any(each.worse and each.until is None for each in found.changes):
        return ""
    main = found.task.main
    now, before = (metric_text(main, each[main, ""].value) for each in (found.total.metrics, found.reference))
    usual = "at first" if found.own_reference else "in the reference"
    return f"{metric_name(main).capitalize()} is worse: {now}, {usual} {before}."


def chart(found: Performance) -> Markup | None:
    """The main metric over time, with its intervals, the reference and where it is worse; None of a single period."""
    main = found.task.main
    figures = [each.metrics[main, ""] for each in found.periods]
    values = [each.value for each in figures if each.value is not None]
    if len(values) < 2:
        return None
    before = None if found.reference is None else found.reference[main, ""].value
    curve = Curve(
        _places(found), [each.value for each in figures], [(each.low, each.high) for each in figures], before,
        _SPAN if main == "accuracy" else 0.0, bands=[*_worse(found)],
    )  # fmt: skip
    ends = f"{metric_text(main, values[0])} at first, {metric_text(main, values[-1])} at the end"
    label = f"{metric_name(main)} over time: {ends}"
    return curve_chart(curve, label, _ticks(found), lambda value: metric_text(main, value))


def legend(found: Performance) -> str:
    """What the parts of the chart are."""
    words = ["shaded: its interval", *(["dashed: the reference"] if found.reference is not None else [])]
    return "; ".join([*words, *(["tinted: worse than it"] if found.is_worse else [])])


def labelled_chart(found: Performance) -> Markup | None:
    """The share of the predictions that have a label, by period; None if all have one."""
    shares = [each.labelled / each.seen if each.seen else None for each in found.periods]
    if found.total.labelled == found.total.seen or len(shares) < 2:
        return None
    label = f"share with a label: {percent(shares[0] or 0.0)} at first, {percent(shares[-1] or 0.0)} at the end"
    return share_row(_places(found), shares, label)


def _ends(found: Performance) -> tuple[int, int]:
    spans = found.spans
    return spans[0][0], spans[-1][1]


def _places(found: Performance) -> list[tuple[float, float]]:
    first, end = _ends(found)
    return [((begin - first) / (end - first), (until - first) / (end - first)) for begin, until in found.spans]


def _worse(found: Performance) -> Iterator[tuple[float, float]]:
    first, end = _ends(found)
    for each in found.changes:
        if each.worse:
            until = end if each.until is None else each.until
            yield (each.since - first) / (end - first), min((until - first) / (end - first), 1.0)


def _ticks(found: Performance) -> list[tuple[float, str]]:
    first, end = _ends(found)
    if found.by is not None:
        return round_ticks(first, end)
    every = max(-(-len(found.periods) // _TICKS), 1)
    return [((each.start - first) / (end - first), _when(found, each)) for each in found.periods[::every]][:_TICKS]


def _when(found: Performance, period: Period) -> str:
    return f"row {period.start + 1:,}" if found.by is None else shown(period.start, found.by)
