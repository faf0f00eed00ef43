"""What readers of files have to say: that a file can't be read, or what they read otherwise than it stands there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class InputError(Exception):
    """A file cannot be read as events; the text names the file, the line if there is one, and the remedy.

    remedy: fields of the section `files` with which it can probably be read.
    """

    def __init__(self, text: str, remedy: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.remedy = remedy or {}


class Note(NamedTuple):
    """A column that was left out or converted. field: its title or position; reason: a sentence without a full stop."""

    field: str
    reason: str


OnNote = Callable[[Note], None]
