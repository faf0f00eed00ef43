"""What is required of a metric, whatever it was before: "recall>=0.8", "precision@fraud>=0.5", "mae<=20". Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from driftline.detectors.outcomes.intervals import Figure
from driftline.detectors.outcomes.metrics import Metrics

_FORM = re.compile(r"(?P<metric>\w+)(?:@(?P<of>.+?))?\s*(?P<sign>>=|<=)\s*(?P<value>[^<>=]+)")


class Answer(StrEnum):
    """Whether a requirement is met: by a whole interval, or by its figure alone."""

    MET = "met"
    UNSURE = "unsure"
    NOT_MET = "not met"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound of a metric. of: a class, "" for the one that a high score means. least: whether more is better."""

    metric: str
    of: str
    least: bool
    value: float

    def __str__(self) -> str:
        return f"{self.metric}{f'@{self.of}' if self.of else ''}{'>=' if self.least else '<='}{self.value:g}"

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """The requirement in a text. Raises ValueError, which says what is expected."""
        found = _FORM.fullmatch(text.strip())
        try:
            parts: dict[str, Any] = found.groupdict() if found else {}
            return cls(parts["metric"], parts["of"] or "", parts["sign"] == ">=", float(parts["value"]))
        except (KeyError, ValueError):
            raise ValueError(
                f"expected METRIC>=NUMBER or METRIC@CLASS<=NUMBER, such as recall>=0.8, got {text!r}"
            ) from None

    def find(self, metrics: Metrics, positive: str) -> tuple[tuple[str, str], Figure]:
        """The figure that it is about, and its name. Raises ValueError if there is none.

        positive: the class of metrics by class where none is named.
        """
        for name in ((self.metric, self.of), (self.metric, positive)):
            if name in metrics and (name[1] == self.of or not self.of):
                return name, metrics[name]
        known = sorted({f"{metric}@{of}" if of else metric for metric, of in metrics})
        raise ValueError(f"{self}: there is no such metric; there are {', '.join(known)}")

    def answer(self, figure: Figure) -> Answer:
        """Whether a figure meets it. One without rows does not, one without interval is compared alone."""
        value, low, high = figure.value, figure.low, figure.high
        if value is None:
            return Answer.UNSURE
        low, high = value if low is None else low, value if high is None else high
        worst, best = (low, high) if self.least else (-high, -low)
        bound = self.value if self.least else -self.value
        if best < bound:
            return Answer.NOT_MET
        return Answer.MET if worst >= bound else Answer.UNSURE
