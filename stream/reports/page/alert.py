"""The page of an alert, as `driftline explain` shows it. Edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

from driftline.stream.alerts.explain import (
    Row,
    duration_text,
    effects,
    feedback_command,
    figures,
    picture,
    remark,
    replay_command,
    silence_command,
)
from driftline.stream.alerts.explain import verdict as test_in_words
from driftline.stream.alerts.read import ReadAlert, ReadSignal
from driftline.stream.reports.alert import format_time
from driftline.stream.reports.page import words
from driftline.stream.reports.page.charts import Share
from driftline.stream.reports.page.templates import rendered
from driftline.stream.reports.page.words import Chart, Fact, Tag
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.sizes import size_in_words


class AlertedSignal(NamedTuple):
    """A signal of an alert, for its page."""

    name: str
    headline: str
    against: str
    facts: list[Fact]
    shares: list[Share]
    verdict: str
    figures: list[Row]
    charts: list[Chart]
    place: str


def alert_page(
    alert: ReadAlert,
    incident: Sequence[ReadAlert],
    allowed: str,
    home: str = "",
    view: ModelView | None = None,
    places: Mapping[str, str] = MappingProxyType({}),
    live: bool = True,
) -> str:
    """The page of an alert. incident, allowed, live: as in `print_explanation`. home: path of the page of all, or "".

    view: its model over time, if that is known. places: the pages of signals, by name.
    """
    over = alert.status == "resolved"
    mark = Tag("○", "ended", "over") if over else Tag("▲", "open", "error" if alert.severity in _SEVERE else "warn")
    until = f"until {format_time(alert.ends_at)}" if alert.ends_at else ""
    lasted = duration_text(alert.starts_at, alert.ends_at)
    about = [f"severity {alert.severity}", f"since {format_time(alert.starts_at)}", until, lasted and f"for {lasted}"]
    known = {each.name: words.over_time(view, each) for each in _named(alert, view)} if view else {}
    signals = [_alerted(each, allowed, known.get(each.name, []), places.get(each.name, "")) for each in alert.signals]
    return rendered(
        "alert.html.j2", alert=alert, incident=incident, mark=mark, about=[each for each in about if each],
        signals=signals, todo=_todo(alert, live), time=format_time, home=home, version=version("driftline"), view=view,
    )  # fmt: skip


_SEVERE = ("error", "critical")
# Signals with charts over time: each takes some 15 kB.
_CHARTS = 12


def _named(alert: ReadAlert, view: ModelView) -> list[SignalView]:
    """The first signals that an alert names, as they were over time."""
    wanted = [each.name for each in alert.signals[:_CHARTS]]
    return [each for each in view.signals if each.name in wanted]


def _alerted(signal: ReadSignal, allowed: str, charts: list[Chart], place: str) -> AlertedSignal:
    chart = picture(signal)
    rows = zip(*chart, strict=True) if chart else ()
    shares = [Share(label, old or 0.0, new or 0.0) for label, old, new in rows]
    facts = [
        Fact("Since", (signal.since or "unknown")[:19].replace("T", " "), ""),
        Fact("Size of the change", size_in_words(signal.change.jensen_shannon), "when it was found"),
        Fact("Events in the window", f"{signal.events:,}", f"compared with the {signal.against}"),
    ]
    figure_rows = [*figures(signal), *effects(signal)]
    return AlertedSignal(
        signal.name.removeprefix("features."), signal.change.headline, signal.against or "reference", facts, shares,
        " ".join(filter(None, (test_in_words(signal, allowed), remark(signal)))), figure_rows, charts, place,
    )  # fmt: skip


def _todo(alert: ReadAlert, live: bool) -> list[tuple[str, str]]:
    rows = [("Read", each) for each in alert.addresses()]
    rows += [("See it again", command)] if (command := replay_command(alert)) else []
    if not live:
        return rows
    rows += [("Silence it for two hours", silence_command(alert))] if alert.status != "resolved" else []
    said = (("If it was real, say so", True), ("If it was a false page, say so", False))
    return rows + [(words, command) for words, real in said if (command := feedback_command(alert, real))]
