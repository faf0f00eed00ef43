"""What is shown of what is known, for a browser and for a terminal: the worst first, in words and in rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from driftline.stream.alerts.explain import duration_text
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.baselines.overruled import doubt
from driftline.stream.config.sections import Config
from driftline.stream.reports.alert import format_time
from driftline.stream.reports.page.words import Fact, Tag
from driftline.stream.serve.live import Now
from driftline.stream.state.models import StoredModel
from driftline.stream.text.phrases import counted, listed

# Models, or signals, named in a sentence.
_NAMED = 4
_SEVERE = ("error", "critical")
# s without traffic after which a model is not called as usual: a batch each night is.
_SILENT = 2 * 86_400.0


class IncidentRow(NamedTuple):
    """An incident in a list."""

    id: str
    title: str
    mark: Tag
    since: str
    lasted: str
    facts: list[str]
    resolution: str


class ModelRow(NamedTuple):
    """A model in the table."""

    name: str
    mark: Tag
    baseline: str
    events: str
    seen: str


class FailureRow(NamedTuple):
    """What cannot be read, since when, and why."""

    what: str
    since: str
    reason: str


def verdict(now: Now, config: Config) -> str:
    """Whether anything needs someone, in a sentence."""
    if not now.at:
        return "Nothing is known yet."
    if not now.began:
        return f"No worker of the group {config.worker.group} has judged anything yet."
    if not now.open:
        return "No incident is open."
    names = list(dict.fromkeys(each.newest.model for each in now.open))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    shown = ", ".join(names[:_NAMED]) + more if more else listed(names)
    return f"{counted(len(now.open), 'incident')} {'is' if len(now.open) == 1 else 'are'} open: {shown}."


def remark(now: Now, at: float) -> str:
    """What the verdict rests on. at: s since the epoch."""
    seen = [each.seen for each in now.models if each.seen is not None]
    newest = f", the newest traffic {_ago(at - max(seen) / 1000)}" if seen else ""
    return f"{counted(len(now.models), 'model')}{newest}. Worst first. All times in UTC."


def _ago(seconds: float) -> str:
    """How long ago, in words."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"


def incidents(listed_ones: Iterable[ListedIncident], at: float) -> list[IncidentRow]:
    """Incidents as rows."""
    return [_incident(each, at) for each in listed_ones]


def _incident(each: ListedIncident, at: float) -> IncidentRow:
    alert = each.newest
    kind = "error" if alert.severity in _SEVERE else "warn"
    mark = Tag("▲" if kind == "error" else "◆", alert.severity, kind) if each.open else Tag("○", "ended", "over")
    also = [signal.name for signal in each.signals if not alert.scope or signal.name != alert.scope]
    facts = [each.phase] if each.phase not in ("", "open") else []
    facts += [f"signals: {', '.join(also[:_NAMED])}{' …' if len(also) > _NAMED else ''}"] if also else []
    facts += [f"owner {alert.owner}"] if alert.owner else []
    ended = alert.ends_at or datetime.fromtimestamp(at, UTC)
    return IncidentRow(
        alert.incident_id or alert.id,
        alert.title if each.open else _was(each),
        mark,
        format_time(alert.starts_at),
        duration_text(alert.starts_at, ended),
        facts,
        alert.resolution or "",
    )


def _was(each: ListedIncident) -> str:
    """What a resolved incident was about: its last alert says only that it is over."""
    named = [f"{signal.name.removeprefix('features.')} {signal.change.headline}" for signal in each.signals[:_NAMED]]
    return f"{each.newest.model}: {'; '.join(named)}" if named else each.newest.title


def ordered(models: Iterable[StoredModel]) -> list[StoredModel]:
    """The models, those with incidents first."""
    return sorted(models, key=lambda each: (-each.open_incidents, each.name))


def model_of(model: StoredModel, config: Config, at: float) -> ModelRow:
    """A model as a row. at: when it was read, s since the epoch."""
    row = model.row(config)
    learning = row["learn_events"] and f"{row['events']:,} of {row['learn_events']:,} events"
    return ModelRow(
        model.name,
        _mark(model, bool(learning), at),
        learning or "; ".join([row["baseline"], *([doubt(row["slope_ratios"])] if row["slope_ratios"] else [])]),
        "" if learning else f"{row['events']:,}",
        (row["last_seen"] or "")[:19].replace("T", " "),
    )


def _mark(model: StoredModel, learning: bool, at: float) -> Tag:
    """The state of a model. What was not looked at, or not lately, is not as usual."""
    if model.open_incidents:
        return Tag("▲", counted(model.open_incidents, "incident"), "error")
    if learning:
        return Tag("…", "learning", "over")
    if not model.facts.judged:
        return Tag("…", "nothing judged yet", "over")
    if model.seen is None or at - model.seen / 1000 > _SILENT:
        return Tag("○", "no traffic lately", "over")
    return Tag("✓", "as usual", "ok")


def health(now: Now, at: float) -> list[Fact]:
    """How Driftline itself is."""
    rows = [
        Fact(
            f"records not yet {each.done}",
            f"{each.records:,}",
            f"{each.topic}, {counted(each.partitions, 'partition')}",
        )
        for each in now.lags
    ]
    rows += [Fact("dead letters", f"{each.records:,}", each.topic) for each in now.dead_letters if each.records]
    if now.standing is not None:
        workers = now.standing.workers
        hosts = ", ".join(f"{each.host} ({each.version})" for each in workers[:8])
        rows += [
            Fact("workers", f"{len(workers):,}", hosts or "none has reported in the last minute"),
            Fact("format level", f"{now.standing.level}", ""),
        ]
    if now.unreadable:
        rows.append(Fact("alerts left out", f"{now.unreadable:,}", "this version cannot read them"))
    return [*rows, Fact("Redis answered", _ago(at - now.at) if now.at else "never", "")]


def failures(now: Now) -> list[FailureRow]:
    """What cannot be read."""
    return [
        FailureRow(what, format_time(datetime.fromtimestamp(each.since, UTC)), each.reason)
        for what, each in now.failures.items()
    ]
