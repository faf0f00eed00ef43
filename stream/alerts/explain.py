"""Explains alerts: the evidence in words, in figures, and as data for a chart. Pure.

Names and values come from traffic, so they must be printed as text and never as markup.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from driftline.detectors.statistics.registry import STATISTICS
from driftline.detectors.summaries.groups import KNOWN
from driftline.stream.alerts.build import CONFIG, silence_all_of
from driftline.stream.alerts.find import ListedIncident, may_be_id
from driftline.stream.alerts.read import Number, ReadAlert, ReadChange, ReadCycle, ReadProfile, ReadSignal, Shares
from driftline.stream.baselines.categories import GROUP_OF, GROUPED
from driftline.stream.baselines.cycles import PHASE_WORDS
from driftline.stream.baselines.slopes import AT_FIRST
from driftline.stream.judge.changes import SPECIAL_WORDS

# Words for effect sizes, each from the given size on. Two normal distributions that lie 1/4, 1/2, 1 and 2 σ apart have
# Jensen-Shannon distances of 0.1, 0.2, 0.4 and 0.7; PSI's bounds are those of common usage.
_JENSEN_SHANNON = (
    (0.7, "very large: hardly anything in common"),
    (0.4, "large, as a shift by one σ"),
    (0.2, "clear, as a shift by half a σ"),
    (0.1, "small, as a shift by a quarter of a σ"),
)
_PSI = ((0.25, "large by common usage"), (0.1, "moderate by common usage"))
_WORDS = {code.name.lower(): text for code, text in SPECIAL_WORDS.items()}
_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
# More digits than these add nothing for a reader, but neighbouring edges must differ.
_DIGITS, _ALL_DIGITS = 4, 17
# Events under which chance alone brings PSI to its "moderate" 0.1: (K - 1)(1/n + 1/m), with a grid's 64 codes.
_FEW = 650
# What a threshold allows for, by test.
_ALLOWS = {
    "": "that allows for every window and test of the model, and for the dependence between its events",
    "bets": "that allows for every window and test of the model, and supposes that its events are independent",
}
# Digits of a number that is written out; longer ones are written as a power of ten.
_READABLE = 12
# Shares are shown in tenths of a percent, so a remainder below half of that is a rounding error.
_NEGLIGIBLE = 0.0005


class Row(NamedTuple):
    """A figure before and after, as text; "" where there is none."""

    name: str
    before: str
    after: str


class Picture(NamedTuple):
    """The chart of a signal: shares of all events, before and after, by label; None where the alert does not say."""

    labels: tuple[str, ...]
    before: tuple[Number, ...]
    after: tuple[Number, ...]


def figures(signal: ReadSignal) -> list[Row]:
    """Events, moments, special codes and most common values, before and after."""
    before, after = signal.change.before, signal.change.after
    if signal.traffic is not None:
        return [Row("events expected and seen", _number(signal.traffic.expected), f"{signal.traffic.seen:,}")]
    rows = [Row("events", f"{before.events:,}", f"{after.events:,}")]
    moments = (("mean", "mean"), ("σ", "deviation"), ("min", "low"), ("max", "high"))
    rows += [Row(name, _number(getattr(before, field)), _number(getattr(after, field))) for name, field in moments]
    for code in {**before.special, **after.special}:
        rows.append(Row(words(code), _percent(before.special.get(code, 0.0)), _percent(after.special.get(code, 0.0))))
    # Of outcomes and of groups of rare values, the chart shows all of these, and names are long.
    if signal.kind != "outcomes" and not _is_grouped(signal):
        rows.append(Row("most common", _most_common(before.values), _most_common(after.values)))
    return [row for row in rows if row.before or row.after]


def effects(signal: ReadSignal) -> list[Row]:
    """Evidence and effect sizes, for specialists: name, value, and what it means.

    None of traffic or a topic, where the figures say all.
    """
    change = signal.change
    if signal.is_count:
        return []
    nats, least = signal.evidence_nats, signal.threshold_nats
    decided = [] if nats is None or not least else [Row("evidence", f"{nats:.1f} nats", f"alarm from {least:.1f}")]
    divergence = _in_words(change.jensen_shannon, _JENSEN_SHANNON, "hardly visible")
    found = (
        ("Jensen-Shannon distance", change.jensen_shannon, divergence),
        ("PSI", change.psi, _in_words(change.psi, _PSI, "small by common usage")),
        ("Kolmogorov-Smirnov distance", change.distance, "the share of events that moved across some value"),
        ("Wasserstein distance of ranks", change.wasserstein, "the share of the reference an average event moved past"),
    )
    return decided + [Row(name, f"{value:.3g}", meaning) for name, value, meaning in found if value is not None]


def verdict(signal: ReadSignal, allowed: str = "", with_test: bool = True) -> str:
    """The result of the test, in sentences. with_test: beginning with what the test is.

    allowed: what the model's configuration allows, "" if that is unknown.
    """
    code = words(signal.code) if signal.code else "special values"
    known = STATISTICS.get(signal.test)
    test = f"The test is {signal.test or 'unknown'}." if known is None else known.sentence.format(code=code)
    says = [test] if with_test else []
    if signal.evidence_nats is not None and signal.threshold_nats and signal.kind != "schema":
        says.append(
            f"If nothing had changed, as much evidence would come by chance in at most one of "
            f"{_one_in(signal.evidence_nats)} such windows of independent events. The alarm begins at one of "
            f"{_one_in(signal.threshold_nats)}: {_ALLOWS.get(signal.test, _ALLOWS[''])}."
        )
    if allowed and not signal.is_count:
        says.append(f"As configured now, the model raises at most {allowed}.")
    if signal.change.least is not None:
        says.append(
            f"Other windows have evidence enough for an alarm, and have changed by less than "
            f"{_percent(signal.change.least)}, which pages nobody (signals.rules)."
        )
    if signal.change.provisional:
        says.append(f"{AT_FIRST[0].upper()}{AT_FIRST[1:]}.")
    if signal.change.slope_ratio is not None:
        says.append(
            f"Live events depend on each other {signal.change.slope_ratio:.2g} times as much as the baseline says, "
            "and count by that; were its rows shuffled or sampled?"
        )
    if signal.cycle is not None:
        says.append(_compared(signal.cycle))
    if signal.against == "past" and signal.kind != "schema":
        says.append("The model is compared with its own past, not with its baseline.")
    if _is_grouped(signal):
        text = signal.name.removesuffix(GROUPED)
        says.append(f"Rare values of {text} are counted in groups; the group of one, in Python: {GROUP_OF}.")
    return " ".join(says)


def _is_grouped(signal: ReadSignal) -> bool:
    """Whether it counts the rare values of a text in groups."""
    return KNOWN in signal.change.before.values and signal.name.endswith(GROUPED)


def _compared(cycle: ReadCycle) -> str:
    """The times that the events of a window are compared with, in words."""
    times = PHASE_WORDS.get(cycle.phases, f"phase, one of {cycle.phases}")
    return f"Its events are compared with what the baseline has at the same {times} ({cycle.timezone})."


def remark(signal: ReadSignal) -> str:
    """A caution about the effect sizes; "" if none is needed."""
    events = min(signal.change.before.events, signal.change.after.events)
    few = 0 < events < _FEW and not signal.is_count
    return f"From {events:,} events, effect sizes come out too large by chance." if few else ""


def picture(signal: ReadSignal) -> Picture | None:
    """The chart of bins or most common values, and of special codes; None when the alert has no figures for one."""
    before, after = signal.change.before, signal.change.after
    rows = list(_bins(signal.change)) or list(_values(before, after))
    codes = {**before.special, **after.special}
    rows += [(words(code), before.special.get(code, 0.0), after.special.get(code, 0.0)) for code in codes]
    labels, old, new = zip(*rows, strict=True) if rows else ((), (), ())
    return Picture(labels, tuple(map(_share, old)), tuple(map(_share, new))) if rows else None


def replay_command(alert: ReadAlert) -> str:
    """The command that replays the drift up to the alert; "" if the alert has none.

    The records that decided the alert have earlier timestamps, from clocks that may be a minute ahead.
    """
    command = next((each for each in alert.commands if each.startswith("driftline replay ")), "")
    if not command or alert.emitted_at is None or " --to " in command:
        return command
    try:
        end = (alert.emitted_at + timedelta(minutes=1)).astimezone(UTC)
    except OverflowError:  # on the last day that a datetime can hold
        return command
    return f"{command} --to {end:%Y-%m-%dT%H:%M:%SZ}"


def silence_command(alert: ReadAlert) -> str:
    """The command that silences its model for two hours."""
    return silence_all_of(alert.about, alert.model)


def feedback_command(alert: ReadAlert, real: bool) -> str:
    """The command that says of its incident whether the page was real; "" of an alert that is no incident's."""
    if not may_be_id(alert.incident_id):
        return ""
    return shlex.join(["driftline", "feedback", alert.incident_id, "--real" if real else "--false", *CONFIG])


