"""Reads YAML text as plain data (dict, list, str, int, float, bool, None), with the place of every key and value.

No tag creates an object, no file is read, and every fault becomes a diagnostic at its place. Scalars follow the core
schema of YAML 1.2 instead of PyYAML's 1.1: `no` and `1:30` are text, `1e-6` is a number, `0123` is 123. Keys are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from driftline.stream.config.diagnostics import Diagnostic, DiagnosticSeverity, Span, hide_secrets

Path = tuple[str | int, ...]

# A configuration is 5 levels deep. PyYAML makes three calls per level and Python stops at 1000: 300 levels would break
# it.
_MAX_DEPTH = 20
# Values with aliases resolved: enough for 10,000 models of 10 fields. Nine lines of nested aliases make a billion.
_MAX_VALUES = 100_000
_MAX_DIGITS = 40  # no field has 20; Python refuses to print an integer of more than 4300
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what PyYAML treats as the end of a line

# (part of PyYAML's message, our message, what may help, whether PyYAML's "context", the start of the construct, is the
# better place)
_MESSAGES = (
    ("'\\t' that cannot start", "a tab stands where YAML allows only spaces", "indent with spaces", False),
    ("found character '", "this character cannot start a value", "put the value in quotes", False),
    ("mapping values are not", "a `:` where no key can stand",
     "check the indentation, or quote the text if `: ` is part of it", False),
    ("could not find expected ':'", "this line is neither `key: value` nor `- item`",
     "is the colon missing, or the space after it?", True),
    ("expected <block end>", "the indentation does not fit the lines above",
     "keys of one section start in the same column", False),
    ("unexpected end of stream", "this quote is never closed", "add the closing quote", True),
    ("expected ',' or", "this bracket is never closed, or a comma is missing in it", "add the bracket or comma", True),
    ("scanning an alias", "`*` stands for an alias here", "quote a text that starts with `*`", True),
    ("undefined alias", "`*` stands for an alias here, and has no anchor before it",
     "quote a text that starts with `*`", False),
    ("duplicate anchor", "this anchor is defined twice", "give the second one another name", False),
    ("unknown escape", "a backslash that starts no escape", "single quotes leave backslashes alone", False),
    ("but found another document", "a second document starts here", "one file holds one configuration", False),
)  # fmt: skip


@dataclass(slots=True)
class Document:
    """A YAML text: its plain data, the places of keys and values by path, and the diagnostics of its syntax."""

    file: str
    lines: list[str]
    data: Any = None
    keys: dict[Path, Span] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def diagnostic(
        self, span: Span, message: str, help: str = "", severity: DiagnosticSeverity = "error"
    ) -> Diagnostic:
        """A diagnostic of this document at `span`."""
        return Diagnostic(self.file, span, message, hide_secrets(self.lines[span.line - 1]), help, severity)

    def place(self, path: Path) -> Span:
        """The place of the value at `path`; if it is absent, of the key of the section it belongs to."""
        if path in self.values:
            return self.values[path]
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, Span(1, 1))


def read_yaml(text: str, file: str) -> Document:
    """The document in `text`; its `diagnostics` hold faults, none is raised. `file` is only printed, never opened."""
    text = text.removeprefix("\ufeff")
    document = Document(file, _BREAK.split(text))
    try:
        loader = _Loader(text)
    except ReaderError as error:
        before = _BREAK.split(text[: error.position])
        span = Span(len(before), len(before[-1]) + 1)
        message = f"the character U+{ord(text[error.position]):04X} cannot stand in a YAML file"
        document.diagnostics.append(document.diagnostic(span, message, "write it as an escape in double quotes"))
        return document
    try:
        node = loader.get_single_node()
        document.data = _Builder(document).build(node, ()) if node else None
    except yaml.MarkedYAMLError as error:
        document.diagnostics.append(_syntax_diagnostic(document, error))
    except (ValueError, OverflowError):  # "\Uffffffff", and a %YAML version of 5000 digits
        span = _span(loader.get_mark(), None)
        document.diagnostics.append(document.diagnostic(span, "this is not a valid character or version number"))
    return document


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner, parser and composer, with the scalars of YAML 1.2 and a limit of depth."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 # as PyYAML declares it
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ComposerError(None, None, _TOO_DEEP, parent.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_TOO_DEEP = f"more than {_MAX_DEPTH} levels of nesting"
_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL)?", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def _text(source: str) -> str:
    source.encode()  # a lone surrogate ("\ud800") raises ValueError here instead of where it is sent or stored
    return source


def _integer(source: str) -> int:
    if len(source) > _MAX_DIGITS:
        raise ValueError(source)
    return int(source, {"0o": 8, "0x": 16}.get(source[:2], 10))


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda source: source.lower() == "true",
    _TAG + "int": _integer,
    _TAG + "float": lambda source: float(source.lower().replace(".inf", "inf").replace(".nan", "nan")),
    _TAG + "str": _text,
}


@dataclass(slots=True)
class _Builder:
    """Turns nodes into data, and records places and diagnostics in `document`."""

    document: Document
    count: int = 0

    def build(self, node: Any, path: Path) -> Any:
        self.count += 1
        if self.count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            message = _TOO_DEEP if len(path) > _MAX_DEPTH else f"aliases expand this file to over {_MAX_VALUES} values"
            raise ComposerError(None, None, message, node.start_mark)
        self.document.values[path] = _span(node.start_mark, node.end_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            span = _span(key_node.start_mark, key_node.end_mark)
            key = self._key(key_node, span)
            if key in data:
                first = self.document.keys[(*path, key)].line
                self._report(
                    span, f"`{hide_secrets(key)}` is written twice, first on line {first}", "keep one of the two"
                )
            elif key is not None:
                self.document.keys[(*path, key)] = span
                data[key] = self.build(value_node, (*path, key))
        return data

    def _key(self, node: Any, span: Span) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._report(span, "a key must be a text, not a list or a mapping")
        elif node.value == "<<":
            self._report(span, "merge keys are not supported", "put what models share under `defaults`")
        elif node.value != node.value.encode(errors="replace").decode():
            self._report(span, "this key is not valid text")
        else:
            return str(node.value)
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        span = _span(node.start_mark, node.end_mark)
        if node.tag not in _SCALARS:
            self._report(span, f"the tag {node.tag!r} is not supported", "a text that starts with `!` needs quotes")
            return None
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError:
            kind = node.tag.removeprefix(_TAG)
            self._report(span, f"this cannot be read as {kind}: it is too long or contains invalid characters")
            return None

    def _report(self, span: Span, message: str, help: str = "") -> None:
        self.document.diagnostics.append(self.document.diagnostic(span, message, help))


def _span(start: Any, end: Any) -> Span:
    """The span between PyYAML's marks, which count from 0; of a value on several lines, only the first character."""
    length = end.column - start.column if end and end.line == start.line else 1
    return Span(start.line + 1, start.column + 1, max(1, length))


def _syntax_diagnostic(document: Document, error: yaml.MarkedYAMLError) -> Diagnostic:
    found = f"{error.context or ''} {error.problem or 'not valid YAML'}".strip()
    for part, message, help, use_context in _MESSAGES:
        if part in found:
            mark = (error.context_mark if use_context else None) or error.problem_mark
            return document.diagnostic(_span(mark, None), message, help)
    return document.diagnostic(_span(error.problem_mark or error.context_mark, None), found)
