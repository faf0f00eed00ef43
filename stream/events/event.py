"""An event, one prediction, and how its values are read: as numbers or text, or under a special code.

    value              numeric signal       text signal (categorical, boolean, text constant)
    null, absent       missing              missing
    12, 12.5           itself               "12", "12.5"
    "12.5"             the number           itself
    Infinity, 1e999    an infinity          "inf"
    NaN, "nan"         Special.NAN          Special.NAN, "nan"
    "N/A"              Special.INVALID      itself
    true               Special.INVALID      "true"
    [..], {..}         Special.INVALID      Special.INVALID

Of what is no signal, a version is text (5 is "5", 4.2 is "4.2"), or missing if it is neither text nor a number; a
weight is a finite number from 0 on; the label and tags are read like signals.

Classes: JSON has one type of number, and programs write the class 1 as 1 or 1.0, so in a text signal whose baseline has
such a class both are "1". A text stays as it is, since "01" and "4.0" may be codes, and true is not "1", unless the
signal is a flag: one whose baseline knows only true and false, or only 0 and 1. Of a flag, true, 1, 1.0, "True" and "1"
are the same value. Against a baseline of format 1, in which 1 and 1.0 are two classes, they still are.

No value becomes 0 silently. No I/O, no clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.detectors.summaries.codes import Special

# Longest name of a model or a signal, in characters. Without a bound, a message of 1 MiB, half of it one key and half
# 50,000 values under that key, would make names of 25 GB.
MAX_NAME = 255
# Characters of a value in a reason: enough to recognise it in a log line.
_SHOWN = 60
#: The two values of a flag in a text signal, and all spellings of them, in lower case.
FALSE, TRUE = "false", "true"
FLAGS = {FALSE: FALSE, "0": FALSE, "0.0": FALSE, TRUE: TRUE, "1": TRUE, "1.0": TRUE}
# Beyond it, floats are no longer every whole number: which one a producer meant is not known.
_EXACT = 2**53
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
# How programs write numbers as text. Python would also read "1_000" and digits of other scripts, and it refuses four
# control characters that are white space elsewhere.
_SPACE = r"[^\S\x1c-\x1f]*"
_NUMERAL = re.compile(rf"{_SPACE}[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?{_SPACE}")
_ODD_FLOAT = re.compile(rf"{_SPACE}[+-]?(?:nan|inf|infinity){_SPACE}", re.IGNORECASE)
# A lone surrogate comes from an escape such as "\ud800", and stands for each byte that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Event:
    """One prediction.

    ts: epoch milliseconds. signals: every value of `features`, `prediction` and `score`, as parsed, by dotted name; an
    object is {}, and its values have names of their own. Of a duplicate name, the later value counts. extras: what was
    asked for of the label, the weight and tags ("tags.land"), as parsed, by name.
    """

    id: str
    ts: int
    model: str
    version: str | None
    signals: Mapping[str, Any]
    extras: Mapping[str, Any] = field(default_factory=dict)


class Rejection(NamedTuple):
    """A message that is not an event, or one row of it that is none: its position in the batch, and the reason.

    row: the number of the row, from 0; None if the whole message was refused.
    """

    position: int
    reason: str
    row: int | None = None

    @property
    def place(self) -> str:
        """What is wrong, without the value, as values are unbounded: "ts", "not JSON"."""
        return re.split("[:,]", self.reason, maxsplit=1)[0]


class UnfitValueError(ValueError):
    """A value does not fit its signal; it counts under the special code `code`."""

    def __init__(self, code: Special, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def values_of(event: Event) -> int:
    """How many values the event holds, as `limits.sample_values` counts them: long ones count several times.

    >>> values_of(Event("7", 0, "m", None, {"score": 0.5, "features.note": "x" * 640, "features.id": 2**600}))
    14
    """
    names = sum(1 + (len(name) >> 6) for name in event.signals)
    texts = sum(len(value) >> 6 for value in event.signals.values() if isinstance(value, str))
    # Python keeps an integer of any length; 64 characters have some 512 bits.
    numbers = sum(value.bit_length() >> 9 for value in event.signals.values() if type(value) is int)
    return names + texts + numbers + (len(event.id) + len(event.version or "") >> 6)


def as_number(value: Any, flag: bool = False) -> float | None:
    """A parsed JSON value of a numeric signal; None if missing. Raises UnfitValueError if it is not a number.

    flag: whether the signal is a flag, so that true and false are 1 and 0.
    """
    if value is None:
        return None
    number = value if is_number(value) else _spelt_number(value, flag)
    if number != number:
        raise UnfitValueError(Special.NAN, "NaN")
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def as_text(value: Any, flag: bool = False, whole: bool = False) -> str | None:
    """A parsed JSON value of a text signal; None if missing. Raises UnfitValueError if it is not text.

    flag: whether the signal is a flag, so that 1 and 0 are "true" and "false". whole: whether 1.0 is "1".

    >>> as_text(1.0), as_text(1.0, whole=True), as_text(0.5, whole=True), as_text("1.0", whole=True)
    ('1.0', '1', '0.5', '1.0')
    """
    if value is None or isinstance(value, str):
        text = _unicode(value)
    elif isinstance(value, dict | list):
        raise UnfitValueError(Special.INVALID, f"expected text, got {quoted(value)}")
    elif value != value:
        raise UnfitValueError(Special.NAN, "NaN")
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = repr(_whole(value) if whole else value)
    return FLAGS.get(text.lower(), text) if flag and text is not None else text


def as_weight(value: Any) -> float | None:
    """A parsed JSON value of an event's weight; None if missing. Raises UnfitValueError if it can be none."""
    weight = as_number(value)
    if weight is not None and not 0 <= weight < math.inf:
        raise UnfitValueError(Special.INVALID, f"expected a finite number from 0 on, got {quoted(value)}")
    return weight


