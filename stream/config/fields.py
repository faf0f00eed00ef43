"""The types of configuration fields: pinned windows, durations, numbers, and texts with their patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AllowInfNan, BaseModel, Field, PlainSerializer, PlainValidator, Strict, WithJsonSchema

_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = r"([0-9]{1,8}(?:\.[0-9]{1,3})?) *([smhd])"
_WINDOW = rf"([0-9]{{1,10}}) *events?|{_DURATION}"
# A pinned window may compare with last year's season, no more; a billion events are a year at 30 a second.
_MAX_WINDOW_SECONDS = 366 * _SECONDS["d"]
_MAX_WINDOW_EVENTS = 1_000_000_000
# A notification that is held back for longer than a month is useless.
_MAX_DURATION_SECONDS = 31 * _SECONDS["d"]
# What is not heard of for ten years is not waited for.
_MAX_LONG_SECONDS = 3650 * _SECONDS["d"]


class Section(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """A section of the configuration: immutable, no unknown fields, and no value in an error, as it may be a secret."""

    def changed_by(self, other: Self) -> Self:
        """This section, changed by what another one sets; mappings are joined, and sections changed likewise."""
        changes = {name: _changed(getattr(self, name), getattr(other, name)) for name in other.model_fields_set}
        return self.model_copy(update=changes)


def _changed(default: Any, override: Any) -> Any:
    if isinstance(override, Section) and default is not None:
        return default.changed_by(override)
    return default | override if isinstance(override, dict) else override


class RuleError(ValueError):
    """A rule is broken that no schema can express. field: path of the field in its section."""

    def __init__(self, rule: str, *field: str | int) -> None:
        super().__init__(rule)
        self.field = field


@dataclass(frozen=True, slots=True)
class Window:
    """A pinned window: a number of the latest events, or of the latest seconds of event time; exactly one is set.

    >>> Window.parse("90m"), str(Window.parse("5000 events"))
    (Window(events=None, seconds=5400.0), '5000 events')
    """

    events: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: object) -> Window:
        """The window that `text` describes; a Window is returned as it is. Raises RuleError."""
        if isinstance(text, cls):
            return text
        match = re.fullmatch(_WINDOW, text) if isinstance(text, str) else None
        if not match:
            raise RuleError('expected a window such as "5000 events", "90s", "15m", "1h" or "7d"')
        if match[1]:
            window, fits = cls(events=int(match[1])), 1 <= int(match[1]) <= _MAX_WINDOW_EVENTS
        else:
            seconds = float(match[2]) * _SECONDS[match[3]]
            window, fits = cls(seconds=seconds), 1 <= seconds <= _MAX_WINDOW_SECONDS
        if not fits:
            raise RuleError(f"expected a window of 1 to {_MAX_WINDOW_EVENTS} events, or of 1s to 366d")
        return window

    def __str__(self) -> str:
        """The text that parses to this window, in the largest unit without a fraction."""
        return f"{self.events} events" if self.seconds is None else duration_text(self.seconds)


def duration_text(seconds: float) -> str:
    """The text of a duration, in the largest unit without a fraction."""
    unit = next((unit for unit, size in _SECONDS.items() if seconds and seconds % size == 0), "s")
    return f"{seconds / _SECONDS[unit]:.15g}{unit}"


def parse_duration(text: object, longest: float = _MAX_DURATION_SECONDS) -> float:
    """The seconds in a text such as "5m". longest: s, a whole number of days. Raises RuleError."""
    match = re.fullmatch(_DURATION, text) if isinstance(text, str) else None
    if not match:
        raise RuleError('expected a duration such as "0s", "90s", "15m", "1h" or "7d"')
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > longest:
        raise RuleError(f"expected a duration of at most {duration_text(longest)}")
    return seconds


_DURATION_TYPE = (
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_DURATION})$", "examples": ["5m", "1h"]}),
)
Duration = Annotated[float, PlainValidator(parse_duration), *_DURATION_TYPE]
LongDuration = Annotated[float, PlainValidator(partial(parse_duration, longest=_MAX_LONG_SECONDS)), *_DURATION_TYPE]


def duration_field(default: str, description: str) -> Any:
    """A field of type `Duration` or `LongDuration`; the schema shows its default as text."""
    seconds = parse_duration(default, _MAX_LONG_SECONDS)
    return Field(seconds, description=description, json_schema_extra={"default": default})


PinnedWindow = Annotated[
    Window,
    PlainValidator(Window.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_WINDOW})$", "examples": ["5000 events", "1h"]}),
]

Flag = Annotated[bool, Strict()]  # neither "yes" nor 1
Whole = Annotated[int, Strict()]  # neither `true` nor "5" nor 5.0
Real = Annotated[float, Strict(), AllowInfNan(False)]
Text = Annotated[str, Field(min_length=1)]
# It is a part of names in Redis.
Version = Annotated[str, Field(min_length=1, max_length=200)]
KindName = Literal["numeric", "categorical", "boolean"]
PasswordEnv = Annotated[
    str | None,
    Field(
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        examples=["KAFKA_PASSWORD"],
        description="Name of the environment variable that holds the password.",
    ),
]
CaFile = Annotated[
    str | None,
    Field(
        min_length=1,
        description="PEM file of the authorities that may sign the server's certificate; null: those of the system.",
    ),
]
EventPath = Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$", examples=["request.id"])]
# Kafka allows names of 249 characters, and ".dlq" must still fit.
Topic = Annotated[str, Field(pattern="^[A-Za-z0-9_-][A-Za-z0-9._-]{0,244}$", examples=["predictions"])]
# Kafka allows any name, but this one is also a part of topic names and Redis keys.
Group = Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,200}$", examples=["driftline"])]

_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_PORT = "(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_NODE = f"{_HOST}(?::{_PORT})?"
_LOGIN = r"(?:[^@/\s]*@)?"
Address = Annotated[str, Field(pattern=f"^{_HOST}:{_PORT}$", examples=["127.0.0.1:6066"])]
Addresses = Annotated[str, Field(pattern=f"^{_HOST}:{_PORT}(?:,{_HOST}:{_PORT})*$", examples=["localhost:9092"])]
# A login in it would be printed with the URL.
HttpUrl = Annotated[
    str, Field(pattern=rf"^https?://{_NODE}(?:/[^\s?#@]*)?$", examples=["https://registry.example:8081"])
]
RedisUrl = Annotated[
    str,
    Field(
        pattern=rf"^(?:rediss?://{_LOGIN}{_NODE}(?:/[0-9]*)?"
        rf"|rediss?\+sentinel://{_LOGIN}{_NODE}(?:,{_NODE})*/[A-Za-z0-9._-]+(?:/[0-9]+)?"
        rf"|rediss?\+cluster://{_LOGIN}{_NODE}(?:,{_NODE})*/?)$",
        examples=["redis://localhost:6379/0"],
    ),
]
