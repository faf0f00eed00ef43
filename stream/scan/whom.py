"""For whom columns changed: reads the rows of both tables again, by the values of the columns that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from driftline.stream.baselines.sample import read_events
from driftline.stream.config.mapping import Mapping as EventPaths
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.results.overview import Overview
from driftline.stream.results.segments import NO_VALUE, VALUES, Splits, in_chunks, split_changes, value_of
from driftline.stream.sources.inputs import InputError

# The parts of an event that are no signals and can be asked for.
_EXTRAS = ("version", "label", "weight")
# The parts of an event that a column may be instead of a feature.
_PARTS = ("prediction", "score", *_EXTRAS)
# The share of the reference's rows that these values must have, or the answer would be "all other values".
_MOST = 0.5


def by_part(columns: Iterable[str], mapping: EventPaths) -> list[str]:
    """The columns, those that the mapping takes for a part of the event by the name of that part."""
    parts = {getattr(mapping, part): part for part in _PARTS if part in mapping.model_fields_set}
    return [parts.get(column, column) for column in columns]


def extras_of(columns: Iterable[str]) -> list[str]:
    """Those of the columns that are no signals, and are read only if they are asked for."""
    return [each for each in columns if each in _EXTRAS or each.startswith("tags.")]


def split_by(
    view: Overview,
    columns: Sequence[str],
    reference: Mapping[str, Sequence[Event]],
    rows: Sequence[Sequence[bytes]],
    config: Config,
    timestamp: int | None,
) -> Splits:
    """By model and signal that changed, its rows by the values of each column.

    reference: events by model. rows: the live messages, in chunks. timestamp: of every message, if they have no times.
    Raises InputError for a column that the reference does not have, or whose values are nearly all different.
    """
    found: Splits = {}
    for model in view.models if columns else ():
        events = reference[model.model]
        names = [_checked(column, events) for column in columns]
        live = _live(model.model, rows, config, names, timestamp)
        splits = split_changes(model, names, in_chunks(events), live)
        found |= {(model.name, signal): own for signal, own in splits.items()}
    return found


def _live(
    model: str, rows: Sequence[Sequence[bytes]], config: Config, names: Sequence[str], timestamp: int | None
) -> Iterator[Sequence[Event]]:
    for chunk in rows:
        sample = read_events([chunk], config, model, timestamp, extras_of(names))
        yield from sample.events.values()


def _checked(column: str, events: Sequence[Event]) -> str:
    """The column's full name: a feature may be named without `features.`."""
    for name in (column, f"features.{column}"):
        values = Counter(value_of(event, name) for event in events)
        if values.keys() - {NO_VALUE}:
            break
    else:
        known = dict.fromkeys(signal for event in events[:100] for signal in event.signals if signal != "features")
        listed = ", ".join(signal.removeprefix("features.") for signal in list(known)[:20])
        raise InputError(f"for whom: the reference has no column {column!r}; it has {listed}")
    if sum(count for _, count in values.most_common(VALUES)) < _MOST * len(events):
        raise InputError(f"for whom: column {column!r} has {len(values):,} values; name a column that has a few")
    return name
