"""The pages of `driftline serve`: what needs someone first, then the models, then Driftline itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlencode

from driftline.stream.codec.levels import TIMELINES
from driftline.stream.config.sections import Config
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.reports.page.templates import rendered
from driftline.stream.reports.page.words import Fact
from driftline.stream.serve.live import Now
from driftline.stream.serve.signals import SignalMap
from driftline.stream.serve.views import (
    FailureRow,
    IncidentRow,
    ModelRow,
    failures,
    health,
    incidents,
    model_of,
    ordered,
    remark,
    verdict,
)
from driftline.stream.state.models import StoredModel
from driftline.stream.text.phrases import counted

# Rows of one page: a screen is filled by 30, and 200 take 60 kB.
_MODELS, _OPEN, _PAST, _FIELDS = 200, 200, 50, 200


@dataclass(frozen=True)
class Page:
    """What a page shows.

    models: None if it is about one of them. further: the address of the next models, or "". shown: the signals of the
    model over time; without: why there are none.
    """

    title: str
    headline: str
    remark: str
    failures: Sequence[FailureRow]
    open: Sequence[IncidentRow]
    past: Sequence[IncidentRow]
    unwatched: Sequence[Unwatched]
    facts: Sequence[Fact] = ()
    models: Sequence[ModelRow] | None = None
    counted: str = ""
    wanted: str = ""
    further: str = ""
    health: Sequence[Fact] = ()
    shown: SignalMap | None = None
    without: str = ""

    @property
    def html(self) -> str:
        """The page."""
        return rendered("live.html.j2", "live.js", page=self, version=version("driftline"))


def overview_page(now: Now, config: Config, at: float, wanted: str = "", first: int = 0) -> str:
    """The first page. at: s since the epoch. wanted: part of the names of the models to list, from the `first` on."""
    chosen = ordered(each for each in now.models if wanted.casefold() in each.name.casefold())
    first = first if first < len(chosen) else 0
    after = first + _MODELS
    further = "/?" + urlencode({"model": wanted, "first": after}) + "#models" if len(chosen) > after else ""
    return Page(
        title=_title(now, config),
        headline=verdict(now, config),
        remark=remark(now, at),
        failures=failures(now),
        open=incidents(now.open[:_OPEN], at),
        past=incidents(now.past[:_PAST], at),
        unwatched=now.unwatched[:_FIELDS],
        models=[model_of(each, config, now.at) for each in chosen[first:after]],
        counted=counted(len(chosen), "model"),
        wanted=wanted,
        further=further,
        health=health(now, at),
    ).html


def model_page(now: Now, config: Config, at: float, name: str, shown: SignalMap | None = None) -> str | None:
    """The page of a model; None if no worker remembers it and no incident is about it."""
    stored = [each for each in now.models if each.name == name]
    own = [each for each in now.incidents if each.newest.model == name]
    if not stored and not own:
        return None
    opened = [each for each in own if each.open]
    return Page(
        title=name,
        headline=f"{name}: {_state(len(opened))}",
        remark="All times in UTC.",
        failures=failures(now),
        open=incidents(opened, at),
        past=incidents([each for each in now.past if each.newest.model == name], at),
        unwatched=[each for each in now.unwatched if each.model == name],
        facts=[fact for each in stored for fact in _facts(each, config, now.at)],
        shown=shown,
        without=_without(now, config, name),
    ).html


def _without(now: Now, config: Config, name: str) -> str:
    """Why a model has no signals over time."""
    if config.for_model(name).history is None:
        return "None are kept: the model's `history` is null."
    if now.standing is not None and now.standing.level < TIMELINES:
        return f"Workers keep them from format level {TIMELINES} on: run `driftline upgrade finish`."
    return "There are none yet: they begin with the first events that are judged."


def _title(now: Now, config: Config) -> str:
    return counted(len(now.open), "open incident") if now.open else verdict(now, config).removesuffix(".")


def _state(opened: int) -> str:
    return f"{counted(opened, 'open incident')}" if opened else "no incident is open"


def _facts(model: StoredModel, config: Config, at: float) -> list[Fact]:
    row, chosen = model_of(model, config, at), config.for_model(model.name)
    return [
        Fact("Baseline", row.baseline, ", ".join(map(str, chosen.baselines or ())) or str(chosen.baseline or "")),
        Fact("Events judged", row.events or "none yet", f"partition {model.partition} of the panes topic"),
        Fact("Last seen", row.seen or "unknown", "when its newest pane came"),
        Fact("Compared with", chosen.reference, "" if chosen.reference == "baseline" else "of its own traffic"),
        Fact("Allowed", chosen.allowed, "had nothing changed"),
    ]
