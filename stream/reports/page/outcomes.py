"""Whether the model is right, as a report shows it: the main metric over time, and a table by period. Edge."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from driftline.stream.outcomes.performance import Performance, Period
from driftline.stream.outcomes.periods import shown
from driftline.stream.outcomes.sentences import change_sentence, coverage_sentences, metric_name, metric_text
from driftline.stream.reports.page.charts import Curve, curve_chart
from driftline.stream.reports.performance import columns, is_worse

# Lines of the table, the newest ones, and its metrics.
_PERIODS, _METRICS = 60, 4
# Times below the chart.
_TICKS = 6
# The least span of a share that the chart shows: noise must not look like a fall.
_SPAN = 0.1


class PeriodRow(NamedTuple):
    """A line of the table: the period, its labelled rows, its metrics as text, and whether it is in a fall."""

    when: str
    labelled: int
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
            [metric_text(metric, each.metrics[metric, of].value) for metric, of in metrics],
            is_worse(found, each),
        )
        for each in found.periods[-_PERIODS:]
    ]


def sentences(found: Performance) -> list[str]:
    """What changed, and what the labels allow to say, the worst first."""
    changes = sorted(found.changes, key=lambda each: not each.worse)
    return [*(change_sentence(found, each) for each in changes), *coverage_sentences(found), *found.notes]


def chart(found: Performance) -> Markup | None:
    """The main metric over time, with its intervals and the reference; None of a single period."""
    main = found.task.main
    own = [(each, each.metrics[main, ""]) for each in found.periods if each.metrics[main, ""].value is not None]
    if len(own) < 2:
        return None
    first, last = own[0][0].start, own[-1][0].start
    length = (last - first) / (len(own) - 1)
    places = [(each.start - first + length / 2) / (last - first + length) for each, _ in own]
    values = [figure.value or 0.0 for _, figure in own]
    bounds = [(figure.low, figure.high) for _, figure in own]
    before = None if found.reference is None else found.reference[main, ""].value
    every = max(-(-len(own) // _TICKS), 1)
    ticks = [(places[i], _when(found, own[i][0])) for i in range(0, len(own), every) if places[i] < 0.93]
    ends = f"{metric_text(main, values[0])} at first, {metric_text(main, values[-1])} at the end"
    curve = Curve(places, values, bounds, before, _SPAN if main == "accuracy" else 0.0)
    return curve_chart(curve, f"{metric_name(main)} over time: {ends}", ticks, lambda value: metric_text(main, value))


def _when(found: Performance, period: Period) -> str:
    return f"row {period.start + 1:,}" if found.by is None else shown(period.start, found.by)
