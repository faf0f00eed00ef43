"""Which column of a sample is the time of its events, and how it is read. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.stream.events.candidates import name_rank
from driftline.stream.events.event import quoted
from driftline.stream.events.mapping import RECORD
from driftline.stream.inspection.columns import Column
from driftline.stream.inspection.draft import ENOUGH, FEW, NEARLY_ALL, Choice, Draft
from driftline.stream.inspection.times import TimeForm, elapsed_form, old_form


def choose_time(draft: Draft) -> Choice | None:
    """The field `ts`; its unit, format and zone are settled beside it. None if there is none, and why is said."""
    named = draft.ranked("ts", lambda column: column.path in draft.times and column.missing <= FEW)
    texts = [
        column for column in draft.candidates()
        if column not in named and column.missing <= FEW and is_time(draft, column)
    ]  # fmt: skip
    found = named or sorted(texts, key=lambda column: -draft.times[column.path].rises)
    if found:
        return _time_choice(draft, found[0], found[1:])
    for column in draft.ranked("ts", lambda column: column.missing <= FEW, exact=True):
        if form := old_form(column.values):
            return _timed(draft, column, form, ())
    for column in draft.ranked("ts", lambda column: not column.missing):
        if form := elapsed_form(column.values):
            draft.note(f"{column.path} counts from some start: pages will show times from 1970 on")
            return _timed(draft, column, form, ())
    if draft.is_topic:
        return Choice(RECORD, "no column holds a time: Kafka's own time of each record")
    draft.fail(_no_time(draft))
    draft.proposal.timeless = True
    return None


def is_time(draft: Draft, column: Column) -> bool:
    """Whether a column holds times. Numbers must also be named like a time or rise, as amounts and ids do not."""
    form = draft.times.get(column.path)
    if form is None or not column.is_number:
        return form is not None
    return name_rank("ts", column.path) is not None or (form.rises >= NEARLY_ALL and column.total >= ENOUGH)


def _time_choice(draft: Draft, column: Column, others: Sequence[Column]) -> Choice | None:
    form = draft.times[column.path]
    if form.others and not {"format", "unit"} & draft.given.keys():
        formats = " or ".join(f"'{each}'" for each in (form.format, *form.others))
        draft.fail(
            f"{column.path}: is the day or the month first in {quoted(column.values[0])}? "
            f"set mapping.ts: {column.path} and mapping.format: {formats}, and inspect with -c CONFIG"
        )
        return None
    return _timed(draft, column, form, [each.path for each in others])


def _timed(draft: Draft, column: Column, form: TimeForm, others: Sequence[str]) -> Choice:
    if form.unit != "auto":
        draft.set("unit", Choice(form.unit, "small numbers that never fall"))
    if form.format:
        draft.set("format", Choice(form.format, "the only order of day and month in which all values are times"))
    if not form.is_zoned:
        draft.set("zone", Choice("UTC", "the times name no zone; if they are local, name theirs: Europe/Berlin"))
    return Choice(column.path, form.words, others)


def _no_time(draft: Draft) -> str:
    named = [column for column in draft.columns if name_rank("ts", column.path) is not None]
    if not named:
        return "no column holds a time; add one, such as the time of each prediction"
    shown = ", ".join(
        f"{column.path} ({quoted(column.values[0]) if column.values else 'empty'})" for column in named[:3]
    )
    return f"no column reads as times: {shown}; name the column in mapping.ts, and its mapping.format or unit"
