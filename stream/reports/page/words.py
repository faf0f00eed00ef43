"""What the page of a report says of a model and of a signal, in words and small tables. Edge: MarkupSafe."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, NamedTuple

from markupsafe import Markup

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.reports.page import charts, heat
from driftline.stream.reports.page.timeline import Time
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.sentences import (
    Kindred,
    advice,
    figure_text,
    kindred,
    least_span,
    names,
    percent,
    sentence,
    shown,
    sides,
)
from driftline.stream.text.phrases import DAY, moment


def anchor(model: ModelView, signal: SignalView) -> str:
    """The id of a signal's card: a hash, as names may hold anything."""
    names_of_it = "\0".join((model.model, model.track, signal.name))
    return f"s-{hashlib.sha256(names_of_it.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def places(model: ModelView, with_card: Collection[tuple[str, str]]) -> dict[str, str]:
    """Where the page has the cards of a model's signals, by name. with_card: models and signals."""
    return {each.name: f"#{anchor(model, each)}" for each in model.signals if (model.name, each.name) in with_card}


def unbroken(text: str) -> str:
    """A text whose figures stay on one line with their unit."""
    return text.replace(" %", "\u00a0%")


def when(model: ModelView, signal: SignalView) -> str:
    """When the drift of a signal began and ended, in words."""
    episode = signal.episode
    if episode is None or not model.timed:
        return ""
    length = model.bins[0].length
    since = moment(episode.since, length)
    return f"since {since}" if episode.until is None else f"{since} to about {moment(episode.until, length)}"


def span(model: ModelView) -> str:
    """From when to when the events of a model are."""
    return (
        f"{moment(model.bins[0].start, DAY)} to {moment(model.bins[-1].end - 1, DAY)}"
        if model.timed
        else "without times"
    )


class Tag(NamedTuple):
    """The state of a signal: a shape, a word and a class, so that it needs no colour."""

    shape: str
    word: str
    style: str


def tag_of(signal: SignalView, timed: bool) -> Tag:
    """The state of a signal. timed: whether anybody knows when."""
    if not signal.episodes:
        return Tag("✓", signal.size, "ok") if signal.judged else Tag("–", signal.size, "over")
    if not signal.is_open:
        return Tag("○", "ended", "over")
    word = "open" if timed else "changed"
    return Tag("▲", word, "error") if signal.level >= 3 else Tag("◆", word, "warn")


class Group(NamedTuple):
    """A change as a sentence, of one signal or of several that did the same: their names, and what follows them."""

    signals: tuple[SignalView, ...]
    names: str
    says: str


