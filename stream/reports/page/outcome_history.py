"""Whether the model is right over time, as the pages of models and of replays show it. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from driftline.detectors.outcomes.intervals import Figure
from driftline.stream.config.outcomes import MEAN_ERROR
from driftline.stream.outcomes.sentences import figure_text, metric_name, metric_text
from driftline.stream.reports.page.charts import Curve, curve_chart
from driftline.stream.reports.page.words import Fact
from driftline.stream.results.outcome_history import DAY_MS, OutcomeHistory, Point
from driftline.stream.results.sentences import percent

# Lines of the table, and charts: that of the main metric, and of floors of others.
_LINES, _CHARTS = 60, 4
# The part of a chart that the words of a time take, and those of the last one on a telephone.
_ROOM, _LAST = 0.12, 0.24
# The least span of a share that a chart shows: noise must not look like a fall.
_SPAN = 0.1


class Picture(NamedTuple):
    """A chart, with what it is of and what its lines are."""

    name: str
    legend: str
    chart: Markup


class Row(NamedTuple):
    """A line of the table: the stretch of time, its outcomes and share of the predictions, and its figures."""

    when: str
    labelled: int
    share: str
    figures: list[str]


def headline(found: OutcomeHistory) -> str:
    """How right the model is now, and was in the reference."""
    key, newest = (found.main, ""), found.newest
    says = f"{metric_name(found.main).capitalize()} is {figure_text(found.main, newest.metrics[key])}"
    says += f" in the newest {newest.labelled:,} outcomes."
    if found.reference is None or newest.expected is None:
        return says + " They are still being learned as the reference."
    usual, expected = (metric_text(found.main, each) for each in (found.reference[key].value, newest.expected))
    return says + f" In the reference it was {usual}, and {expected} for predictions like the newest ones."


def pictures(found: OutcomeHistory) -> list[Picture]:
    """The main metric over time, and those of floors of others; none of a single stretch."""
    keys = dict.fromkeys([(found.main, ""), *map(found.floor_of, found.floors)])
    return [made for key in [*keys][:_CHARTS] if (made := _picture(found, key)) is not None]


def _picture(found: OutcomeHistory, key: tuple[str, str]) -> Picture | None:
    known = [(each, each.metrics[key]) for each in found.points if key in each.metrics]
    own = [(each, figure) for each, figure in known if figure.value is not None]
    if len(own) < 2:
        return None
    first, end = own[0][0].start, own[-1][0].start + found.each
    places = [_place(each.start + found.each / 2, first, end) for each, _ in own]
    floors = [bound for name, bound in found.floors.items() if found.floor_of(name) == key]
    expected = [each.expected for each, _ in own] if key == (found.main, "") else []
    curve = Curve(
        places, [figure.value or 0.0 for _, figure in own], [(figure.low, figure.high) for _, figure in own],
        found.reference[key].value if found.reference and key in found.reference else None,
        0.0 if key[0] == MEAN_ERROR else _SPAN, expected, floors, [*_bands(found, first, end)],
    )  # fmt: skip
    ticks = [(place, _tick(found, each)) for place, (each, _) in zip(places, own, strict=True)]
    name, (last, figure) = _capital(metric_name(*key)), own[-1]
    label = f"{name} over time: {_value(key, own[0][1])} at first, {_value(key, figure)} on {_when(found, last)}"
    return Picture(
        name, _legend(curve), curve_chart(curve, label, _apart(ticks), lambda value: metric_text(key[0], value))
    )


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks that have room for their words, from the first on."""
    kept = list[tuple[float, str]]()
    for place, words in ticks:
        if place < 1 - _LAST and (not kept or place - kept[-1][0] >= _ROOM):
            kept.append((place, words))
    return kept


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _legend(curve: Curve) -> str:
    words = ["shaded: its interval"]
    words += ["dashed: the reference"] if curve.before is not None else []
    is_expected = any(each is not None for each in curve.expected)
    words += ["dotted: of such predictions in the reference"] if is_expected else []
    words += ["red: the floor"] if curve.floors else []
    words += ["tinted: an incident"] if curve.bands else []
    return "; ".join(words)


def _bands(found: OutcomeHistory, first: int, end: int) -> Iterator[tuple[float, float]]:
    for each in found.bands:
        until = end if each.until is None else each.until
        if each.since < end and until > first:
            yield max(_place(each.since, first, end), 0.0), min(_place(until, first, end), 1.0)


def _place(at: float, first: int, end: int) -> float:
    return (at - first) / (end - first)


def facts(found: OutcomeHistory) -> list[Fact]:
    """The share of the predictions that have a label, and what became of labels that come by themselves."""
    share = found.labelled_share
    known = [] if share is None else [Fact("Labelled", percent(share), "of the predictions shown")]
    if found.labels is None:
        return known
    counts = found.labels
    return [
        *known,
        Fact("Labels joined", f"{counts.joined:,}", f"{counts.unlabelled:,} predictions had none in time"),
        Fact("Labels too late", f"{counts.late:,}", "`outcomes.wait` says how long they are waited for"),
        Fact("Labels of unknown ids", f"{counts.unmatched:,}", "do the ids match?" if counts.unmatched else ""),
    ]


def headings(found: OutcomeHistory) -> list[str]:
    """The metrics of the table."""
    return [metric_name(*each) for each in _columns(found)]


def lines(found: OutcomeHistory) -> list[Row]:
    """The lines of the table, the newest first."""
    columns = _columns(found)
    return [
        Row(
            _when(found, each), each.labelled, percent(each.labelled / each.predictions) if each.predictions else "–",
            [metric_text(key[0], each.metrics[key].value) if key in each.metrics else "–" for key in columns],
        )
        for each in found.points[: -_LINES - 1 : -1]
    ]  # fmt: skip


def _columns(found: OutcomeHistory) -> list[tuple[str, str]]:
    more = [("auc", "")] if any(("auc", "") in each.metrics for each in found.points) else []
    return [*dict.fromkeys([(found.main, ""), *map(found.floor_of, found.floors), *more])]


def _value(key: tuple[str, str], figure: Figure) -> str:
    return metric_text(key[0], figure.value)


def _when(found: OutcomeHistory, point: Point) -> str:
    form = "%Y-%m-%d" if found.each % DAY_MS == 0 else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(point.start / 1000, UTC).strftime(form)


def _tick(found: OutcomeHistory, point: Point) -> str:
    """A time below a chart, as short as it may be: hours are those of one week."""
    if found.each % DAY_MS == 0:
        return _when(found, point)
    at = datetime.fromtimestamp(point.start / 1000, UTC)
    return f"{at.day} {at:%b %H:%M}"
