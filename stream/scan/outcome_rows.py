"""Predictions and labels read from logs, as columns: of a table's rows, or of a topic's partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import LABEL, LABEL_FIELD, Columns, Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import UnfitValueError, as_text
from driftline.stream.events.frames import Schema
from driftline.stream.events.mapping import Origin, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.outcomes.rows import Labels, Rows
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.sources.inputs import InputError
from driftline.stream.text.phrases import counted

_CHUNK = 2_000
# What is read of an event; a prediction and a label are compared as text, and so is a number that a program wrote.
_FIELDS = Field("prediction", numeric=False, whole=True), Field("score", numeric=True)

#: Batches of messages, each with its partition.
Log = Iterable[tuple[int, LogBatch]]
Schemas = Mapping[int, Schema] | None


def as_log(messages: Iterator[bytes], stamped: Callable[[IntArray], IntArray] | None = None) -> Log:
    """The messages of a table as a log. stamped: the times of records, epoch ms, of offsets; None: they have none."""
    offset = 0
    while chunk := list(islice(messages, _CHUNK)):
        offsets = np.arange(offset, offset + len(chunk))
        yield 0, LogBatch(offsets, chunk, None if stamped is None else stamped(offsets))
        offset += len(chunk)


def read_rows(
    title: str, log: Log, config: Config, model: str, notes: dict[str, None], schemas: Schemas = None
) -> Rows:
    """The predictions of a model. Raises InputError if there are none. notes: what a reader should know is added."""
    mapping, limits = config.mapping.event_mapping(), config.limits.of_messages()
    decoder = Decoder({model: _FIELDS}, mapping, schemas, limits, extras=[LABEL_FIELD])
    parts, read, rejected, reason, others = list[Columns](), 0, 0, "", 0
    for partition, batch in log:
        decoded = decoder.decode(batch.messages, Origins(title, partition, batch.offsets, batch.timestamps))
        parts += [decoded.known[model]] if model in decoded.known else []
        others += sum(map(len, decoded.unknown.values()))
        rejected += len(decoded.rejections)
        reason = reason or next((each.reason for each in decoded.rejections), "")
        read += len(batch.messages)
    if rejected:
        notes.setdefault(f"{title}: {counted(rejected, 'row')} of {read:,} are no events: {reason}")
    if others:
        notes.setdefault(f"{title}: {counted(others, 'event')} of other models are left out")
    if not parts:
        raise InputError(f"{title}: holds no events of {model!r}" + (f": {reason}" if reason else ""))
    columns = Columns.concatenate(parts)
    return Rows(columns.ids, columns.ts, columns.texts[0], columns.numeric[:, 0], columns.extras[LABEL])


def read_labels(
    title: str,
    log: Log,
    config: Config,
    notes: dict[str, None],
    *,
    model: str | None = None,
    timed: bool = True,
    schemas: Schemas = None,
) -> Labels:
    """The labels in a log, whatever their model or of one alone. timed: whether they have times."""
    reader = EventReader(config.mapping.event_mapping(), schemas, config.limits.of_messages(), extras=[LABEL])
    found, odd, reason = list[tuple[str, int, str]](), 0, ""
    for message, origin in with_origins(title, log):
        try:
            head = reader.head(message, origin)
            if model is None or head.model == model:
                found.append((head.id, head.ts, _label(head.extras[LABEL])))
        except (EventError, UnfitValueError) as error:
            odd, reason = odd + 1, reason or str(error)
    if odd:
        notes.setdefault(f"{title}: {counted(odd, 'row')} of {odd + len(found):,} are no labels: {reason}")
    if not timed:
        notes.setdefault(f"{title}: has no times; of several labels of an id, the last one counts")
    return Labels(
        [id_ for id_, _, _ in found],
        np.array([ts for _, ts, _ in found], np.int64),
        [each for *_, each in found],
        timed,
    )


def with_origins(title: str, log: Log) -> Iterator[tuple[bytes | None, Origin]]:
    """The messages of a log, and where each comes from."""
    for partition, batch in log:
        origins = Origins(title, partition, batch.offsets, batch.timestamps)
        for position, message in enumerate(batch.messages):
            yield message, origins.at(position)


def _label(value: Any) -> str:
    text = as_text(value, whole=True)
    if text is None:
        raise EventError("label: missing")
    return text