def groups(model: ModelView) -> list[Group]:
    """The changes of a model, the worst first; constants that vary from the same time on are one of them."""
    found = dict[tuple[str, int, int | None], list[SignalView]]()
    length = model.bins[0].length
    for signal in model.changed:
        episode = signal.episode
        if episode is not None:
            alike = kindred(signal) is Kindred.BEGAN
            end = None if episode.until is None else episode.until // length
            found.setdefault(("" if alike else signal.name, episode.since // length, end), []).append(signal)
    return [
        Group(tuple(own), names(own), sentence(model, own[0]) if len(own) == 1 else _together(model, own[0]))
        for own in found.values()
    ]


def _together(model: ModelView, signal: SignalView) -> str:
    """What constants that vary from the same time on do."""
    episode = signal.episode
    if episode is None or not model.timed or not signal.is_open:
        return "vary; in the reference they never did"
    return f"now vary, all since {moment(episode.since, model.bins[0].length)}; in the reference they never did"


def reference_span(model: ModelView) -> str:
    """From when to when the reference is, after a comma; "" if nobody knows."""
    first, last = (_moment(model.baseline.about.get(name), DAY) for name in ("time_from", "time_to"))
    return f", {first} to {last}" if model.timed and first and last else ""


def squares(model: ModelView, compared: str) -> str:
    """How a map of squares is read. compared: what they are compared with: "reference" or "baseline"."""
    hours = ", for signals that follow the day or the week from the same hours of it" if model.by_phase else ""
    usual = f"19 of 20 such stretches of the {compared} do, and more than " if model.knows_usual else ""
    own = ""
    if model.own_events:
        own = f" The faded squares on the left are stretches of the {compared}"
        own += ", each compared with all hours of it." if model.by_phase else "."
    return (
        f"Each square is {Time.of(model).unit}. Its colour is the size of the difference from the {compared}{hours}. "
        f"A square is coloured if it differs more than {usual}chance explains.{own} Single squares may differ by "
        "chance; a drift lasts."
    )


def _moment(fact: object, length: int = 0) -> str:
    """A time of a manifest, whose facts no hash covers; "" if it is none."""
    try:
        return moment(fact, length) if isinstance(fact, int) else ""
    except (ValueError, OverflowError, OSError):  # beyond the years that the calendar, or the platform, has
        return ""


def advice_of(model: ModelView, signal: SignalView) -> str:
    since = signal.episode.since if signal.episode and model.timed else None
    return advice(kindred(signal), "" if since is None else moment(since))


class Fact(NamedTuple):
    """A fact of a card: its name, what it is, and a remark."""

    name: str
    value: str
    remark: str


def facts(model: ModelView, signal: SignalView) -> list[Fact]:
    what, before, after = sides(model, signal)
    change, episode = signal.change, signal.episode
    found = [
        Fact("How much", f"{before} → {after}", what),
        Fact("How different", signal.size, _scale(signal)),
    ]
    if episode is not None and model.timed:
        until = (
            "still going on at the end"
            if episode.until is None
            else f"until about {moment(episode.until, model.bins[0].length)}"
        )
        found.insert(0, Fact("Since", moment(episode.since), until))
    share, name = change.after.events / max(model.events, 1), f"Rows {then(model, signal)}" if model.timed else "Rows"
    rows = f"{percent(share)} of all; the reference has {change.before.events:,}"
    return [*found, Fact(name, f"{change.after.events:,}", rows)]


def then(model: ModelView, signal: SignalView) -> str:
    """When the rows of a change were."""
    if not model.timed:
        return "now"
    return "since then" if signal.is_open else "while it lasted"


def _scale(signal: SignalView) -> str:
    return (
        "",
        "as a shift by a quarter of a σ",
        "as a shift by half a σ",
        "as a shift by one σ",
        "hardly anything in common",
    )[signal.level]


def small(model: ModelView, signal: SignalView) -> Markup:
    return charts.small_line(model, signal, least_span(model, signal))


class Chart(NamedTuple):
    """A chart, what it is of, and how to read it."""

    what: str
    note: str
    picture: Markup


def over_time(model: ModelView, signal: SignalView) -> list[Chart]:
    """What a signal was like over time: its values, and what is no regular value."""
    found, note = [_main_chart(model, signal)], "share of the rows over time; dashed: the reference"
    if (values := charts.range_chart(model, signal)) is not None:
        remark = "line: the mean; shaded: from the least to the greatest; dashed: the reference"
        found.append(Chart("Values over time", remark, values))
    return [*found, *(Chart(what, note, chart) for what, chart in charts.special_charts(model, signal))]


def _main_chart(model: ModelView, signal: SignalView) -> Chart:
    figure = signal.figure
    if figure.is_share:
        picture = charts.share_chart(model, signal, figure.columns, figure.what)
        what = sides(model, signal).what
        return Chart(shown(what), "share of the rows over time; dashed: the reference", picture)
    band = charts.band_chart(model, signal)
    if band is not None:
        return Chart(
            "Values over time",
            "light: 9 of 10 values; dark: half of them; line: the typical one; dashed: the reference",
            band,
        )
    return Chart("Over time", "typical value; dashed: the reference", small(model, signal))


def evidence(signal: SignalView) -> list[tuple[str, str]]:
    """What specialists want to know of a finding."""
    episode, change = signal.episode, signal.change
    sizes = [
        ("Jensen-Shannon distance", f"{change.jensen_shannon:.3g}"), ("PSI", f"{change.psi:.3g}"),
        *([] if change.distance is None else [("Kolmogorov-Smirnov distance", f"{change.distance:.3g}")]),
    ]  # fmt: skip
    if episode is None:
        return sizes
    finding = episode.finding
    special = f" of {finding.test.special.name.lower()}" if finding.test.special is not None else ""
    return [
        ("test", f"{finding.test.statistic}{special}, against the {'past' if finding.against_past else 'reference'}"),
        ("evidence", f"{finding.evidence:.1f} nats; the alarm begins at {finding.threshold:.1f}"),
        ("found in", f"a window of {finding.events:,} rows"), ("severity", episode.severity), *sizes,
    ]  # fmt: skip


def by_time(model: ModelView, signal: SignalView) -> list[tuple[str, str, str, str]]:
    """The figure of a signal over time as rows of a table: when, rows, the figure, the size in words."""
    values = model.series(signal)
    return [
        (
            moment(each.start, each.length),
            f"{each.sketch.n:,}",
            figure_text(signal, value),
            heat.level_words(level),
        )
        for each, value, level in zip(model.bins, values, signal.levels, strict=True)
    ]


def manifest(baseline: Baseline) -> list[tuple[str, str]]:
    """The facts of a baseline's manifest."""
    about = {**baseline.about, "content_hash": baseline.content_hash}
    return [
        (
            name.replace("_", " "),
            f"{at} UTC" if name.startswith("time_") and (at := _moment(value)) else _plain(value),
        )
        for name, value in about.items()
        if name not in ("unwatched", "unwatched_names")
    ]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items() if inner != {}) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
