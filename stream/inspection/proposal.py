"""Proposes a mapping for a sample: which column is which part of an event, and why. No I/O, no clock.

Names and values must both fit. When in doubt a column stays a feature, and a note says so; a feature that is an id, a
counter or a further time would page for ever, and is left out of what is monitored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftline.stream.events.candidates import LOOSE, likely_path, name_rank
from driftline.stream.events.event import quoted
from driftline.stream.events.mapping import CONSTANT, NATIVE, PRESETS, RECORD, REST
from driftline.stream.inspection.columns import Column, ColumnKind
from driftline.stream.inspection.shapes import Shape
from driftline.stream.inspection.times import TimeForm, elapsed_form, time_form

# Different values up to which a column can name models or versions. More is a feature such as the model of a car.
_MOST_MODELS = 10
# Share of different values from which a text says nothing about traffic, and documents that show it.
_NEARLY_ALL, _ENOUGH = 0.95, 20
# A column named like an id with more different values than this is one; with fewer it may be a store or a product.
_MOST_CATEGORIES = 100
# Share of documents that may lack the time or the model; they are rejected, and reported.
_FEW = 0.05
# Objects that hold features and nothing else; others, such as `data`, may hold the other parts as well.
_FEATURES_ONLY = frozenset({"features", "inputs", "input", "instances", "featurevalues"})
# Truth or feature? Only beside a prediction or a score are these taken for the truth.
_OUTCOMES = re.compile(r"(is_?)?(fraud|churn(ed)?|default(ed)?|click(ed)?|convert(ed)?|class)", re.IGNORECASE)
_FORMATTED_NUMBER = re.compile(r"[-+]?[€$£]? ?[0-9]{1,3}([., ]?[0-9]{3})*([.,][0-9]+)? ?[%€$£]?")


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
    None if there is one.
    """

    fields: dict[str, Choice] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


