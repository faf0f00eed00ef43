"""Diagnostics: what is wrong with a text, and where, printed as by a compiler:

    error: panes.events: expected a whole number from 1 to 1000000, got 0
      --> driftline.yaml:12:11
       |
    12 |   events: 0
       |           ^
       = help: the default is 1000

No secret is printed: everything that may be one is starred, character by character, so that columns stay the same.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

DiagnosticSeverity = Literal["error", "warning"]

# The user and password of a URL (all from the colon of its scheme to the last @, since a password may hold anything),
# and the value of a key that names a secret. Too many stars are a nuisance, too few reveal a password.
_HIDDEN_KEYS = "password|passwd|secret|token|routing_key|signing_key|webhook_url|authorization|_env"
_SECRET = re.compile(rf"(?<=:)\S.*(?=@)|(?:{_HIDDEN_KEYS})\w*[\"']?\s*:\s*(?P<value>\S.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: line and column from 1, length in characters of that line."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault of a text: its place and message, the line it is on (secrets starred), and what may help."""

    file: str
    span: Span
    message: str
    source: str = ""
    help: str = ""
    severity: DiagnosticSeverity = "error"


class ConfigError(Exception):
    """The configuration is not valid; `diagnostics` holds all of its faults, in the order of the text."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(render_diagnostics(self.diagnostics))

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.diagnostics)


def render_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """The diagnostics as text, separated by empty lines."""
    return "\n\n".join(map(_render, diagnostics))


def hide_secrets(text: str) -> str:
    """`text` with everything starred that may be a secret; the length stays the same.

    >>> hide_secrets("url: redis://:hunter2@localhost")
    'url: redis:**********@localhost'
    """
    return _SECRET.sub(_starred, text)


def _starred(match: re.Match[str]) -> str:
    secret = match["value"] or match[0]
    return match[0].removesuffix(secret) + "*" * len(secret)


def _render(diagnostic: Diagnostic) -> str:
    span, number = diagnostic.span, str(diagnostic.span.line)
    gutter = " " * len(number)
    start = span.column - 1
    indent = "".join(map(_blank, diagnostic.source[:start]))
    marked = "".join(map(_blank, diagnostic.source[start : start + span.length]))
    lines = [
        f"{diagnostic.severity}: {diagnostic.message}",
        f"{gutter}--> {diagnostic.file}:{number}:{span.column}",
        f"{gutter} |",
        f"{number} | {''.join(map(_visible, diagnostic.source))}".rstrip(),
        f"{gutter} | {indent}{'^' * max(1, len(marked))}",
    ]
    return "\n".join(lines + _wrapped(f"{gutter} = help: ", diagnostic.help))


def _wrapped(lead: str, text: str) -> list[str]:
    """`lead` and `text` in lines of up to 100 characters, further lines indented to the width of `lead`."""
    return textwrap.wrap(
        text,
        100,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _visible(char: str) -> str:
    """`char`, or a question mark if it could control a terminal."""
    return char if char.isprintable() or char == "\t" else "?"


def _blank(char: str) -> str:
    """White space as wide as `char`."""
    if char == "\t":
        return char
    return "  " if unicodedata.east_asian_width(char) in "WF" else " "
