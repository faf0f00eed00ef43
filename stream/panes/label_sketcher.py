"""The first stage for labels: the messages of one partition of their topic in, runs of label halves out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.events.columns import Columns, Field, tabulate
from driftline.stream.events.decode import Decoded, Decoder
from driftline.stream.events.event import Rejection
from driftline.stream.events.frames import Schema
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import EventMapping, Origins
from driftline.stream.outcomes.halves import LabelHalves, texts_of
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.cutter import Cutter, Sizes
from driftline.stream.panes.pane import Run
from driftline.stream.panes.sketcher import RunCounts, Sketched

# A label is decoded as an event whose only value is its prediction, see `LabelMapping.event_mapping`.
_FIELDS = (Field("prediction", numeric=False, whole=True),)
# Models whose labels are decoded fast. A name is new in a message, and each takes a struct of its own.
_FAST = 1000
# ms by which a label may be later than its record: it would be remembered until then, whatever its prediction is.
_AHEAD = 86_400_000


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Labels of one model in log order."""

    offsets: IntArray
    halves: LabelHalves

    @property
    def times(self) -> IntArray:
        return self.halves.ts

    def content(self, first: int, last: int) -> LabelHalves:
        return self.halves.take(slice(first, last))


@dataclass
class LabelSketcher:
    """Decodes the messages of one partition of a topic of labels, and cuts them into panes as those of events.

    mapping: of labels, see `LabelMapping`. schemas: see `EventReader`. waits: of which models labels are waited for;
    those of others are passed over.
    """

    topic: str
    cutter: Cutter
    mapping: EventMapping
    waits: Callable[[str], bool]
    schemas: Mapping[int, Schema] | None = None
    limits: MessageLimits = DEFAULT_LIMITS
    _fast: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._counts = RunCounts()
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(dict.fromkeys(sorted(self._fast), _FIELDS), self.mapping, self.schemas, self.limits)

    def consume(
        self, offsets: IntArray, messages: Sequence[bytes | None], timestamps: IntArray | None = None
    ) -> Sketched:
        """The runs that end within these messages, and what could not be read of them, as in `Sketcher.consume`."""
        decoded = self._decoder.decode(messages, Origins(self.topic, self.cutter.partition, offsets, timestamps))
        rejections = [self._renamed(each) for each in decoded.rejections]
        rows = {
            model: self._rows(columns, offsets, timestamps, rejections)
            for model, columns in self._columns(decoded).items()
            if self.waits(model)
        }
        rejections.sort(key=lambda each: each.position)
        labels = sum(len(each.offsets) for each in rows.values())
        known = {model: each for model, each in rows.items() if len(each.offsets)}
        runs = self.cutter.push(known, int(offsets[-1]) + 1, Sizes.of(offsets, messages)) if len(offsets) else []
        runs = self._counts.count(runs, offsets, rejections)
        return Sketched(runs, labels, rejections, [])

    def _columns(self, decoded: Decoded) -> dict[str, Columns]:
        """The labels of each model. Those of a model that is new are decoded fast from now on."""
        columns = {model: tabulate(_FIELDS, events) for model, events in decoded.unknown.items()}
        new = [model for model in sorted(columns) if self.waits(model)][: _FAST - len(self._fast)]
        if new:
            self._fast |= {*new}
            self._decoder = self._new_decoder()
        return decoded.known | columns

    def _rows(
        self, columns: Columns, offsets: IntArray, timestamps: IntArray | None, rejections: list[Rejection]
    ) -> LabelRows:
        """The labels of one model; those that are none are added to `rejections`."""
        texts, reasons = columns.texts[0], {each.row: each.reason for each in columns.defects}
        reasons |= {row: "prediction: missing" for row, text in enumerate(texts) if text is None and row not in reasons}
        if timestamps is not None:
            written = timestamps[columns.position]  # 0 or -1 of a broker that gives none
            early = np.flatnonzero((written > 0) & (columns.ts > written + _AHEAD)).tolist()
            reasons |= dict.fromkeys(early, f"{self.mapping.ts}: more than a day after its record was written")
        for row, reason in sorted(reasons.items()):
            rejections.append(self._renamed(Rejection(int(columns.position[row]), reason)))
        kept = np.flatnonzero([row not in reasons for row in range(len(texts))])
        halves = LabelHalves(hash_ids(columns.ids), columns.ts, texts_of(texts)).take(kept)
        return LabelRows(offsets[columns.position[kept]], halves)

    def _renamed(self, rejection: Rejection) -> Rejection:
        """A rejection that says label, not prediction."""
        reason, name = rejection.reason, self.mapping.prediction
        if reason.startswith("nothing to monitor"):
            reason = f"{name}: missing"
        if reason.startswith("prediction:"):
            reason = f"{name}{reason.removeprefix('prediction')}"
        return rejection._replace(reason=reason)

    @property
    def so_far(self) -> Run:
        """What the open run has read and rejected so far, without its panes."""
        counts = self._counts
        return Run(self.cutter.start, self.cutter.end, {}, read=counts.read, rejected=dict(counts.rejected))

    def close(self, end: int) -> Run:
        """End the open run at offset `end` (exclusive) and return it."""
        return self._counts.close(self.cutter.close(end))
