"""What rejected messages have in common: how often each reason, and what would help. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.detectors.arrays import IntArray
from driftline.stream.events.candidates import NAMES, likely_path
from driftline.stream.events.event import Rejection, quoted
from driftline.stream.events.mapping import EventMapping
from driftline.stream.text.phrases import listed

# Places remembered at most. Each is a part of an event or a fault of a format, so a dozen is common; the place of a
# message whose mapping leads into other people's keys may be more.
_MAX_PLACES = 100
# Fields of a message that are looked at, in how many levels, and how many of them a remedy names.
_MAX_PATHS, _MAX_DEPTH, _NAMED = 200, 4, 8
_OTHERWISE = {
    "id": "name the path of the id with `mapping.id`, or use the record's position: `mapping: {id: $record}`",
    "ts": "name the path of the time with `mapping.ts`, as `driftline inspect` proposes; a topic's own times are "
    "`mapping: {ts: $record}`",
    "model": "name the path with `mapping.model`, or the model itself: `mapping: {model: =NAME}`, --model for tables",
}


class Cause(NamedTuple):
    """A reason for rejections: how many times, the first one in full with its offset, and what would help.

    remedy: "" if unknown. offset: of the message in its partition, or its number among those of all files, from 0; None
    if the reader does not keep them.
    """

    place: str
    times: int
    example: str
    remedy: str
    offset: int | None

    @property
    def summary(self) -> str:
        """The example, and what would help."""
        return f"{self.example}; {self.remedy}" if self.remedy else self.example

    def where(self, of_files: bool) -> str:
        """Where the first one is, for people: records of files count from 1."""
        return f"is record {(self.offset or 0) + 1:,}" if of_files else f"is at offset {self.offset:,}"


@dataclass
class Rejections:
    """Counts rejected messages and rows by place ("ts", "not JSON"), not by value, since values are unbounded."""

    mapping: EventMapping
    counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, str, int | None]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of rejected messages and rows."""
        return self.counts.total()

    def add(
        self,
        rejections: Iterable[Rejection],
        messages: Sequence[bytes | None],
        offsets: Sequence[int] | IntArray | None = None,
    ) -> None:
        """Count the rejections of a batch of messages. offsets: of each message."""
        for rejection in rejections:
            place = rejection.place
            if place not in self._first and len(self._first) >= _MAX_PLACES:
                place = "other reasons"
            self.counts[place] += 1
            if place not in self._first:
                what_helps = remedy(rejection.reason, messages[rejection.position], self.mapping)
                offset = None if offsets is None else int(offsets[rejection.position])
                self._first[place] = (rejection.reason, what_helps, offset)

    def causes(self) -> list[Cause]:
        """The reasons, the commonest first."""
        return [Cause(place, count, *self._first[place]) for place, count in self.counts.most_common()]

    def excess(self, read: int, allowed: float) -> str | None:
        """What is wrong if more than the share `allowed` of `read` messages were rejected; None if not."""
        if self.total <= allowed * read:
            return None
        cause = self.causes()[0]
        return (
            f"{self.total:,} of {read:,} messages ({percent(self.total / read)}) were rejected, and at most "
            f"{percent(allowed)} may be (--max-rejected); {cause.times:,} of them for {cause.place}, such as: "
            f"{cause.summary}"
        )


def remedy(reason: str, message: bytes | None, mapping: EventMapping) -> str:
    """What helps against a rejection, judged by the fields that the message does have; "" if nothing is known.

    >>> remedy("ts: missing", b'{"id": 1, "timestamp": 3}', EventMapping())
    'the message has id, timestamp; did you mean `timestamp`? add `mapping: {ts: timestamp}`'
    """
    paths = list(_paths(_document(message)))
    if not paths:
        return ""
    has = f"the message has {listed([quoted(path)[1:-1] for path in paths], _NAMED)}"
    for part in _OTHERWISE:
        if reason == f"{'.'.join(mapping.path(part) or ())}: missing":
            return f"{has}; {_suggestion(part, paths, mapping)}"
    if reason.startswith("nothing to monitor") and mapping.features != "rest":
        return f"{has}; if the features lie beside the other parts, add `mapping: {{features: rest}}`"
    if reason.endswith("expected object, got an array"):
        return "if the array holds the rows of many events, add `mapping: {rows: true}`"
    return ""


def _suggestion(part: str, paths: Sequence[str], mapping: EventMapping) -> str:
    taken = {".".join(mapping.path(other) or ()) for other in NAMES if other != "label"}
    likely = likely_path(part, [path for path in paths if path not in taken])
    if likely is None:
        return _OTHERWISE[part]
    return f"did you mean `{likely}`? add `mapping: {{{part}: {likely}}}`"


def _document(message: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(message or b"")  # which reads NaN, as parsing does
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _paths(document: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    """The dotted paths of the values in a document, outer ones first."""
    items = list(document.items())[:_MAX_PATHS]
    yield from (prefix + key for key, value in items if not isinstance(value, dict))
    for key, value in items:
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _paths(value, f"{prefix}{key}.", depth + 1)


def percent(share: float) -> str:
    """A share as a percentage of two digits, "1 %".

    >>> percent(0.01), percent(0.0213), percent(1.0)
    ('1 %', '2.1 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
