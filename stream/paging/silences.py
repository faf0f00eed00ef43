"""Silences: which alerts are not told for a time that has an end. Pure.

    model=fraud     model!=fraud     signal=~"features\\.(amount|zip)"     class!~data-.*

As Alertmanager means it: all matchers of a silence must match; an expression must match the whole value; a label that
an alert does not have is the empty text. An alert that tells of several signals is silenced when each of them is, be it
by several silences: a silence hides nothing that it does not match.

Expressions are run by pydantic's engine, that of Rust. Like Alertmanager's it takes time linear in the value, so that
nothing an operator may type holds a relay up, and has neither look-around nor backreferences.

A maintenance window is a silence that begins later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from pydantic_core import SchemaError, SchemaValidator, core_schema

from driftline.stream.alerts.read import CompleteAlert, Timestamp

Operator = Literal["=", "!=", "=~", "!~"]

# Characters. An expression beyond it is a mistake, and a value beyond it fits none: it would take the worst expressions
# that compile seconds to find out.
_EXPRESSION = 500


class SilenceError(ValueError):
    """A matcher, or what is stored of a silence, makes no sense; the message says why."""


class Matcher(msgspec.Struct, frozen=True):
    """One condition. With ~, `value` is a regular expression for the whole value.

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
            raise SilenceError(f"the expression for {self.name} has more than {_EXPRESSION} characters")
        try:
            _compiled(self.value)  # by itself: what closes a group that it has not opened must not pass below
            _compiled(_whole(self.value))
        except SchemaError as error:
            reason = re.split(r"[Ee]rror: ", str(error))[-1]
            raise SilenceError(f"{self.value!r}, for {self.name}, is no regular expression here: {reason}") from None

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """The matcher that `text` writes; SilenceError."""
        found = re.fullmatch(r"\s*([\w.-]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", text, re.DOTALL)
        if not found:
            raise SilenceError(f"expected NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX, got {text!r}")
        name, operator, value = found.groups()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return cls(name, msgspec.convert(operator, Operator), value[1:-1] if quoted else value)

    def matches(self, value: str) -> bool:
        """Whether the value that an alert has under the name is as this says."""
        found = _fits(self.value, value) if self.operator.endswith("~") else value == self.value
        return found != self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


def _whole(expression: str) -> str:
    return rf"\A(?s:{expression})\z"


@lru_cache(maxsize=10_000)  # relays ask twice a second
def _fits(expression: str, value: str) -> bool:
    return len(value) <= _EXPRESSION and _compiled(_whole(expression)).isinstance_python(value)


@lru_cache(maxsize=1000)  # silences are read every few seconds, and an expression takes up to 0.1 s to compile
def _compiled(expression: str) -> SchemaValidator:
    """What finds it in a text; SchemaError."""
    return SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))


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
            raise SilenceError("a silence must end after it begins")
        if all(matcher.matches("") for matcher in self.matchers):
            raise SilenceError("a silence needs a matcher that does not match everything, such as model=fraud")

    def active(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.starts_at <= now < self.ends_at

    def covers(self, alert: CompleteAlert, signal: str, kind: str) -> bool:
        """Whether it is meant for what an alert says of one signal, whenever it holds."""
        own = {"model": alert.model, "severity": alert.severity, "class": kind, "signal": signal}
        values = {**alert.labels, **own}
        return all(matcher.matches(values.get(matcher.name, "")) for matcher in self.matchers)


@dataclass(frozen=True)
class ActiveSilences:
    """The silences that hold at one moment."""

    silences: Sequence[Silence] = ()

    def __call__(self, alert: CompleteAlert) -> bool:
        """Whether they cover all that an alert tells of."""
        return all(any(each.covers(alert, *finding) for each in self.silences) for finding in alert.findings())


def read_silence(stored: bytes) -> Silence:
    """A silence as `write_silence` stored it; SilenceError."""
    try:
        return msgspec.json.decode(stored, type=Silence)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SilenceError(f"no silence: {error}") from None


def write_silence(silence: Silence) -> bytes:
    """What is stored of a silence."""
    return msgspec.json.encode(silence)
