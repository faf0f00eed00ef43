"""The section `files`: how tables in files are written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from driftline.stream.config.fields import RuleError, Section


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise RuleError("expected an encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16-le") from None
    return name


class FileOptions(Section):
    """How the files that replays, baselines and `produce` read are written. The format is recognised by content."""

    delimiter: Annotated[str, Field(pattern=r'^[^"\r\nA-Za-z0-9.+-]$', examples=[";", "\t"])] | None = Field(
        None,
        description="Character between the cells of a CSV file; null: the one of comma, semicolon, tab and bar that "
        "splits the header and the first rows into the same number of cells.",
    )
    decimal: Literal[".", ","] = Field(
        ".",
        description="Decimal mark of the numbers in a CSV file. Digits are never grouped: 1.234,5 is text. A file that "
        "seems to use commas is refused until this field is written down.",
    )
    encoding: Annotated[str, AfterValidator(_known_encoding), Field(examples=["latin-1", "cp1252"])] | None = Field(
        None,
        description="Encoding of text, by its name in Python; null: UTF-8, or UTF-16 if a byte order mark says so.",
    )