def as_version(value: Any) -> str | None:
    """A parsed JSON value as the event's version; None if it can be none. It only describes, so the event counts."""
    text = spelt(value) if is_finite(value) else value
    return text if isinstance(text, str) and 0 < len(text) <= MAX_NAME and is_unicode(text) else None


def is_numeral(text: str) -> bool:
    """Whether a text spells a finite decimal number, as in "12", "-0.5" or "1e-9"."""
    return _NUMERAL.fullmatch(text) is not None


def is_whole(text: str) -> bool:
    """Whether a text is that of a whole number: "12", "-1", "0"; not "01" or "1.0"."""
    return _WHOLE.fullmatch(text) is not None


def is_number(value: Any) -> bool:
    """Whether a parsed JSON value is a number; true and false are not."""
    return type(value) is float or type(value) is int


def is_finite(value: Any) -> bool:
    """Whether a parsed JSON value is a finite number."""
    return is_number(value) and -math.inf < value < math.inf


def spelt(number: float) -> str:
    """A finite number as text: 5, 5.0, 4.2."""
    return str(number) if isinstance(number, int) else repr(number)


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


def _spelt_number(value: Any, flag: bool) -> float:
    """The number that a text spells, or that a boolean stands for in a flag. Raises UnfitValueError."""
    if isinstance(value, str) and (is_numeral(value) or _ODD_FLOAT.fullmatch(value)):
        return float(value)
    if flag and isinstance(value, str | bool) and (text := FLAGS.get(str(value).lower())):
        return float(text == TRUE)
    raise UnfitValueError(Special.INVALID, f"expected number, got {quoted(value)}")


def _whole(number: float) -> float:
    """The number, as an integer if it is one for certain."""
    return int(number) if -_EXACT < number < _EXACT and number == int(number) else number


def _unicode(text: str | None) -> str | None:
    if text is not None and not is_unicode(text):
        raise UnfitValueError(Special.INVALID, f"not valid Unicode: {quoted(text)}")
    return text
