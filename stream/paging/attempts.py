"""Attempts: which of the due pages is sent next, given the pages that the receiver did not accept. Pure.

    receiver is down       each page that fails goes behind those that were not tried; then all are tried in turn
    receiver is back       after the first success, the most urgent page is next again
    one page fails alone   it waits for 1, 2, 4, … successes of others, so that it delays them ever less

Pages of one alert_key wait together, since they must be sent in order. Only the dispatcher that made the attempts knows
them: a relay that has just started tries the most urgent page first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from driftline.stream.paging.notifications import Page

# Successes of others that a page waits for at most: at 5 s each, an urgent one that fails by chance waits some minutes.
_LONGEST_WAIT = 64


class _Failure(NamedTuple):
    """times: failures, those while nothing succeeds as one. resume: number of successes at which it takes its turn."""

    times: int
    resume: int


@dataclass
class Attempts:
    """The failures of one receiver's pages, by alert_key, the one tried last at the end."""

    _successes: int = 0
    _failures: dict[str, _Failure] = field(default_factory=dict)

    def first(self, due: Sequence[str], pages: Mapping[str, Page]) -> str:
        """The page to send now, of those that are due, the most urgent first; "" if none is due."""
        turns = [name for name in due if not self._waits(pages[name].alert_key)]
        if turns or not due:
            return turns[0] if turns else ""
        order = list(self._failures)
        return min(due, key=lambda each: order.index(pages[each].alert_key))

    def failed(self, alert_key: str) -> None:
        """Let the pages of a key wait."""
        before = self._failures.pop(alert_key, _Failure(0, 0))
        if self._successes >= before.resume:
            before = _Failure(before.times + 1, self._successes + min(2**before.times, _LONGEST_WAIT))
        self._failures[alert_key] = before

    def settled(self, alert_key: str) -> None:
        """Count a success; what was refused or given up delays the others no more, too."""
        self._failures.pop(alert_key, None)
        self._successes += 1

    def _waits(self, alert_key: str) -> bool:
        return alert_key in self._failures and self._successes < self._failures[alert_key].resume
