"""What is monitored of a sample: where the features are, what is left out, what means "missing". No I/O, no clock.

A feature that is an id, a counter or a further time would page for ever, and is left out of what is monitored.
"""

from __future__ import annotations

import re

from driftline.stream.baselines.categories import is_scattered
from driftline.stream.events.candidates import name_rank
from driftline.stream.events.event import quoted
from driftline.stream.events.mapping import REST
from driftline.stream.inspection.columns import Column, ColumnKind
from driftline.stream.inspection.draft import ENOUGH, NEARLY_ALL, Choice, Draft, is_inside
from driftline.stream.inspection.time_column import is_time
from driftline.stream.text.phrases import listed

# A column named like an id with more different values than this is one; with fewer it may be a store or a product.
_MOST_CATEGORIES = 100
_FORMATTED_NUMBER = re.compile(r"[-+]?[€$£]? ?[0-9]{1,3}([., ]?[0-9]{3})*([.,][0-9]+)? ?[%€$£]?")
_UNFIT = {
    ColumnKind.ARRAY: "arrays",
    ColumnKind.OBJECT: "empty objects",
    ColumnKind.EMPTY: "all null in this sample",
}


def choose_features(draft: Draft) -> None:
    """Settle the path of the features."""
    shape = {"features": draft.shape.features, **draft.shape.fields} if draft.shape else {}
    for part, path in shape.items():
        draft.set(part, Choice(path, "where these messages have them"))
    if not draft.shape and "features" not in draft.given:
        why = "all that is left over" if draft.home == REST else "the object that holds them"
        draft.set("features", Choice(draft.home, why))
        _note_outside(draft)


def _note_outside(draft: Draft) -> None:
    outside = [column.path for column in draft.candidates() if not is_inside(column.path, draft.home)]
    if draft.home != REST and outside:
        draft.note(f"not monitored, outside {draft.home}: {listed(outside)}")


def keep_own_names(draft: Draft) -> None:
    """A feature may be called `weight`, as part of an event is: that part then gets another path."""
    if draft.home != REST:
        return
    for part in ("version", "label", "weight", "tags"):
        taken = any(column.path == part and column.is_scalar for column in draft.columns)
        if taken and part not in draft.proposal.fields and part not in draft.used and part not in draft.given:
            draft.set(part, Choice(f"event_{part}", f"so that the column {part} is a feature"))


def choose_nulls(draft: Draft) -> None:
    """Settle which texts mean that a value is missing."""
    if "nulls" in draft.given:
        return
    spelled = {
        text: column.path
        for column in draft.columns
        if column.kind in (ColumnKind.NUMERIC, ColumnKind.BOOLEAN, ColumnKind.EMPTY) or column.path in draft.times
        for text in column.nulls
    }
    if spelled:
        paths = list(dict.fromkeys(spelled.values()))
        draft.set("nulls", Choice(sorted(spelled), f"written instead of a value in {listed(paths)}"))
    for column in draft.columns:
        if kept := [text for text in column.nulls if text and text not in spelled]:
            draft.note(f"{column.path}: {', '.join(map(quoted, kept))} counts as a category; if it means missing, "
                       "list it in mapping.nulls")  # fmt: skip


def exclude_features(draft: Draft) -> None:
    """Leave out the features that say nothing of drift, unless nothing else is left."""
    if draft.has_rows:
        return
    monitored = [
        column for column in draft.columns
        if column.is_scalar and column.path not in draft.used
        and draft.is_feature(column)
    ]  # fmt: skip
    excluded = {column.path: why for column in monitored if (why := _reason_to_exclude(draft, column))}
    if len(excluded) == len(monitored) and not draft.has_output:
        for path, why in excluded.items():
            draft.note(f"{path} is monitored, as nothing else is left, but looks useless: {why}")
    else:
        draft.proposal.excluded = {_signal(draft, path): why for path, why in excluded.items()}
    for kind, why in _UNFIT.items():
        unfit = [column.path for column in draft.columns if column.kind is kind and column.path not in draft.used]
        if unfit:
            draft.note(f"not monitored, {why}: {listed(unfit)}")


def _signal(draft: Draft, path: str) -> str:
    return "features." + (path if draft.home == REST else path.removeprefix(f"{draft.home}."))


def _reason_to_exclude(draft: Draft, column: Column) -> str | None:
    if column.kind is ColumnKind.CONSTANT:
        return None
    if is_time(draft, column):
        return "a time, which always rises"
    if column.is_counter:
        return "counts the rows"
    if _is_id(column):
        return f"an id, {column.distinct:,} different values"
    if name_rank("label", column.path) is not None and "label" in draft.proposal.fields:
        return "a second label"
    if column.kind is ColumnKind.CATEGORICAL and column.total >= ENOUGH:
        if column.distinct > max(_MOST_CATEGORIES, column.present / 2) and _is_formatted(column):
            return f"numbers written like {quoted(column.values[0])} are read as text"
        if column.distinct >= NEARLY_ALL * column.present:
            return "nearly every text is different"
        if is_scattered(list(map(str, column.values))):
            return f"{column.distinct:,} different texts, nearly all of them rare"
    return None


def _is_id(column: Column) -> bool:
    is_many = column.distinct > min(_MOST_CATEGORIES, column.total / 2)
    return is_many and name_rank("id", column.path) is not None and not column.is_fraction


def _is_formatted(column: Column) -> bool:
    return all(isinstance(value, str) and _FORMATTED_NUMBER.fullmatch(value) for value in column.values[:ENOUGH])
