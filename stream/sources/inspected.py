"""Inspects the records that a reader of files or tables gives: first as they are, then as the proposal reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from driftline.stream.config.files import FileOptions
from driftline.stream.config.load import parse_config
from driftline.stream.config.mapping import Mapping
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import CONSTANT, RECORD, REST
from driftline.stream.inspection.inspect import Inspection, Message, Source, inspect_messages, prove
from driftline.stream.sources.inputs import InputError, OnNote

#: Gives the records from the first one on, as the mapping and the section `files` of a configuration say.
Read = Callable[[Config, OnNote], Iterator[Message]]


def inspect_records(
    read: Read,
    source: Source,
    where: Callable[[FileOptions], str],
    settings: Config,
    events: int,
    *,
    once: bool = False,
) -> Inspection:
    """Inspect the first records, then read them anew as the proposed configuration says.

    where: names the source and its format for people, given the section `files` that it needs. once: the records
    cannot be read twice. Raises InputError.
    """
    notes = dict[str, None]()
    settings, sample = _first(read, settings, events, notes, once)
    source = replace(source, where=where(settings.files), notes=tuple(notes), is_whole=len(sample) <= events)
    found = inspect_messages(sample[:events], source, settings)
    if found.configuration and not once:
        proposed = parse_config(found.configuration, "the proposal")
        sample = list(islice(read(proposed, lambda _: None), events))
    return prove(found, sample[:events], source, settings)


def _first(
    read: Read, settings: Config, events: int, notes: dict[str, None], once: bool
) -> tuple[Config, list[Message]]:
    """The settings that the source needs, and its first messages: one more than wanted, if there are more.

    notes: what is read otherwise than it stands there is added.
    """
    try:
        raw = settings.model_copy(update={"mapping": _raw(settings.mapping)})
        return settings, list(islice(read(raw, lambda note: notes.setdefault(" ".join(note))), events + 1))
    except InputError as error:
        if not error.remedy or error.remedy.keys() & settings.files.model_fields_set or once:
            raise
        chosen = ", ".join(f"{name}: {value!r}" for name, value in error.remedy.items())
        notes.setdefault(f"read with `files: {{{chosen}}}`; without it: {error}")
        files = FileOptions(**{**settings.files.model_dump(exclude_unset=True), **error.remedy})
        return _first(read, settings.model_copy(update={"files": files}), events, notes, once)


def _raw(mapping: Mapping) -> Mapping:
    """The mapping by which the rows of a table are passed on as they are, but for what is settled."""
    settled = mapping.model_dump(exclude_unset=True)
    rest = {} if mapping.preset else {"features": REST}
    return Mapping(**{"id": RECORD, "model": f"{CONSTANT}model", **rest, **settled})
