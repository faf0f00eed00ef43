"""`driftline.compare`: a scan of data frames, and its result in Python and in notebooks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.kinds import NAMED_KINDS
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.replay.verdict import Outcome
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.scan import Scan, Wishes, signal_facts, signal_row
from driftline.stream.results.sentences import sentence, shown, verdict_sentence
from driftline.stream.scan.frames import Frame
from driftline.stream.scan.run import scan
from driftline.stream.sources.inputs import InputError

# Pixels of a report and of a card in a notebook; more than that scrolls.
_REPORT, _CARD = 640, 460
_TIMES = ("since", "until")

#: The name of a column; pandas numbers columns that have none.
Name = str | int


def compare(
    reference: Any,
    live: Any,
    *,
    time: Name | None = None,
    prediction: Name | None = None,
    score: Name | None = None,
    label: Name | None = None,
    id: Name | None = None,  # as the option of the command line
    kinds: Mapping[Name, str] | None = None,
    for_whom: Name | Sequence[Name] = (),
    name: str = "live",
    config: str | None = None,
) -> Result:
    """What changed in a table, compared with a reference: which columns, since when, how much.

    It is `driftline scan` for tables in memory, and finds the same.

    reference, live: pandas or Polars data frames, Arrow tables, dicts of columns or lists of dicts; of either kind.
    time, prediction, score, label, id: columns; guessed by default. kinds: "numeric", "categorical" or "boolean", by
    column, instead of the kind inferred. for_whom: a column, or several, by whose values each change is split. name:
    of the model, if no column has it. config: settings as in a configuration file (YAML).

    Raises InputError, BaselineError or ConfigError, which say what is wrong and what helps.

    >>> reference = {"amount": [float(i % 40) for i in range(2000)]}
    >>> result = compare(reference, {"amount": [float(i % 40) + 15 for i in range(500)]})
    >>> result.drifted, result["amount"].change
    (True, 'is higher: a typical value is now 34, was 19')
    """
    whom = [for_whom] if isinstance(for_whom, str | int) else for_whom
    named = {"ts": time, "prediction": prediction, "score": score, "label": label, "id": id}
    parts = {part: str(column) for part, column in named.items() if column is not None}
    wishes = Wishes(
        config=Config() if config is None else parse_config(config, "config"),
        parts=parts,
        kinds={str(signal): _kind(kind) for signal, kind in (kinds or {}).items()},
        for_whom=list(map(str, whom)),
        command=_call(named, kinds or {}, whom),
    )
    found = scan(Frame(live, name, "live"), Frame(reference, name, "reference"), wishes)
    return Result(found, sys.modules.get(type(live).__module__.partition(".")[0]))


def _kind(kind: str) -> Kind:
    if kind not in NAMED_KINDS:
        raise InputError(f"kinds: expected one of {', '.join(NAMED_KINDS)}, got {kind!r}")
    return Kind(kind)


def _call(parts: Mapping[str, Name | None], kinds: Mapping[Name, str], for_whom: Sequence[Name]) -> str:
    words = [f"{'time' if part == 'ts' else part}={column!r}" for part, column in parts.items() if column is not None]
    words += [f"kinds={dict(kinds)!r}"] if kinds else []
    words += [f"for_whom={list(for_whom)!r}"] if for_whom else []
    return f"driftline.compare({', '.join(['reference', 'live', *words])})"


class Finding:
    """What became of one signal: its row as attributes (`change`, `since`, `size`, `before`, `after`, …)."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.__dict__.update(row)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a finding has no {name!r}; it has {', '.join(self.__dict__)}")

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"Finding({facts})"


class Card:
    """The pictures of one signal: shown by a notebook, or saved as a page."""

    def __init__(self, page: str, name: str) -> None:
        self._page, self._name = page, name

    def save_html(self, path: str | Path) -> None:
        """Write the card as a page that needs nothing else."""
        Path(path).write_text(self._page, "utf-8")

    def _repr_html_(self) -> str:
        return _framed(self._page, _CARD)

    def __repr__(self) -> str:
        return f"Card({self._name!r}); a notebook shows it, and save_html(path) writes it"


class Result:
    """What a comparison found. scan: all of it."""

    def __init__(self, found: Scan, namespace: Any = None) -> None:
        self.scan, self._namespace = found, namespace

    @property
    def drifted(self) -> bool:
        """Whether anything changed."""
        return self.scan.verdict.outcome is Outcome.DRIFT

    @property
    def verdict(self) -> str:
        """What came out, a sentence a model; why there is no verdict, if too little was judged."""
        if self.scan.verdict.outcome is Outcome.TOO_LITTLE:
            return "no verdict: " + "; ".join(self.scan.verdict.shortfalls)
        return " ".join(map(verdict_sentence, self.scan.overview.models))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a signal, the worst first; times are datetimes in UTC."""
        return [_timed(signal_row(model, signal)) for model, signal in self._signals()]

    @property
    def unchecked(self) -> list[str]:
        """What was not looked at, and why."""
        return self.scan.unchecked

    def to_frame(self) -> Any:
        """The rows as a data frame of the library that `live` came from, otherwise as an Arrow table."""
        rows = self.rows
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        if hasattr(self._namespace, "DataFrame"):
            return self._namespace.DataFrame(columns)
        import pyarrow

        return pyarrow.table(columns)

    def __getitem__(self, signal: Name) -> Finding:
        """The finding of a signal, with or without `features.` in front of its name."""
        return Finding(_timed(signal_facts(self.scan, *self._find(signal))))

    def plot(self, signal: Name) -> Card:
        """The pictures of a signal: its values over time, before and after."""
        from driftline.stream.reports.page.page import signal_page

        model, found = self._find(signal)
        return Card(signal_page(model, found, self.scan.splits), found.name)

    def save_html(self, path: str | Path) -> None:
        """Write the report: one page that needs nothing else."""
        Path(path).write_text(self._page(), "utf-8")

    def _repr_html_(self) -> str:
        return _framed(self._page(), _REPORT)

    def __repr__(self) -> str:
        lines = [f"  {shown(each.short)} {sentence(model, each)}" for model, each in self._signals() if each.episodes]
        return "\n".join([self.verdict, *lines])

    def _page(self) -> str:
        from driftline.stream.reports.page.page import scan_page

        return scan_page(self.scan)

    def _signals(self) -> list[tuple[ModelView, SignalView]]:
        return [(model, signal) for model in self.scan.overview.models for signal in model.signals]

    def _find(self, name: Name) -> tuple[ModelView, SignalView]:
        for model, signal in self._signals():
            if str(name) in (signal.name, signal.short):
                return model, signal
        known = ", ".join(signal.short for _, signal in self._signals()[:20])
        raise KeyError(f"no signal {name!r}; there are {known}")


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: row[name] and datetime.fromisoformat(row[name]) for name in _TIMES}


def _framed(page: str, height: int) -> str:
    """A page in a frame of its own, so that neither changes the look of the other; nothing in it can run."""
    return (
        f'<iframe sandbox srcdoc="{escape(page)}" title="Driftline" width="100%" height="{height}" '
        'style="border:0"></iframe>'
    )
