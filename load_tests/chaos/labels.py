"""Labels of a chaos run that come by themselves: what comes when, in which partition, and what comes damaged. Pure.

    predictions   ─ burst ─ 6 h ─ burst ─ 6 h ─ burst ─ ... ─ F ─ stragglers ─────────────────── G
    labels                    └─ 20 min to 24 h later, ... ─ F ─ stragglers ─ those of a day ─ G
    one partition   ─ label ─ nothing for three days of event time ─ all of them ─ ...

Models with even numbers have a label for nearly every prediction within two hours: their slots are cut off as soon as
99 of 100 have one. Those of the others come for two of three, hours later: their slots are cut off after `wait`.

What comes in time is out of order by less than a slot's length, in each partition of both topics, and what comes later
than a cut-off is so by its own time: so all counts are functions of the sets of both topics, whatever is processed
first. Only what comes after ticks have closed its slot is late by its place in the log, and that is sent only once they
are known to have closed all of them (F): these are the stragglers. By G, all labels without a prediction are counted.

A partition that is known to hold nothing is not waited for. So all that are used get one before the first fault, and
partitions that are added get none of these models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from load_tests.harness.oracle import EPOCH

if TYPE_CHECKING:
    from load_tests.chaos.traffic import Sent

#: The models whose labels come by themselves: some are given a baseline, one learns it, one lies on all partitions, and
#: one has two versions.
LABELLED = (*(f"keyed-{i}" for i in range(6)), "keyed-23", "learns-0", "spread-2")
_HOUR, _MINUTE = 3_600_000, 60_000
#: ms. A producer's wrong clock is off by less than a slot.
SLOT, WAIT, KEEP = 3 * _HOUR, 12 * _HOUR, 12 * _HOUR
#: The section `outcomes` of these models.
OUTCOMES = {"labels": "topic", "slot": "3h", "wait": "12h", "keep": "12h", "learn": 500, "floors": {"recall": 0.6}}
#: Partitions that hold labels; the topic has more.
PLACES = 4
#: ms after the last burst at which all slots are closed, and at which all labels are counted.
CLOSED, SETTLED = WAIT + 2 * SLOT + 2 * _HOUR, 2 * (WAIT + KEEP)
# Bursts for which nothing comes to one of the partitions: three days; and how many come before.
_BEHIND, _BEFORE = 12, 2
# ms after a prediction at which its label comes, and when it is corrected.
_SOON, _LATE = (20 * _MINUTE, _HOUR, 2 * _HOUR), (3 * _HOUR, 7 * _HOUR, 11 * _HOUR)
_CORRECTED = (2 * _HOUR, 4 * _HOUR, 9 * _HOUR)
# ms by which labels of a partition are out of order.
_DISORDER = 20 * _MINUTE
# One label in this many is none, or is of an unknown id.
_DAMAGED, _UNKNOWN = 97, 31
# One prediction in this many is sent again, one to three bursts later; or in another form, see `_again`.
_TWICE, _LATER = 37, (1, 3)
_AFTER_ALL = 4_102_444_800_000  # in 2100
_DAMAGES: Sequence[bytes | dict[str, Any] | None] = (
    None, b"", b"{", b"[]", {"label": None}, {"label": ["yes"]}, {"label": {"is": "yes"}}, {"id": None},
    {"ts": None}, {"ts": "yesterday"}, {"ts": _AFTER_ALL}, {"model": None},
)  # fmt: skip
_ODD_LABELS: Sequence[Any] = ("maybe", 1, True, "", "\u00fcber" * 100)


class Truth(NamedTuple):
    """What is known of a prediction later: its label comes by itself."""

    id: str
    model: str
    ts: int
    label: Any


class Label(NamedTuple):
    """A message of the labels topic: when it comes, epoch ms, and in which partition."""

    ts: int
    place: int
    value: bytes | None


@dataclass
class LateLabels:
    """The labels of predictions that are made, until they come. truths: of all predictions so far."""

    seed: int
    truths: list[Truth] = field(default_factory=list)
    _waiting: list[Label] = field(default_factory=list)
    _newest: deque[Sent] = field(default_factory=lambda: deque(maxlen=40))
    _again: dict[int, list[Sent]] = field(default_factory=dict)
    _burst: int = 0
    _n: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 0x1A])
        self._behind = self.seed % PLACES

    def first(self) -> list[Label]:
        """A label of nobody for each partition: one that has never had any is not waited for."""
        return [self._label(Truth(f"first-{place}", LABELLED[0], EPOCH, "no"), EPOCH, place) for place in range(PLACES)]

    def add(self, burst: Iterable[Sent]) -> list[Sent]:
        """Take note of the predictions of a burst; those that come again with it."""
        again = self._again.pop(self._burst, [])
        for sent in burst:
            if sent.truth is not None:
                self.truths.append(sent.truth)
                self._newest.append(sent)
                self._waiting += self._labels_of(sent.truth)
                if self._n % _TWICE == 0:
                    again += self._doubled(sent, sent.truth, self._n // _TWICE)
        self._burst += 1
        return again

    def _doubled(self, sent: Sent, truth: Truth, n: int) -> list[Sent]:
        """What comes again at once of a prediction; the rest is kept for later bursts.

        As it was; with an earlier time, which counts then; with a later one, within `KEEP`, or beyond, where it counts.
        """
        if n % 4 < 2:
            self._again.setdefault(self._burst + _LATER[n % 2], []).append(sent._replace(truth=None))
            return []
        if n % 4 == 2:
            return [_changed(sent, truth.ts - n % 400)]
        apart = 2 * SLOT if n % 8 == 3 else KEEP + _HOUR
        self._again.setdefault(self._burst + 1 + (n % 8 != 3), []).append(_changed(sent, truth.ts + apart))
        return []

    def due(self, until: int) -> list[Label]:
        """The labels that come until a time, epoch ms, but those of a partition that is behind."""
        behind = self._behind if _BEFORE <= self._burst < _BEFORE + _BEHIND else None
        return self._taken(until, behind)

    def last(self, until: int) -> list[Label]:
        """The labels that come until a time, and one of nobody then in each partition."""
        ends = (self._label(Truth(f"last-{until}", LABELLED[0], until, "no"), until, place) for place in range(PLACES))
        return [*self._taken(until), *ends]

    def _taken(self, until: int, behind: int | None = None) -> list[Label]:
        def comes(each: Label) -> bool:
            return each.ts <= until and each.place != behind

        taken = [each for each in self._waiting if comes(each)]
        self._waiting = [each for each in self._waiting if not comes(each)]
        order = np.array([each.ts for each in taken]) + self._rng.integers(0, _DISORDER, len(taken))
        return [taken[i] for i in np.argsort(order, kind="stable").tolist()]

    def last_predictions(self) -> list[Sent]:
        """Predictions that come when all slots are closed: some were judged, the others are new."""
        known = [*self._newest]
        new = (_changed(each, each.truth.ts - 1, f"overdue-{i}") for i, each in enumerate(known[::2]) if each.truth)
        return [*(each._replace(truth=None) for each in known[1::2]), *new]

    def stragglers(self) -> list[Label]:
        """Labels that come when all slots are closed: of nobody, and of judged predictions, as if they were in time."""
        newest = [each for each in self.truths if each.ts > self.truths[-1].ts - KEEP]
        some = newest[:: max(1, len(newest) // 100)]
        late = [self._label(each, each.ts + _SOON[i % 3], i % PLACES) for i, each in enumerate(some)]
        nobody = Truth("straggler", LABELLED[1], EPOCH, "no")
        return [*late, *late[::5], *(self._label(nobody, EPOCH + i, i % PLACES) for i in range(10))]

    def _labels_of(self, truth: Truth) -> Iterator[Label]:
        """The labels of a prediction, none or some; and what else comes beside them."""
        self._n += 1
        n, draw, place = self._n, self._rng.random(4), int(self._rng.integers(PLACES))
        soon = int(truth.model.rpartition("-")[2]) % 2 == 0
        if n % _DAMAGED == 0:
            yield self._damaged(truth, n // _DAMAGED, place)
        if n % _UNKNOWN == 0:
            yield self._label(truth._replace(id=f"nobody-{n}"), truth.ts + _SOON[n % 3], place)
        if not soon and draw[0] < 0.33:
            return
        at = truth.ts + int(self._rng.choice(_SOON if soon else _LATE))
        at = truth.ts - KEEP // 24 if draw[1] < 0.01 else at  # it was known before
        if n % 211 == 0:
            truth = truth._replace(label=_ODD_LABELS[n // 211 % len(_ODD_LABELS)])
        first = self._label(truth, at, place)
        yield first
        if draw[2] < 0.08:  # once more, elsewhere
            yield first._replace(place=(place + 1) % PLACES)
        elif draw[2] < 0.14:
            yield self._other(truth, at + int(self._rng.choice(_CORRECTED)), (place + n) % PLACES)
        elif draw[2] < 0.16:  # of two at one time, the larger text counts
            yield self._other(truth, at, (place + n) % PLACES)
        elif draw[2] < 0.24:
            yield from self._at_the_edges(truth, n, place)

    def _at_the_edges(self, truth: Truth, n: int, place: int) -> Iterator[Label]:
        """A correction at the last moment, at a bound, or a millisecond beyond."""
        latest = truth.ts // SLOT * SLOT + SLOT + WAIT
        times = latest, latest + 1, truth.ts + WAIT + KEEP, truth.ts + WAIT + KEEP + 1, truth.ts - KEEP - 1
        yield self._other(truth, times[n % len(times)], place)

    def _other(self, truth: Truth, at: int, place: int) -> Label:
        return self._label(truth._replace(label="no" if truth.label == "yes" else "yes"), at, place)

    def _label(self, truth: Truth, at: int, place: int) -> Label:
        return Label(at, place, orjson.dumps(self._document(truth, at)))

    def _document(self, truth: Truth, at: int) -> dict[str, Any]:
        return {"id": truth.id, "ts": at, "model": truth.model, "label": truth.label}

    def _damaged(self, truth: Truth, n: int, place: int) -> Label:
        """What is no label, or one of a model whose events hold theirs."""
        at, damage = truth.ts + _SOON[0], ({"model": "keyed-10"}, *_DAMAGES)[n % (len(_DAMAGES) + 1)]
        if isinstance(damage, dict):
            return Label(at, place, orjson.dumps(self._document(truth, at) | damage))
        return Label(at, place, damage)


def _changed(sent: Sent, ts: int, id_: str = "") -> Sent:
    """A plain prediction with another time, prediction and score; and another id, if there is one."""
    assert sent.truth is not None
    document = {"id": id_ or sent.truth.id, "ts": ts, "model": sent.model, "prediction": "yes", "score": 0.1}
    return sent._replace(value=orjson.dumps(document), truth=None)
