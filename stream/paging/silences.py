"""Silences: which alerts are held back until a given time. Pure.

    model=fraud     model!=fraud     signal=~"features\\.(amount|zip)"     class!~data-.*

The rules are Alertmanager's: all matchers of a silence must match; an expression must match the whole value; a label
that an alert does not have counts as empty. An alert with several signals is silenced when each of its signals is,
by one silence or by several: a silence never hides a signal that it does not match.

Expressions run on pydantic's engine, which is Rust's. Like Alertmanager's, it needs time linear in the value, so that
no expression can delay a relay, and it has neither look-around nor backreferences.

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

from driftline.stream.alerts.feedback import LONGEST
from driftline.stream.alerts.read import CompleteAlert, Timestamp
from driftline.stream.alerts.schema import cut
from driftline.stream.text.printable import printable, printable_lines

Operator = Literal["=", "!=", "=~", "!~"]

# Characters. A longer expression is a mistake; a longer value matches no expression, since the slowest expressions that
# compile would need seconds for it.
_MAX_LENGTH = 500


class SilenceError(ValueError):
    """A matcher or a stored silence is malformed; the message says why."""


class Matcher(msgspec.Struct, frozen=True):
    """A condition on one label. With ~, `value` is a regular expression that the whole label must match.

    Raises SilenceError if the expression is malformed.

    >>> Matcher.parse('model=~"fraud|churn"')
    Matcher(name='model', operator='=~', value='fraud|churn')
    """

    name: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if any("\ud800" <= each <= "\udfff" for each in self.value):
            raise SilenceError(f"the value for {self.name} is not UTF-8")
        if not self.operator.endswith("~"):
            return
        if len(self.value) > _MAX_LENGTH:
            raise SilenceError(f"the expression for {self.name} has more than {_MAX_LENGTH} characters")
        try:
            _compiled(self.value)  # alone, since `_whole` opens the group that `a)(b` closes
            _compiled(_whole(self.value))
        except SchemaError as error:
            reason = re.split(r"[Ee]rror: ", str(error))[-1]
            raise SilenceError(f"{self.value!r}, for {self.name}, is no regular expression here: {reason}") from None

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """The matcher that `text` describes. Raises SilenceError."""
        found = re.fullmatch(r"\s*([\w.-]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", text, re.DOTALL)
        if not found:
            raise SilenceError(f"expected NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX, got {text!r}")
        name, operator, value = found.groups()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return cls(name, msgspec.convert(operator, Operator), value[1:-1] if quoted else value)

    def matches(self, value: str) -> bool:
        """Whether an alert matches whose label has this value."""
        equal = _matches_whole(self.value, value) if self.operator.endswith("~") else value == self.value
        return equal != self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


def _whole(expression: str) -> str:
    return rf"\A(?s:{expression})\z"


@lru_cache(maxsize=10_000)  # relays call it twice a second
def _matches_whole(expression: str, value: str) -> bool:
    return len(value) <= _MAX_LENGTH and _compiled(_whole(expression)).isinstance_python(value)


@lru_cache(maxsize=1000)  # silences are read every few seconds, and an expression needs up to 0.1 s to compile
def _compiled(expression: str) -> SchemaValidator:
    """A validator that accepts the texts in which the expression is found. Raises SchemaError."""
    return SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))


class Silence(msgspec.Struct, frozen=True):
    """A silence from `starts_at` up to `ends_at`. Raises SilenceError if it is empty or matches everything."""

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
        """Whether it is in force."""
        return self.starts_at <= now < self.ends_at

    def covers(self, alert: CompleteAlert, signal: str, kind: str) -> bool:
        """Whether it matches one signal of an alert, with the class of its change; at any time."""
        own = {"model": alert.model, "severity": alert.severity, "class": kind, "signal": signal}
        values = {**alert.labels, **own}
        return all(matcher.matches(values.get(matcher.name, "")) for matcher in self.matchers)


_SILENCE = msgspec.json.Decoder(Silence)


@dataclass(frozen=True)
class ActiveSilences:
    """The silences in force at one moment."""

    silences: Sequence[Silence] = ()

    def __call__(self, alert: CompleteAlert) -> bool:
        """Whether they cover every signal of an alert."""
        return all(any(each.covers(alert, *finding) for each in self.silences) for finding in alert.findings())


def read_silence(stored: bytes) -> Silence:
    """A silence as `write_silence` stored it. Raises SilenceError."""
    try:
        return _SILENCE.decode(stored)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SilenceError(f"no silence: {error}") from None


def write_silence(silence: Silence) -> bytes:
    """The bytes that are stored of a silence: its creator and comment printable, and the first LONGEST characters."""
    creator, comment = cut(printable(silence.creator), LONGEST), cut(printable_lines(silence.comment), LONGEST)
    return msgspec.json.encode(msgspec.structs.replace(silence, creator=creator, comment=comment))
