"""Whether the model is right over time, as the pages of models and of replays show it. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from driftline.detectors.outcomes.intervals import NOTHING, Figure
from driftline.stream.config.outcomes import MEAN_ERROR
from driftline.stream.judge.incidents import ACCURACY, ERROR
from driftline.stream.outcomes.sentences import ChangeParts, figure_text, metric_name, metric_text
from driftline.stream.reports.page.charts import Curve, curve_chart, share_row
from driftline.stream.reports.page.outcomes import Fall, fall_tag
from driftline.stream.reports.page.ticks import round_ticks
from driftline.stream.reports.page.words import Fact
from driftline.stream.results.outcome_history import Band, OutcomeHistory
from driftline.stream.results.sentences import percent
from driftline.stream.text.phrases import moment

# Lines of the table, and charts: that of the main metric, and of floors of others.
_LINES, _CHARTS = 60, 4
# From this share on, as good as all predictions have a label.
_ALL = 0.995
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


def is_now(found: OutcomeHistory, name: str = "") -> str:
    """The first open incident of outcomes in a sentence; "" if none is open. name: of the model, or ""."""
    changes = next((each.changes for each in found.bands if each.open and each.changes), None)
    if changes is None:
        return ""
    (metric, first), *_ = changes
    key = _key(found, metric)
    if key == (found.main, "") and found.reference is not None:
        before, now = (each[key].value for each in (found.reference, found.newest.metrics))
        if before is not None and now is not None and (now < before) is (found.main == "accuracy"):
            says = metric_name(found.main).capitalize() + (f" of {name}" if name else "")
            usual, now_says = (metric_text(found.main, each) for each in (before, now))
            return f"{says} is worse: {now_says} in {_newest(found)}, in the reference {usual}."
    where = f" in {name}" if name else ""
    return f"An incident of {metric_name(*key)} is open{where}: {first.partition(' (')[0]}, as it was found."


def falls(found: OutcomeHistory) -> list[Fall]:
    """The incidents of outcomes."""
    return [Fall(_parts(found, each), fall_tag(each.open), each.open) for each in found.bands if each.changes]


def _key(found: OutcomeHistory, name: str) -> tuple[str, str]:
    """The metric, and the class, that a finding is about."""
    return (found.main, "") if name in (ACCURACY, ERROR) else found.floor_of(name)


def _parts(found: OutcomeHistory, band: Band) -> ChangeParts:
    """An incident in words: while it is open, what the main metric is now, and how it was found."""
    (name, first), *others = band.changes
    what, cause = f"{name} {first}", "; ".join(" ".join(each) for each in others)
    key = _key(found, name)
    if not band.open or key != (found.main, "") or found.reference is None:
        return ChangeParts(_when(band), what, f"as it was found; {cause}" if cause else "as it was found")
    before, now = (metric_text(found.main, each[key].value) for each in (found.reference, found.newest.metrics))
    known = "; ".join([first, cause] if cause else [first])
    return ChangeParts(_when(band), f"{name} {before} → {now} in {_newest(found)}", f"as it was found: {known}")


def _newest(found: OutcomeHistory) -> str:
    return f"its newest {found.newest.labelled:,} outcomes"


def _when(band: Band) -> str:
    since = moment(band.since)
    return f"since {since}" if band.until is None else f"from {since} until {moment(band.until)}"


def pictures(found: OutcomeHistory) -> list[Picture]:
    """The main metric over time, and those of floors of others; none of a single stretch."""
    keys = dict.fromkeys([(found.main, ""), *map(found.floor_of, found.floors)])
    return [made for key in [*keys][:_CHARTS] if (made := _picture(found, key)) is not None]


def _picture(found: OutcomeHistory, key: tuple[str, str]) -> Picture | None:
    figures = {each.start: each.metrics[key] for each in found.points if key in each.metrics}
    known = {start: each for start, each in figures.items() if each.value is not None}
    if len(known) < 2:
        return None
    starts = [each.start for each in found.coverage]
    own = [known.get(each, NOTHING) for each in starts]
    usual = {each.start: each.expected for each in found.points} if key == (found.main, "") else {}
    curve = Curve(
        _spans(found), [each.value for each in own], [(each.low, each.high) for each in own],
        found.reference[key].value if found.reference and key in found.reference else None,
        0.0 if key[0] == MEAN_ERROR else _SPAN, [usual.get(each) for each in starts] if usual else [],
        [bound for name, bound in found.floors.items() if found.floor_of(name) == key], [*_bands(found)],
    )  # fmt: skip
    name, values, last = _capital(metric_name(*key)), [*known.values()], max(known)
    label = (
        f"{name} over time: {_value(key, values[0])} at first, {_value(key, values[-1])} on {moment(last, found.each)}"
    )
    ticks = round_ticks(*_ends(found))
    return Picture(name, _legend(curve), curve_chart(curve, label, ticks, lambda value: metric_text(key[0], value)))


def labelled_chart(found: OutcomeHistory) -> Markup | None:
    """The share of the predictions that have a label over time; None if all have one."""
    shares = [each.share for each in found.coverage]
    if len(shares) < 2 or min(shares) > _ALL:
        return None
    label = f"share with a label over time: {percent(shares[0])} at first, {percent(shares[-1])} at the end"
    return share_row(_spans(found), shares, label)


def _ends(found: OutcomeHistory) -> tuple[int, int]:
    return found.coverage[0].start, found.coverage[-1].start + found.each


def _spans(found: OutcomeHistory) -> list[tuple[float, float]]:
    ends = _ends(found)
    return [(_place(each.start, *ends), _place(each.start + found.each, *ends)) for each in found.coverage]


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


def _bands(found: OutcomeHistory) -> Iterator[tuple[float, float]]:
    first, end = _ends(found)
    for each in found.bands:
        until = end if each.until is None else each.until
        if each.since < end and until > first:
            yield max(_place(each.since, first, end), 0.0), min(_place(until, first, end), 1.0)


def _place(at: float, first: int, end: int) -> float:
    return (at - first) / (end - first)


def facts(found: OutcomeHistory) -> list[Fact]:
    """How many of the predictions have a label, how right the model is on all, and what became of labels of a topic."""
    share, weighted = found.labelled_share, found.newest.weighted
    known = [Fact("Labelled", percent(share), "of the predictions shown")]
    if weighted is not None and weighted.value is not None and share < _ALL:
        figure = figure_text(found.main, weighted)
        known.append(Fact("Accuracy of all", figure, "of the newest, if labels came for all predictions alike"))
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
    columns, shares = _columns(found), {each.start: each.share for each in found.coverage}
    return [
        Row(
            moment(each.start, found.each), each.labelled, percent(shares[each.start]),
            [metric_text(key[0], each.metrics[key].value) if key in each.metrics else "–" for key in columns],
        )
        for each in found.points[: -_LINES - 1 : -1]
    ]  # fmt: skip


def _columns(found: OutcomeHistory) -> list[tuple[str, str]]:
    more = [("auc", "")] if any(("auc", "") in each.metrics for each in found.points) else []
    return [*dict.fromkeys([(found.main, ""), *map(found.floor_of, found.floors), *more])]


def _value(key: tuple[str, str], figure: Figure) -> str:
    return metric_text(key[0], figure.value)