def propose(
    columns: Sequence[Column],
    shape: Shape | None = None,
    *,
    name: str = "model",
    is_topic: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Proposal:
    """The mapping for documents with these columns.

    shape: the well-known kind of message that they are. name: of the file or topic, for the model if no column names
    it. is_topic: whether records have a time of their own. given: fields of the mapping that are settled.
    """
    proposer = _Proposer(columns, shape, name, is_topic, dict(given or {}))
    proposer.run()
    return proposer.proposal


class _Proposer:
    """Fills in a proposal, part by part; a column that is one part is not offered to the next."""

    def __init__(
        self, columns: Sequence[Column], shape: Shape | None, name: str, is_topic: bool, given: dict[str, Any]
    ) -> None:
        self.proposal = Proposal()
        self._columns, self._shape, self._name, self._is_topic = columns, shape, name, is_topic
        self._given, self._used = given, set[str]()
        self._preset: Mapping[str, Any] = PRESETS[shape.preset] if shape else {}
        self._home = str(given.get("features") or self._find_home())
        self._times = {column.path: form for column in columns if (form := time_form(column.values))}

    def run(self) -> None:
        """Choose every field."""
        self._used |= {str(path) for path in self._given.values()}
        if self._shape:
            self._set("preset", Choice(self._shape.preset, self._shape.why))
        pickers: dict[str, Callable[[], Choice | None]] = {
            "id": self._id, "ts": self._ts, "model": self._model, "version": self._version,
            "prediction": self._prediction, "score": self._score, "label": self._label,
        }  # fmt: skip
        # The prediction and the score go first: only beside one of them is a column taken for the truth.
        for part in ("ts", "prediction", "score", "id", "model", "version", "label"):
            if part not in self._given and (choice := pickers[part]()):
                self._set(part, choice)
        self._take_given()
        self._choose_features()
        self._keep_own_names()
        self._choose_nulls()
        self._exclude()
        self._order()

    def _set(self, part: str, choice: Choice) -> None:
        self.proposal.fields[part] = choice
        self._used.add(str(choice.value))

    def _take_given(self) -> None:
        for part, value in self._given.items():
            if part != "preset":
                self._set(part, Choice(value, "given"))

    def _note(self, text: str) -> None:
        self.proposal.notes.append(text)

    # Where the features are

    def _find_home(self) -> str:
        if self._shape:
            return self._shape.features
        objects = {parent: 0 for column in self._columns for parent in _parents(column.path)}
        home = likely_path("features", objects)
        if home is None:
            return self._find_json_text() or REST
        inside = [column for column in self._columns if column.is_scalar and _inside(column.path, home)]
        outside = [
            column for column in self._columns
            if column.is_scalar and not _inside(column.path, home) and not _is_named_part(column.path)
        ]  # fmt: skip
        return home if len(inside) >= len(outside) and inside else REST

    def _find_json_text(self) -> str | None:
        """The column of a table that holds all features as JSON; files are then read so that it is an object."""
        texts = [
            column.path for column in self._columns
            if column.values and all(isinstance(value, str) and value[:1] == "{" for value in column.values)
        ]  # fmt: skip
        return likely_path("features", texts)

    @property
    def _candidates(self) -> list[Column]:
        """Columns that can be parts: those outside the features first, then those inside."""
        outside = [column for column in self._columns if self._home == REST or not _inside(column.path, self._home)]
        if self._home == REST or self._home.rpartition(".")[2].lower() in _FEATURES_ONLY or self._has_rows:
            inside = []
        else:
            inside = [column for column in self._columns if _inside(column.path, self._home)]
        return [
            column for column in (*outside, *inside)
            if column.is_scalar and column.reachable and column.path not in self._used
        ]  # fmt: skip

    @property
    def _has_rows(self) -> bool:
        return bool(self._preset.get("rows") or self._given.get("rows"))

    # The parts, each by name and by values

    def _ranked(self, part: str, fits: Callable[[Column], bool], exact: bool = False) -> list[Column]:
        """Candidates whose names and values fit a part, the best first."""
        ranked = [
            (rank, column.path.count("."), place, column)
            for place, column in enumerate(self._candidates)
            if (rank := self._rank(part, column.path)) is not None and (rank < LOOSE or not exact) and fits(column)
        ]
        return [column for *_, column in sorted(ranked, key=lambda each: each[:3])]

    def _rank(self, part: str, path: str) -> int | None:
        return -1 if path == self._preset.get(part) else name_rank(part, path)

    def _ts(self) -> Choice | None:
        named = self._ranked("ts", lambda column: column.path in self._times and column.missing <= _FEW)
        texts = [
            column for column in self._candidates
            if column not in named and column.missing <= _FEW and self._is_time(column)
        ]  # fmt: skip
        found = named or sorted(texts, key=lambda column: -self._times[column.path].rises)
        if found:
            return self._time_choice(found[0], found[1:])
        for column in self._ranked("ts", lambda column: not column.missing):
            if form := elapsed_form(column.values):
                self._note(f"{column.path} counts from some start: pages will show times from 1970 on")
                return self._timed(column, form, ())
        if self._is_topic:
            return Choice(RECORD, "no column holds a time: Kafka's own time of each record")
        self._fail(self._no_time())
        return None

    def _is_time(self, column: Column) -> bool:
        """Whether values alone say so: numbers must be named like a time or rise, as amounts and ids do not."""
        form = self._times.get(column.path)
        if form is None or not _is_number(column):
            return form is not None
        return name_rank("ts", column.path) is not None or (form.rises >= _NEARLY_ALL and column.total >= _ENOUGH)

    def _time_choice(self, column: Column, others: Sequence[Column]) -> Choice | None:
        form = self._times[column.path]
        if form.others and not {"format", "unit"} & self._given.keys():
            formats = " or ".join(f"'{each}'" for each in (form.format, *form.others))
            self._fail(
                f"{column.path}: is the day or the month first in {quoted(column.values[0])}? "
                f"set mapping.ts: {column.path} and mapping.format: {formats}, and inspect with -c CONFIG"
            )
            return None
        return self._timed(column, form, [each.path for each in others])

    def _timed(self, column: Column, form: TimeForm, others: Sequence[str]) -> Choice:
        if form.unit != "auto":
            self._set("unit", Choice(form.unit, "small numbers that never fall"))
        if form.format:
            self._set("format", Choice(form.format, "the only order of day and month in which all values are times"))
        if not form.is_zoned:
            self._set("zone", Choice("UTC", "the times name no zone; if they are local, name theirs: Europe/Berlin"))
        return Choice(column.path, form.words, others)

    def _fail(self, problem: str) -> None:
        self.proposal.problem = self.proposal.problem or problem

    def _no_time(self) -> str:
        named = [column for column in self._columns if name_rank("ts", column.path) is not None]
        if not named:
            return "no column holds a time; add one, such as the time of each prediction"
        shown = ", ".join(
            f"{column.path} ({quoted(column.values[0]) if column.values else 'empty'})" for column in named[:3]
        )
        return f"no column reads as times: {shown}; name the column in mapping.ts, and its mapping.format or unit"

    def _id(self) -> Choice | None:
        def fits(column: Column) -> bool:
            return not column.missing and column.is_name and not _is_fraction(column)

        settled = self._preset.get("id")
        if settled == RECORD:
            return Choice(RECORD, "the place of the record")
        nearly = self._ranked(
            "id", lambda column: fits(column) and column.distinct >= _NEARLY_ALL * column.total, exact=True
        )
        named = nearly or self._ranked("id", lambda column: fits(column) and column.is_unique)
        tokens = [column for column in self._candidates if fits(column) and column.is_unique and column.is_token]
        if found := [*named, *(column for column in tokens if column not in named)]:
            differs = "a different value in each record" if found[0].is_unique else "nearly all values differ"
            return Choice(found[0].path, differs, [column.path for column in found[1:]])
        return Choice(RECORD, "no column has a different value in each record: the place of the record")

    def _model(self) -> Choice | None:
        named = self._ranked("model", lambda column: column.missing <= _FEW and column.is_name, exact=True)
        found = [column for column in named if column.distinct <= _MOST_MODELS]
        for column in named:
            if column not in found:
                self._note(f"{column.path}: {column.distinct:,} different values are too many for models; a feature")
        if found:
            names = ", ".join(text for text, _ in found[0].top)
            return Choice(found[0].path, f"names {names}", [column.path for column in found[1:]])
        return Choice(CONSTANT + self._name, "no column names the model: the name of the " + self._source)

    @property
    def _source(self) -> str:
        return "topic" if self._is_topic else "file"

    def _version(self) -> Choice | None:
        return _first(self._ranked("version", lambda column: column.distinct <= _MOST_MODELS, exact=True), "its name")

    def _prediction(self) -> Choice | None:
        if self._has_rows:
            return None
        exact = self._ranked("prediction", _says_something, exact=True)
        return _first(exact or _only(self._ranked("prediction", _says_something)), "its name")

    def _score(self) -> Choice | None:
        if self._has_rows:
            return None
        own = self._ranked("score", lambda column: _is_number(column) and column.path == NATIVE.score)
        shares = self._ranked("score", lambda column: column.is_share, exact=True)
        loose = self._ranked("score", lambda column: column.is_share)
        return _first(own, "its name") or _first(shares or _only(loose), "its name, and values from 0 to 1")

    def _label(self) -> Choice | None:
        if self._has_rows:
            return None
        if found := self._ranked("label", _says_something, exact=True):
            return _first(found, "its name; the truth is no feature")
        outcomes = [
            column for column in self._candidates
            if _OUTCOMES.fullmatch(column.path.rpartition(".")[2]) and column.distinct <= _MOST_MODELS
        ]  # fmt: skip
        if outcomes and {"prediction", "score"} & self.proposal.fields.keys():
            return _first(outcomes, "its name, beside a prediction; the truth is no feature")
        for column in outcomes:
            self._note(f"{column.path} stays a feature; if it is the truth, set mapping.label: {column.path}")
        return None

    # The rest

    def _choose_features(self) -> None:
        shape = {"features": self._shape.features, **self._shape.fields} if self._shape else {}
        for part, path in shape.items():
            self._set(part, Choice(path, "where these messages have them"))
        if not self._shape and "features" not in self._given:
            why = "all that is left over" if self._home == REST else "the object that holds them"
            self._set("features", Choice(self._home, why))
            self._note_outside()

    def _note_outside(self) -> None:
        outside = [column.path for column in self._candidates if not _inside(column.path, self._home)]
        if self._home != REST and outside:
            self._note(f"not monitored, outside {self._home}: {_listed(outside)}")

    def _keep_own_names(self) -> None:
        """A feature may be called `weight`, as part of an event is: that part then gets another path."""
        if self._home != REST:
            return
        for part in ("version", "label", "weight", "tags"):
            taken = any(column.path == part and column.is_scalar for column in self._columns)
            if taken and part not in self.proposal.fields and part not in self._used and part not in self._given:
                self._set(part, Choice(f"event_{part}", f"so that the column {part} is a feature"))

    def _choose_nulls(self) -> None:
        if "nulls" in self._given:
            return
        spelled = {
            text: column.path
            for column in self._columns
            if column.kind in (ColumnKind.NUMERIC, ColumnKind.BOOLEAN, ColumnKind.EMPTY) or column.path in self._times
            for text in column.nulls
        }
        if spelled:
            paths = list(dict.fromkeys(spelled.values()))
            self._set("nulls", Choice(sorted(spelled), f"written instead of a value in {_listed(paths)}"))
        for column in self._columns:
            if kept := [text for text in column.nulls if text and text not in spelled]:
                self._note(f"{column.path}: {', '.join(map(quoted, kept))} counts as a category; if it means missing, "
                           "list it in mapping.nulls")  # fmt: skip

    def _exclude(self) -> None:
        if self._has_rows:
            return
        monitored = [
            column for column in self._columns
            if column.is_scalar and column.path not in self._used
            and (self._home == REST or _inside(column.path, self._home))
        ]  # fmt: skip
        excluded = {column.path: why for column in monitored if (why := self._reason_to_exclude(column))}
        if len(excluded) == len(monitored) and not {"prediction", "score"} & self.proposal.fields.keys():
            for path, why in excluded.items():
                self._note(f"{path} is monitored, as nothing else is left, but looks useless: {why}")
        else:
            self.proposal.excluded = {self._signal(path): why for path, why in excluded.items()}
        for kind, why in _UNFIT.items():
            unfit = [column.path for column in self._columns if column.kind is kind and column.path not in self._used]
            if unfit:
                self._note(f"not monitored, {why}: {_listed(unfit)}")

    def _signal(self, path: str) -> str:
        return "features." + (path if self._home == REST else path.removeprefix(f"{self._home}."))

    def _reason_to_exclude(self, column: Column) -> str | None:
        if column.kind is ColumnKind.CONSTANT:
            return None
        if self._is_time(column):
            return "a time, which always rises"
        if column.is_counter:
            return "counts the rows"
        if _is_id(column):
            return f"an id, {column.distinct:,} different values"
        if name_rank("label", column.path) is not None and "label" in self.proposal.fields:
            return "a second label"
        if column.kind is ColumnKind.CATEGORICAL and column.total >= _ENOUGH:
            if column.distinct > max(_MOST_CATEGORIES, column.present / 2) and _is_formatted(column):
                return f"numbers written like {quoted(column.values[0])} are read as text"
            if column.distinct >= _NEARLY_ALL * column.present:
                return "nearly every text is different"
        return None

    def _order(self) -> None:
        wanted = ("preset", "id", "ts", "unit", "format", "zone", "model", "version", "prediction", "score", "label")
        order = {part: place for place, part in enumerate(wanted)}
        ordered = sorted(self.proposal.fields.items(), key=lambda pair: order.get(pair[0], len(order)))
        self.proposal.fields = dict(ordered)


_UNFIT = {
    ColumnKind.ARRAY: "arrays",
    ColumnKind.OBJECT: "empty objects",
    ColumnKind.EMPTY: "all null in this sample",
}


def _first(found: Sequence[Column], why: str) -> Choice | None:
    return Choice(found[0].path, why, [column.path for column in found[1:]]) if found else None


def _only(found: Sequence[Column]) -> Sequence[Column]:
    return found if len(found) == 1 else ()


def _says_something(column: Column) -> bool:
    """Whether a column is no text that differs in every record, as an explanation or an id does."""
    return column.kind is not ColumnKind.CATEGORICAL or column.distinct < max(column.present / 2, _ENOUGH)


def _is_number(column: Column) -> bool:
    return column.low is not None


def _is_fraction(column: Column) -> bool:
    return _is_number(column) and not column.is_whole


def _is_id(column: Column) -> bool:
    is_many = column.distinct > min(_MOST_CATEGORIES, column.total / 2)
    return is_many and name_rank("id", column.path) is not None and not _is_fraction(column)


def _is_formatted(column: Column) -> bool:
    return all(isinstance(value, str) and _FORMATTED_NUMBER.fullmatch(value) for value in column.values[:_ENOUGH])


def _is_named_part(path: str) -> bool:
    parts = ("id", "ts", "model", "version", "prediction", "score", "label")
    return any(name_rank(part, path) is not None for part in parts)


def _inside(path: str, home: str) -> bool:
    return path.startswith(f"{home}.")


def _parents(path: str) -> list[str]:
    keys = path.split(".")
    return [".".join(keys[:depth]) for depth in range(1, len(keys))]


def _listed(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