def as_row(listed: ListedIncident, now: datetime) -> dict[str, Any]:
    """A listed incident as JSON values."""
    alert = listed.newest
    return {
        "state": "open" if listed.open else "resolved",
        "phase": listed.phase or None,
        "resolution": alert.resolution,
        "model": alert.model,
        "version": alert.details.version,
        "severity": alert.severity,
        "title": alert.title,
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "seconds": None if alert.starts_at is None else _seconds(alert.starts_at, alert.ends_at or now),
        "signals": [{"signal": each.name, "headline": each.change.headline} for each in listed.signals],
        "incident_id": alert.incident_id,
        "alert_id": alert.id,
    }


def duration_text(first: datetime | None, last: datetime | None) -> str:
    """The time between in its two largest units, such as "3 h 12 min"; "" if one of them is not known."""
    if first is None or last is None:
        return ""
    seconds = int(_seconds(first, last))
    for size, unit, smaller, smaller_unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller} {smaller_unit}"
    return f"{seconds} s"


def _seconds(first: datetime, last: datetime) -> float:
    """The time between; 0 if the events' clock is ahead of the reader's."""
    return max((last - first).total_seconds(), 0.0)


def words(code: str) -> str:
    """A special code in words."""
    return _WORDS.get(code, code)


def _bins(change: ReadChange) -> Iterator[tuple[str, Number, Number]]:
    """Label and shares of all events of each bin; none if there is no histogram, or one whose lengths do not fit."""
    histogram = change.histogram
    if histogram is None or not len(histogram.before) == len(histogram.after) == len(histogram.edges) + 1:
        return
    labels = _labels(histogram.edges)
    old, new = (1 - sum(each or 0.0 for each in side.special.values()) for side in (change.before, change.after))
    for label, before, after in zip(labels, histogram.before, histogram.after, strict=True):
        yield label, (before or 0.0) * old, (after or 0.0) * new


