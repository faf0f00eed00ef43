"""Silences: which alerts are not told for a time that has an end. Pure.

    model=fraud     model!=fraud     signal=~"features\\.(amount|zip)"     class!~data-.*

As Alertmanager means it: all matchers of a silence must match; an expression must match the whole value; a label that
an alert does not have is the empty text. Of several signals one is enough to match, and one to contradict.

A maintenance window is a silence that begins later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from stream.intake import Alert, Timestamp

Operator = Literal["=", "!=", "=~", "!~"]

# Characters. An expression beyond it is a mistake, and none of the values it is held against is longer.
_EXPRESSION = 500


class BadSilence(ValueError):
    """A matcher, or what is stored of a silence, makes no sense; the message says why."""


class Matcher(msgspec.Struct, frozen=True):
    """One condition. With ~, `value` is a regular expression (Python's) for the whole value.

    >>> Matcher.parse('model=~"fraud|churn"')
    Matcher(name='model', operator='=~', value='fraud|churn')
    """

    name: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if not self.operator.endswith("~"):
            return
        if len(self.value) > _EXPRESSION:
            raise BadSilence(f"the expression for {self.name} has more than {_EXPRESSION} characters")
        try:
            re.compile(self.value)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadSilence(f"{self.value!r} is no regular expression: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """The matcher that `text` writes; BadSilence."""
        found = re.fullmatch(r"\s*([\w.-]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", text, re.DOTALL)
        if not found:
            raise BadSilence(f"expected NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX, got {text!r}")
        name, operator, value = found.groups()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return cls(name, msgspec.convert(operator, Operator), value[1:-1] if quoted else value)

    def matches(self, values: Iterable[str]) -> bool:
        """Whether any of the values that a name has is as this says; with !, whether none is as it says."""
        expression = self.value if self.operator.endswith("~") else re.escape(self.value)
        return any(re.fullmatch(expression, value, re.DOTALL) for value in values) != self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


class Silence(msgspec.Struct, frozen=True):
    """A silence from `starts_at` up to `ends_at`."""

    id: str
    matchers: Annotated[tuple[Matcher, ...], msgspec.Meta(min_length=1)]
    starts_at: Timestamp
    ends_at: Timestamp
    creator: str
    comment: str

    def __post_init__(self) -> None:
        if self.starts_at >= self.ends_at:
            raise BadSilence("a silence must end after it begins")
        if all(matcher.matches([""]) for matcher in self.matchers):
            raise BadSilence("a silence needs a matcher that does not match everything, such as model=fraud")

    def active(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.starts_at <= now < self.ends_at

    def silences(self, alert: Alert) -> bool:
        """Whether it is meant for this alert, whenever it holds."""
        return all(matcher.matches(_values(alert, matcher.name)) for matcher in self.matchers)


@dataclass(frozen=True)
class Quiet:
    """The silences that hold at one moment."""

    silences: Sequence[Silence] = ()

    def __call__(self, alert: Alert) -> bool:
        """Whether any of them silences an alert."""
        return any(silence.silences(alert) for silence in self.silences)


def _values(alert: Alert, name: str) -> Sequence[str]:
    """What an alert has under a name: one text, or the signals of its evidence."""
    own = {"model": alert.model, "severity": alert.severity, "class": alert.kind}
    if name == "signal":
        return list(filter(None, [*alert.signals(), alert.labels.get("signal")])) or [""]
    return [own.get(name, alert.labels.get(name, ""))]


def read_silence(stored: bytes) -> Silence:
    """A silence as `write_silence` stored it; BadSilence."""
    try:
        return msgspec.json.decode(stored, type=Silence)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadSilence(f"no silence: {error}") from None


def write_silence(silence: Silence) -> bytes:
    """What is stored of a silence."""
    return msgspec.json.encode(silence)
