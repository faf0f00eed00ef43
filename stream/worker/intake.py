"""How much of what a worker reads it can use: rejections over the last minutes, what its signals do not cover; and the
dead letters of what it cannot."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.rejections import Cause, Rejections, percent
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.sketcher import Sketched
from driftline.stream.replay.summary import unwatched_row
from driftline.stream.worker.faust.fetch import Fetch

#: s of the window, in steps of s. Five minutes outlast a burst of one producer's broken messages, and a faulty release
#: is seen within one of them when it is all that comes.
WINDOW, _STEP = 300.0, 10.0
# Rejections in the window from which their share counts: of a topic with ten messages in five minutes, one is no share.
_FEW = 5
#: Rejections in a row, without one event between, after which a worker reads nothing useful at all.
ALL_REJECTED = 100
# Unwatched fields in the answer of /health.
_SHOWN = 100


@dataclass
class _Step:
    started: float
    rejections: Rejections
    events: int = 0


@dataclass
class Intake:
    """Counts accepted events and rejections. max_rejected: the share from which the worker is degraded."""

    mapping: EventMapping
    max_rejected: float
    clock: Callable[[], float] = time.monotonic
    in_a_row: int = 0
    unwatched: Sequence[Unwatched] = ()
    _steps: deque[_Step] = field(default_factory=deque)

    def add(self, sketched: Sketched, messages: Sequence[bytes | None]) -> None:
        """Count what became of the messages of a fetch."""
        now = self.clock()
        if not self._steps or now - self._steps[-1].started >= _STEP:
            self._steps.append(_Step(now, Rejections(self.mapping)))
            while now - self._steps[0].started > WINDOW:
                self._steps.popleft()
        step = self._steps[-1]
        step.events += sketched.events
        step.rejections.add(sketched.rejections, messages)
        self.in_a_row = 0 if sketched.events else self.in_a_row + len(sketched.rejections)

    @property
    def failure(self) -> str | None:
        """Why nothing useful is read at all; None if something is."""
        if self.in_a_row < ALL_REJECTED:
            return None
        return f"none of the last {self.in_a_row:,} messages is an event; {_words(self._commonest())}"

    @property
    def degradation(self) -> str | None:
        """Why too little is read; None if enough is."""
        rejected, read = self._recent()
        if rejected < _FEW or rejected <= self.max_rejected * read:
            return None
        share = percent(rejected / read)
        return (
            f"{rejected:,} of {read:,} messages of the last {WINDOW / 60:.0f} minutes ({share}) were rejected, and at "
            f"most {percent(self.max_rejected)} may be (worker.max_rejected); {_words(self._commonest())}"
        )

    def fields(self) -> dict[str, Any]:
        """What /health says of it."""
        rejected, read = self._recent()
        commonest = self._commonest()
        return {
            "rejected": {
                "seconds": WINDOW,
                "read": read,
                "rejected": rejected,
                "share": rejected / read if read else 0.0,
            },
            "commonest_rejection": commonest and commonest._asdict(),
            "unwatched": list(map(unwatched_row, self.unwatched[:_SHOWN])),
            "unwatched_more": max(0, len(self.unwatched) - _SHOWN),
        }

    def _recent(self) -> tuple[int, int]:
        """Rejections, and rejections and events, of the window."""
        steps = [step for step in self._steps if self.clock() - step.started <= WINDOW]
        rejected = sum(step.rejections.total for step in steps)
        return rejected, rejected + sum(step.events for step in steps)

    def _commonest(self) -> Cause | None:
        """The commonest rejection of the newest step that has one."""
        return next((step.rejections.causes()[0] for step in reversed(self._steps) if step.rejections.total), None)


def _words(cause: Cause | None) -> str:
    return "see the dead letters" if cause is None else f"most are rejected for {cause.place}, such as: {cause.summary}"


def dead_letters(fetch: Fetch, sketched: Sketched) -> list[OutgoingRecord]:
    """The refused records, and copies of the records that count but for a value or a row."""
    reasons: dict[int, list[str]] = {}
    refused = {rejection.position for rejection in sketched.rejections if rejection.row is None}
    for position, defect in sketched.defects:
        reasons.setdefault(position, []).append(defect.reason)
    for rejection in sketched.rejections:
        row = "" if rejection.row is None else f"row {rejection.row}: "
        reasons.setdefault(rejection.position, []).append(row + rejection.reason)
    return [
        dead_letter(fetch.tp, fetch.records[at], "; ".join(reasons[at]), counted=at not in refused)
        for at in sorted(reasons)
    ]