def _labels(edges: Sequence[Number]) -> list[str]:
    """A label for each bin, given the upper ends of all but the last."""
    shown = _distinct(edges)
    if not shown:
        return ["all values"]
    between = [f"{low} – {high}" for low, high in pairwise(shown)]
    return [f"≤ {shown[0]}", *between, f"> {shown[-1]}"]


def _distinct(edges: Sequence[Number]) -> list[str]:
    """The edges as text, with as few digits as keep them distinct."""
    for digits in range(_DIGITS, _ALL_DIGITS + 1):
        shown = [_number(edge, digits) or "?" for edge in edges]
        if len(set(shown)) == len(set(edges)):
            break
    return shown if edges else []


def _values(before: ReadProfile, after: ReadProfile) -> Iterator[tuple[str, Number, Number]]:
    """The most common values of both sides, then all others. The share of a value that a side does not list is None."""
    named = {**before.values, **after.values}
    for value in named:
        yield value, before.values.get(value), after.values.get(value)
    listed = [(*side.values.values(), *side.special.values()) for side in (before, after)]
    rest = [1 - sum(share or 0.0 for share in shares) for shares in listed]
    if named and max(rest) > _NEGLIGIBLE:
        yield "all others", max(rest[0], 0.0), max(rest[1], 0.0)


def _share(share: Number) -> Number:
    return None if share is None else min(max(share, 0.0), 1.0)


def _most_common(values: Shares) -> str:
    return ", ".join(f"{value} {_percent(share)}" for value, share in values.items())


def _in_words(value: Number, scale: Sequence[tuple[float, str]], least: str) -> str:
    return next((meaning for bound, meaning in scale if value is not None and value >= bound), least)


def _one_in(nats: float) -> str:
    """e to the power of `nats`, in words."""
    power = nats / math.log(10)
    return f"{float(f'{10**power:.2g}'):,.0f}" if power < _READABLE else f"10^{power:.0f}"


def _number(value: Number, digits: int = _DIGITS) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _percent(share: Number) -> str:
    return "" if share is None else f"{100 * share:.3g} %"
