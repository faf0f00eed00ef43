"""An event, one prediction, and how its values are read: as numbers or text, or under a special code.

    value              numeric signal       text signal (categorical, boolean, text constant)
    null, absent       missing              missing
    12, 12.5           itself               "12", "12.5"
    Infinity, 1e999    an infinity          "inf"
    NaN                Special.NAN          Special.NAN
    "N/A"              Special.INVALID      itself
    true               Special.INVALID      "true"
    [..], {..}         Special.INVALID      Special.INVALID

No value becomes 0 silently, and no string becomes a number. No I/O, no clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from driftline.detectors.summaries.codes import Special

# Longest name of a model or a signal, in characters. Without a bound, a message of 1 MiB, half of it one key and half
# 50,000 values under that key, would make names of 25 GB.
MAX_NAME = 255
# Characters of a value in a reason: enough to recognise it in a log line.
_SHOWN = 60
# A lone surrogate comes from an escape such as "\ud800", and stands for each byte that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Event:
    """One prediction.

    ts: epoch milliseconds. signals: every value of `features`, `prediction` and `score`, as parsed, by dotted name; an
    object is {}, and its values have names of their own. Of a duplicate name, the later value counts.
    """

    id: str
    ts: int
    model: str
    version: str | None
    signals: Mapping[str, Any]


class Rejection(NamedTuple):
    """A message that is not an event: its position in the batch, and the reason."""

    position: int
    reason: str


class UnfitValueError(ValueError):
    """A value does not fit its signal; it counts under the special code `code`."""

    def __init__(self, code: Special, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def as_number(value: Any) -> float | None:
    """A parsed JSON value of a numeric signal; None if missing. Raises UnfitValueError if it is not a number."""
    if value is None:
        return None
    if not is_number(value):
        raise UnfitValueError(Special.INVALID, f"expected number, got {quoted(value)}")
    if value != value:
        raise UnfitValueError(Special.NAN, "NaN")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_text(value: Any) -> str | None:
    """A parsed JSON value of a text signal; None if missing. Raises UnfitValueError if it is not text."""
    if value is None or isinstance(value, str):
        return _unicode(value)
    if isinstance(value, dict | list):
        raise UnfitValueError(Special.INVALID, f"expected text, got {quoted(value)}")
    if value != value:
        raise UnfitValueError(Special.NAN, "NaN")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def is_number(value: Any) -> bool:
    """Whether a parsed JSON value is a number; true and false are not."""
    return type(value) is float or type(value) is int


def is_unicode(text: str) -> bool:
    """Whether a parsed JSON string can be written as UTF-8 again."""
    return not _SURROGATE.search(text)


def quoted(value: Any) -> str:
    """A parsed JSON value as quoted in a reason, in at most 60 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _unicode(text: str | None) -> str | None:
    if text is not None and not is_unicode(text):
        raise UnfitValueError(Special.INVALID, f"not valid Unicode: {quoted(text)}")
    return text
