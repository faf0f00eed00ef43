"""Which columns of a sample are the id, the model, the prediction and their like. No I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from driftline.stream.events.mapping import CONSTANT, NATIVE, RECORD
from driftline.stream.inspection.columns import Column, ColumnKind
from driftline.stream.inspection.draft import ENOUGH, FEW, NEARLY_ALL, Choice, Draft
from driftline.stream.inspection.time_column import choose_time

# Different values up to which a column can name models or versions. More is a feature such as the model of a car.
_MOST_MODELS = 10
# Truth or feature? Only beside a prediction or a score are these taken for the truth.
_OUTCOMES = re.compile(r"(is_?)?(fraud|churn(ed)?|default(ed)?|click(ed)?|convert(ed)?|class)", re.IGNORECASE)


def choose_parts(draft: Draft) -> None:
    """Settle the parts of an event, but for the features and for those that are given."""
    for part, choose in _CHOOSERS.items():
        if part not in draft.given and (choice := choose(draft)):
            draft.set(part, choice)


def _id(draft: Draft) -> Choice | None:
    def fits(column: Column) -> bool:
        return not column.missing and column.is_name and not column.is_fraction

    settled = draft.preset.get("id")
    if settled == RECORD:
        return Choice(RECORD, "the place of the record")
    nearly = draft.ranked(
        "id", lambda column: fits(column) and column.distinct >= NEARLY_ALL * column.total, exact=True
    )
    named = nearly or draft.ranked("id", lambda column: fits(column) and column.is_unique)
    tokens = [column for column in draft.candidates() if fits(column) and column.is_unique and column.is_token]
    if found := [*named, *(column for column in tokens if column not in named)]:
        differs = "a different value in each record" if found[0].is_unique else "nearly all values differ"
        return Choice(found[0].path, differs, [column.path for column in found[1:]])
    return Choice(RECORD, "no column has a different value in each record: the place of the record")


def _model(draft: Draft) -> Choice | None:
    named = draft.ranked("model", lambda column: column.missing <= FEW and column.is_name, exact=True)
    found = [column for column in named if column.distinct <= _MOST_MODELS]
    for column in named:
        if column not in found:
            draft.note(f"{column.path}: {column.distinct:,} different values are too many for models; a feature")
    if found:
        names = ", ".join(text for text, _ in found[0].top)
        return Choice(found[0].path, f"names {names}", [column.path for column in found[1:]])
    source = "topic" if draft.is_topic else "file"
    return Choice(CONSTANT + draft.name, f"no column names the model: the name of the {source}")


def _version(draft: Draft) -> Choice | None:
    return _first(draft.ranked("version", lambda column: column.distinct <= _MOST_MODELS, exact=True), "its name")


def _prediction(draft: Draft) -> Choice | None:
    if draft.has_rows:
        return None
    exact = draft.ranked("prediction", _says_something, exact=True)
    return _first(exact or _only(draft.ranked("prediction", _says_something)), "its name")


def _score(draft: Draft) -> Choice | None:
    if draft.has_rows:
        return None
    own = draft.ranked("score", lambda column: column.is_number and column.path == NATIVE.score)
    shares = draft.ranked("score", lambda column: column.is_share, exact=True)
    loose = draft.ranked("score", lambda column: column.is_share)
    return _first(own, "its name") or _first(shares or _only(loose), "its name, and values from 0 to 1")


def _label(draft: Draft) -> Choice | None:
    if draft.has_rows:
        return None
    if found := draft.ranked("label", _says_something, exact=True):
        return _first(found, "its name; the truth is no feature")
    outcomes = [
        column for column in draft.candidates()
        if _OUTCOMES.fullmatch(column.path.rpartition(".")[2]) and column.distinct <= _MOST_MODELS
    ]  # fmt: skip
    if outcomes and draft.has_output:
        return _first(outcomes, "its name, beside a prediction; the truth is no feature")
    for column in outcomes:
        draft.note(f"{column.path} stays a feature; if it is the truth, set mapping.label: {column.path}")
    return None


# The prediction and the score go first: only beside one of them is a column taken for the truth.
_CHOOSERS: Mapping[str, Callable[[Draft], Choice | None]] = {
    "ts": choose_time, "prediction": _prediction, "score": _score, "id": _id, "model": _model, "version": _version,
    "label": _label,
}  # fmt: skip


def _first(found: Sequence[Column], why: str) -> Choice | None:
    return Choice(found[0].path, why, [column.path for column in found[1:]]) if found else None


def _only(found: Sequence[Column]) -> Sequence[Column]:
    return found if len(found) == 1 else ()


def _says_something(column: Column) -> bool:
    """Whether a column is no text that differs in every record, as an explanation or an id does."""
    return column.kind is not ColumnKind.CATEGORICAL or column.distinct < max(column.present / 2, ENOUGH)
