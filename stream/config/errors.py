"""Turns pydantic's errors into diagnostics at their places in the YAML text.

What a field expects is read from the JSON Schema instead of a table of error types, so that the command line, the
editor and the published schema cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from driftline.stream.config.diagnostics import Diagnostic, Span, hide_secrets
from driftline.stream.config.fields import RuleError
from driftline.stream.config.yaml import Document, Path

Schema = dict[str, Any]

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}
_KEY = "[key]"  # pydantic's last step to a key of a mapping, which names no field
_NO_MAPPING = (
    "every field has a default, so the empty file is valid; if it holds events, `driftline inspect FILE` reads it"
)
_MAX_SHOWN = 60  # characters of a refused value; more would hide the message


def diagnose(refusal: ValidationError, schema: Schema, document: Document) -> Iterator[Diagnostic]:
    """One diagnostic per error of validating `document.data` against the model with this JSON Schema."""
    for error in refusal.errors(include_url=False):
        span, message, help = _words(error, schema, document)
        yield document.diagnostic(span, message, help)


def dotted_path(path: Path) -> str:
    """`path` as text.

    >>> dotted_path(("models", "fraud v2", "windows", 0))
    "models['fraud v2'].windows[0]"
    """
    return "".join(map(_step, path)).removeprefix(".") or "the configuration"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[\w-]+", step) else f"[{_shown(step)}]"


def _words(error: Mapping[str, Any], schema: Schema, document: Document) -> tuple[Span, str, str]:
    path: Path = error["loc"]
    if error["type"] == "extra_forbidden":
        return document.keys[path], *_unknown_field(schema, path)
    value, rule = error["input"], error.get("ctx", {}).get("error")
    if path and path[-1] == _KEY and "propertyNames" in (section := _schema_at(schema, path[:-2])):
        return document.keys[path[:-1]], *_bad_key(section, path[:-2], str(path[-2]), rule)
    if isinstance(rule, RuleError):
        found = "" if rule.field else _but_got(path, value)
        path = (*path, *rule.field)
        return document.place(path), f"{dotted_path(path)}: {rule}{found}", _meaning(_schema_at(schema, path))
    expected = _schema_at(schema, path)
    message = f"{dotted_path(path)}: expected {_expected(expected)}{_but_got(path, value)}"
    return document.place(path), message, _hint(expected, value) or (_meaning(expected) if path else _NO_MAPPING)


def _bad_key(section: Schema, path: Path, key: str, rule: object) -> tuple[str, str]:
    if isinstance(rule, RuleError):
        return f"{dotted_path(path)}: {rule}", _meaning(section)
    lengths = section["propertyNames"]
    expected = f"expected keys of {lengths['minLength']} to {lengths['maxLength']} characters"
    return f"{dotted_path(path)}: {expected}, got the text {_shown(key)}", _meaning(section)


def _unknown_field(schema: Schema, path: Path) -> tuple[str, str]:
    *section, name = path
    known = list(_schema_at(schema, tuple(section))["properties"])
    message = f"unknown field {_shown(str(name))} in {dotted_path(tuple(section))}"
    close = get_close_matches(str(name).lower(), known, n=1)
    if close:
        return message, f"did you mean `{close[0]}`?"
    homes = [home for home in schema["properties"] if name in _schema_at(schema, (home,)).get("properties", {})]
    if homes:
        return message, f"it belongs under `{homes[0]}`"
    return message, f"known here: {', '.join(known)}"


def _schema_at(schema: Schema, path: Path) -> Schema:
    """The schema of the value at `path`, with references resolved; "x or null" becomes x with "nullable"."""
    here = schema
    for step in path:
        if isinstance(step, int):
            here = here["items"]
        else:
            here = here.get("properties", {}).get(step) or here["additionalProperties"]
        if "anyOf" in here:
            here = here | here["anyOf"][0] | {"nullable": True}
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]] | here
    return here


def _expected(schema: Schema) -> str:
    words = _choices(schema) or _TYPES[schema["type"]]
    if "exclusiveMinimum" in schema:
        words += f" above {schema['exclusiveMinimum']:.15g}"
        words += f", at most {schema['maximum']:.15g}" if "maximum" in schema else ""
    elif "minimum" in schema:
        words += f" from {schema['minimum']:.15g} to {schema['maximum']:.15g}"
    elif "examples" in schema:
        words += f" such as `{schema['examples'][0]}`"
    elif "minLength" in schema or "minItems" in schema:
        words += " that is not empty"
    return words + (", or null" if schema.get("nullable") else "")


def _choices(schema: Schema) -> str:
    choices = schema.get("enum", ())
    if len(choices) > 2:
        return f"one of {', '.join(choices)}"
    return " or ".join(choices) or str(schema.get("const", ""))


def _but_got(path: Path, value: object) -> str:
    """The value found instead, unless it may be a secret."""
    if path and str(path[-1]).endswith(("url", "_env")):
        return ""
    if isinstance(value, str):
        return f", got the text {_shown(value)}"
    if isinstance(value, dict | list):
        return ", got a list" if isinstance(value, list) else ", got a mapping"
    return ", got nothing" if value is None else f", got {json.dumps(value)}"


def _shown(text: str) -> str:
    """`text` in quotes, on one line, without secrets, shortened to `_MAX_SHOWN` characters."""
    text = hide_secrets(text)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


def _hint(schema: Schema, value: object) -> str:
    """A suggestion of what was meant by `value`, or ""."""
    kind = schema.get("type")
    if value is None and kind == "object":
        return "remove the key, or write `{}`"
    if isinstance(value, str):
        return _hint_for_text(schema, value)
    if kind == "array" and not isinstance(value, dict | list):
        return f"write `[{json.dumps(value)}]`"
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return f"write `{value:.0f}`"
    if kind == "string" and isinstance(value, bool | int | float):
        return "put it in quotes if it is meant as a text"
    return ""


def _hint_for_text(schema: Schema, text: str) -> str:
    kind = schema["type"]
    number = re.fullmatch(r"\s*([-+]?\d[\d_,]*(\.\d+)?)\s*", text)
    if kind in ("integer", "number") and number:
        return f"write `{re.sub('[_,]', '', number[1])}`: digits and a point, no quotes, no separators"
    if kind == "object" and re.match(r"[\w-]+:\S", text):
        return "a space is missing after the colon"
    if kind == "array":
        return f"write `[{hide_secrets(text)}]`"
    options = ("true", "false") if kind == "boolean" else schema.get("enum", ())
    choices = {choice.lower(): choice for choice in options}
    close = get_close_matches(text.lower(), list(choices), n=1)
    return f"did you mean `{choices[close[0]]}`?" if close else ""


def _meaning(schema: Schema) -> str:
    """The field's description and default."""
    default = schema.get("default")
    words = schema.get("description", "")
    return f"{words} Default: {json.dumps(default)}." if isinstance(default, int | float | str) else words
