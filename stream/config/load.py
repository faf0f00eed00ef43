"""Loading the configuration: turns YAML text into a typed Config, or into diagnostics of all its faults.

    text ─ read_yaml ─> data and places ─ Config ─> Config, and warnings
                              └── errors ─ diagnose ─> diagnostics with line, column and what may help

No I/O: the caller reads the file. `sections` defines the fields with units, defaults and bounds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from driftline.stream.config.diagnostics import ConfigError, Diagnostic
from driftline.stream.config.errors import diagnose
from driftline.stream.config.remarks import Remark, doubtful_settings
from driftline.stream.config.sections import Config
from driftline.stream.config.yaml import Document, read_yaml


def parse_config(text: str, name: str = "driftline.yaml") -> Config:
    """The configuration in `text`. Raises ConfigError with all of its errors. `name` is only printed, never opened."""
    return _parse(read_yaml(text, name))


def check_config(
    text: str, name: str = "driftline.yaml", more: Callable[[Config], Iterable[Remark]] = lambda _: ()
) -> list[Diagnostic]:
    """The errors in `text` or, if there are none, remarks on what is valid but hardly meant; in order of the text.

    more: further remarks on the configuration, once it is valid.
    """
    document = read_yaml(text, name)
    try:
        config = _parse(document)
    except ConfigError as error:
        return list(error.diagnostics)
    if document.data is None:
        return [document.diagnostic(document.place(()), "the file is empty: all defaults hold", severity="warning")]
    return _in_order(
        document.diagnostic(document.keys.get(path) or document.place(path), message, help, severity)
        for path, message, help, severity in (*doubtful_settings(config), *more(config))
    )


@cache
def config_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration. It is cached: do not change it."""
    return {"$schema": _Untitled.schema_dialect, **Config.model_json_schema(schema_generator=_Untitled)}


def config_schema_text() -> str:
    """The JSON Schema as docs/driftline.schema.json publishes it."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


class _Untitled(GenerateJsonSchema):
    """A schema without the titles that pydantic derives from field names, since they say nothing new."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 # pydantic's signature
        return False


def _parse(document: Document) -> Config:
    diagnostics = list(document.diagnostics)
    try:
        config = Config.model_validate({} if document.data is None else document.data)
    except ValidationError as error:
        diagnostics += diagnose(error, config_schema(), document)
    if diagnostics:
        raise ConfigError(_in_order(diagnostics))  # not `from` pydantic's error, which holds values
    return config


def _in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics by place; of several at one place the first, as the others mostly follow from it."""
    first: dict[tuple[int, int], Diagnostic] = {}
    for diagnostic in diagnostics:
        first.setdefault((diagnostic.span.line, diagnostic.span.column), diagnostic)
    return [first[place] for place in sorted(first)]
