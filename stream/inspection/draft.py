"""The draft of a proposal: what is decided so far, and which columns are still free for which part. No I/O, no clock.

Names and values must both fit: names are ranked here, and whoever decides a part says which values fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftline.stream.events.candidates import LOOSE, likely_path, name_rank
from driftline.stream.events.mapping import PRESETS, REST
from driftline.stream.inspection.columns import Column
from driftline.stream.inspection.shapes import Shape
from driftline.stream.inspection.times import TimeForm, time_form

#: Share of documents that may lack the time or the model; they are rejected, and reported.
FEW = 0.05
#: Share of the values that is nearly all of them, and documents that show it.
NEARLY_ALL, ENOUGH = 0.95, 20
# Objects that hold features and nothing else; others, such as `data`, may hold the other parts as well.
_FEATURES_ONLY = frozenset({"features", "inputs", "input", "instances", "featurevalues"})
_NAMED_PARTS = ("id", "ts", "model", "version", "prediction", "score", "label")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a field of the mapping should be. others: columns that could be meant as well."""

    value: Any
    why: str
    others: Sequence[str] = ()


@dataclass(slots=True)
class Proposal:
    """A mapping for a sample.

    fields: of the section `mapping`, in the order in which they are written. excluded: features that are left out of
    what is monitored, with the reason, by path. notes: what a reader should know. problem: why no mapping is possible,
    None if there is one. timeless: whether the problem is that no column is a time.
    """

    fields: dict[str, Choice] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None
    timeless: bool = False


class Draft:
    """A proposal in the making; a column that is one part is not offered to the next.

    columns, shape, name, is_topic, given: see `propose`. home: the path of the features. times: how the columns that
    hold times read, by path.
    """

    def __init__(
        self, columns: Sequence[Column], shape: Shape | None, name: str, is_topic: bool, given: Mapping[str, Any]
    ) -> None:
        self.proposal = Proposal()
        self.columns, self.shape, self.name, self.is_topic, self.given = columns, shape, name, is_topic, given
        self.preset: Mapping[str, Any] = PRESETS[shape.preset] if shape else {}
        self.home = str(given.get("features") or _find_home(columns, shape))
        self.times: dict[str, TimeForm] = {
            column.path: form for column in columns if (form := time_form(column.values))
        }
        self.used = {str(path) for path in given.values()}

    def set(self, part: str, choice: Choice) -> None:
        """Settle a field of the mapping."""
        self.proposal.fields[part] = choice
        self.used.add(str(choice.value))

    def note(self, text: str) -> None:
        """Say what a reader should know."""
        self.proposal.notes.append(text)

    def fail(self, problem: str) -> None:
        """Say why no mapping is possible; the first reason counts."""
        self.proposal.problem = self.proposal.problem or problem

    @property
    def has_rows(self) -> bool:
        """Whether a message holds many events."""
        return bool(self.preset.get("rows") or self.given.get("rows"))

    @property
    def has_output(self) -> bool:
        """Whether a prediction or a score is settled, or given."""
        return not {"prediction", "score"}.isdisjoint({*self.proposal.fields, *self.given})

    def is_feature(self, column: Column) -> bool:
        """Whether a column lies where the features are."""
        return self.home == REST or is_inside(column.path, self.home)

    def candidates(self) -> list[Column]:
        """Columns that can be parts: those outside the features first, then those inside."""
        outside = [column for column in self.columns if self.home == REST or not self.is_feature(column)]
        inside = [column for column in self.columns if self.home != REST and self.is_feature(column)]
        if self.has_rows or self.home.rpartition(".")[2].lower() in _FEATURES_ONLY:
            inside = []
        return [
            column for column in (*outside, *inside)
            if column.is_scalar and column.reachable and column.path not in self.used
        ]  # fmt: skip

    def ranked(self, part: str, fits: Callable[[Column], bool], exact: bool = False) -> list[Column]:
        """Candidates whose names and values fit a part, the best first. exact: by the whole name, not by a word."""
        ranked = [
            (rank, column.path.count("."), place, column)
            for place, column in enumerate(self.candidates())
            if (rank := self._rank(part, column.path)) is not None and (rank < LOOSE or not exact) and fits(column)
        ]
        return [column for *_, column in sorted(ranked, key=lambda each: each[:3])]

    def _rank(self, part: str, path: str) -> int | None:
        return -1 if path == self.preset.get(part) else name_rank(part, path)


def is_inside(path: str, home: str) -> bool:
    """Whether a path leads into the object at `home`."""
    return path.startswith(f"{home}.")


def _find_home(columns: Sequence[Column], shape: Shape | None) -> str:
    """The path of the features; `rest` if no object holds most of what could be one."""
    if shape:
        return shape.features
    home = likely_path("features", {parent: 0 for column in columns for parent in _parents(column.path)})
    if home is None:
        return _find_json_text(columns) or REST
    scalars = [column.path for column in columns if column.is_scalar]
    inside = [path for path in scalars if is_inside(path, home)]
    outside = [path for path in scalars if not is_inside(path, home) and not _is_named_part(path)]
    return home if len(inside) >= len(outside) and inside else REST


def _find_json_text(columns: Sequence[Column]) -> str | None:
    """The column of a table that holds all features as JSON; files are then read so that it is an object."""
    texts = [
        column.path for column in columns
        if column.values and all(isinstance(value, str) and value[:1] == "{" for value in column.values)
    ]  # fmt: skip
    return likely_path("features", texts)


def _is_named_part(path: str) -> bool:
    return any(name_rank(part, path) is not None for part in _NAMED_PARTS)


def _parents(path: str) -> Iterator[str]:
    keys = path.split(".")
    return (".".join(keys[:depth]) for depth in range(1, len(keys)))
