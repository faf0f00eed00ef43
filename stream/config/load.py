"""Loading the configuration: turns YAML text into a typed Config, or into diagnostics of all its faults.

    text ─ read_yaml ─> data and places ─ Config ─> Config, and warnings
                              └── errors ─ diagnose ─> diagnostics with line, column and what may help

No I/O: the caller reads the file. `sections` defines the fields with units, defaults and bounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from driftline.stream.config.diagnostics import ConfigError, Diagnostic
from driftline.stream.config.errors import diagnose, dotted_path
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.config.yaml import Document, Path, read_yaml

# Between two samples of 500 events, the KS statistic reaches 1.36·sqrt(2/500) = 0.09 by chance once in twenty: as much
# as a shift of 0.2 σ.
_FEW_EVENTS = 500


def parse_config(text: str, name: str = "driftline.yaml") -> Config:
    """The configuration in `text`. Raises ConfigError with all of its errors. `name` is only printed, never opened."""
    return _parse(read_yaml(text, name))


def check_config(text: str, name: str = "driftline.yaml") -> list[Diagnostic]:
    """The errors in `text` or, if there are none, warnings of what is valid but hardly meant; in order of the text."""
    document = read_yaml(text, name)
    try:
        config = _parse(document)
    except ConfigError as error:
        return list(error.diagnostics)
    if document.data is None:
        return [document.diagnostic(document.place(()), "the file is empty: all defaults hold", severity="warning")]
    return _in_order(
        document.diagnostic(document.keys.get(path) or document.place(path), message, help, "warning")
        for path, message, help in _warnings(config)
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


def _warnings(config: Config) -> Iterator[tuple[Path, str, str]]:
    """(path, message, help) of what is valid but hardly meant."""
    yield from _model_warnings(("defaults",), config.defaults)
    for name, section in config.models.items():
        path = ("models", name)
        if not name or any(map(str.isspace, name)):
            yield (
                path,
                "the name of a model is empty or contains white space",
                "events must spell the name in exactly this way",
            )
        yield from _model_warnings(path, section)


def _model_warnings(path: Path, section: ModelConfig) -> Iterator[tuple[Path, str, str]]:
    where = dotted_path(path)
    if "learn_events" in section.model_fields_set and section.baseline is not None:
        yield (*path, "learn_events"), f"{where}: learn_events has no effect beside a baseline", "remove one of the two"
    elif section.learn_events < _FEW_EVENTS:
        help = f"with fewer than {_FEW_EVENTS} events, chance alone looks like a shift of 0.2 σ"
        yield (*path, "learn_events"), f"{where}: {section.learn_events} events make a poor baseline", help
    if "*" in section.signals.exclude:
        yield (
            (*path, "signals", "exclude"),
            f"{where}: `*` excludes every signal",
            "exclude only the signals that are not to be monitored",
        )
    if len(set(section.windows)) < len(section.windows):
        yield (
            (*path, "windows"),
            f"{where}: a window is given twice",
            "remove one of them: each takes its share of the false alarms",
        )
