"""The events of a sample, from which baselines are built, read exactly. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.mapping import Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.rejections import Rejections


@dataclass
class Sample:
    """The events of a sample by model, the models that were skipped, and what was rejected."""

    rejected: Rejections
    events: dict[str, list[Event]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @property
    def read(self) -> int:
        """Number of events read, and of messages and rows rejected."""
        return sum(map(len, self.events.values())) + self.rejected.total


def read_events(
    batches: Iterable[Sequence[bytes]],
    settings: Config,
    model: str | None = None,
    timestamp: int | None = None,
    extras: Sequence[str] = (),
) -> Sample:
    """The events in messages.

    model: the only one whose events are kept. timestamp: of each record, epoch ms. extras: as in `EventReader`.
    """
    mapping, topic, offset = settings.mapping.event_mapping(), settings.topics.predictions, 0
    reader = EventReader(mapping, limits=settings.limits.of_messages(), extras=extras)
    sample = Sample(Rejections(mapping))
    for batch in batches:
        offsets = range(offset, offset + len(batch))
        for position, message in enumerate(batch):
            try:
                found, faults = reader.read(message, Origin(topic, 0, offsets[position], timestamp))
            except EventError as error:
                sample.rejected.add([Rejection(position, str(error))], batch, offsets)
                continue
            sample.rejected.add([Rejection(position, fault.reason, fault.row) for fault in faults], batch, offsets)
            for event in found:
                if model in (None, event.model):
                    sample.events.setdefault(event.model, []).append(event)
                else:
                    sample.others.add(event.model)
        offset += len(batch)
    return sample
