"""What one message may hold at most. A larger one is refused, with the field of the configuration that allows more.

The bounds depend on the message alone, never on the call stack or on the batch that it came in. No I/O, no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

# How a reason ends that names the field to raise. What a reason quotes ends with a quotation mark.
_REMEDY = re.compile(r"; raise (?:limits|worker)\.([a-z_]+)$")
# What is no bracket, or stands in a string, which may lack its end.
_NO_BRACKET = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"?|[^\[\]{}"])++', re.DOTALL)
_OPENING = np.frombuffer(b"{[", np.uint8)
# Bytes of the shortest object with one name in it, `{"":`, and of the shortest name with a value, `"":1`.
_OBJECT, _NAME = 4, 4


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """The bounds of a message.

    message_bytes: its size. depth: objects and arrays in each other. signals: names of signals in one of its events.
    """

    message_bytes: int = 1 << 20
    depth: int = 64
    signals: int = 2000

    @property
    def plain_bytes(self) -> int:
        """Bytes up to which a message is neither too large, nor can it hold too many names."""
        return min(self.message_bytes, _NAME * self.signals)

    @property
    def outer_bytes(self) -> int:
        """Bytes at the start of a message without arrays which can open no more objects than may be in each other."""
        return _OBJECT * self.depth

    def hold(self, data: bytes) -> bool:
        """Whether a JSON text certainly is within these limits; the exact reader knows of the others."""
        return (
            len(data) <= self.message_bytes
            and data.count(b":") < self.signals
            and data.count(b"{") + data.count(b"[") <= self.depth
        )

    def is_text_too_deep(self, text: bytes) -> bool:
        """Whether a JSON text opens too many objects and arrays in each other; it need not be valid."""
        if text.count(b"{") + text.count(b"[") <= self.depth:
            return False
        brackets = np.frombuffer(_NO_BRACKET.sub(b"", text), np.uint8)
        return bool(np.cumsum(np.where(np.isin(brackets, _OPENING), 1, -1)).max(initial=0) > self.depth)

    def is_document_too_deep(self, document: Any) -> bool:
        """Whether a document that was not text has too many objects and arrays in each other."""
        level = [document]
        for _ in range(self.depth):
            level = [value for each in level for value in _inner(each) if isinstance(value, dict | list)]
        return bool(level)

    @property
    def too_deep(self) -> str:
        """The reason for refusing a message that is nested too deeply."""
        return f"too deep: more than {self.depth} objects or arrays in each other; raise limits.depth"

    @property
    def too_many_signals(self) -> str:
        """The reason for refusing an event with too many names."""
        return f"too many signals: more than {self.signals} names in one event; raise limits.signals"

    def too_large(self, size: int) -> str:
        """The reason for refusing a message of `size` bytes."""
        return f"too large: {size} bytes, and {self.message_bytes} is the most; raise limits.message_bytes"


def limit_of(reason: str) -> str | None:
    """The field of `limits` that a reason says to raise; None if it names none.

    >>> limit_of("too deep: more than 64 objects or arrays in each other; raise limits.depth")
    'depth'
    """
    found = _REMEDY.search(reason)
    return found and found[1]


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


#: The limits of a configuration that sets none.
DEFAULT_LIMITS = MessageLimits()
