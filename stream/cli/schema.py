"""`driftline schema`: the formats of messages, for programs that read or write them."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from driftline.stream.cli.terminal import ConfigFile, read_config
from driftline.stream.schemas.json_schema import alert_schema, event_schema, label_schema, schema_text

app = typer.Typer()


class Format(StrEnum):
    """The documents that can be printed."""

    ALERT = "alert"
    EVENT = "event"
    LABEL = "label"
    ASYNCAPI = "asyncapi"


_SCHEMAS = {Format.ALERT: alert_schema, Format.EVENT: event_schema, Format.LABEL: label_schema}


@app.command(name="schema", epilog="Example: driftline schema alert > alert.schema.json")
def schema_command(
    name: Annotated[
        Format,
        typer.Argument(
            help="alert, event or label: the JSON Schema of these messages. asyncapi: a document of all topics."
        ),
    ],
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the AsyncAPI document as JSON, too.")] = False,
) -> None:
    """Print a JSON Schema (draft 2020-12) or the AsyncAPI document (YAML).

    The configuration only changes the topics in the AsyncAPI document.
    """
    if name in _SCHEMAS:
        typer.echo(schema_text(_SCHEMAS[name]()), nl=False)
        return
    # Kafka's client takes half a second to import, which no other command should pay.
    from driftline.stream.schemas.asyncapi import document, document_text

    settings = read_config(config)
    if as_json:
        # Kafka's largest numbers have 64 bits and more, which orjson does not write.
        typer.echo(json.dumps(document(settings), indent=2, ensure_ascii=False))
    else:
        typer.echo(document_text(settings), nl=False)
