"""What the documentation site has beside the files of docs/: mkdocs calls this while it builds.

The first page is README.md; the configuration is written from its JSON Schema, the reference of Python from docstrings,
the notebooks are shown from examples/.
Links that lead out of docs/ become the names that they show.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\./)*)([^):#\s]+)((?:#[^)\s]*)?)\)")
# Names of fields and options are not broken within a word.
_STYLE = ".md-typeset td code { word-break: normal; }\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of docs/."""
    schema = json.loads((_ROOT / "docs" / "driftline.schema.json").read_text("utf-8"))
    pages = {
        "index.md": home(), "CONFIGURATION.md": configuration(schema), "API.md": api(), "NOTEBOOKS.md": notebooks(),
        "site.css": _STYLE,
    }  # fmt: skip
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Keep the links that stay in docs/, and only the text of those that leave it."""
    folder = (_ROOT / "docs" / page.file.src_uri).parent

    def kept(link: re.Match[str]) -> str:
        target = (folder / (link[2] + link[3])).resolve()
        return link[0] if target.is_relative_to(_ROOT / "docs") else link[1]

    return _LINK.sub(kept, markdown)


def home() -> str:
    """README.md, with links as they are from docs/."""
    text = (_ROOT / "README.md").read_text("utf-8")
    return re.sub(r"\]\((?!https?:)([^)]+)\)", _from_docs, text)


def _from_docs(link: re.Match[str]) -> str:
    target = link[1]
    if target in ("docs/decisions/", "docs/decisions"):
        target = "docs/decisions/README.md"
    return f"]({target.removeprefix('docs/') if target.startswith('docs/') else '../' + target})"


def api() -> str:
    """What `driftline` and `driftline.detectors` export, from docstrings."""
    lines = ["# Python", ""]
    for title, module in (("Tables", "driftline"), ("Detectors", "driftline.detectors")):
        lines += [f"## {title}", "", f"`import {module}`", ""]
        package = importlib.import_module(module)
        shown = [name for name in package.__all__ if module != "driftline" or name in ("compare", "Result")]
        for each in (getattr(package, name) for name in shown):
            lines += [f"::: {each.__module__}.{each.__qualname__}", ""]
    return "\n".join(lines)


def notebooks() -> str:
    """The notebooks of examples/, one after the other: their text and their code; output is made by running them."""
    lines = [
        "# Notebooks", "",
        "They are files of `examples/`, which the tests execute: run them there with Jupyter. Each shows its "
        "reports and pictures in place.", "",
    ]  # fmt: skip
    for path in sorted((_ROOT / "examples").glob("*.ipynb")):
        lines += [f"*examples/{path.name}*", ""]
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "code":
                lines += ["```python", text, "```", ""]
            else:
                lines += [re.sub(r"^(#+)", r"#\1", text, flags=re.MULTILINE), ""]
    return "\n".join(lines).replace("](../docs/", "](")


def configuration(schema: dict[str, Any]) -> str:
    """Every field of the configuration: its name, default and meaning."""
    lines = [
        "# Configuration", "",
        "All fields of `driftline.yaml`, from its [JSON Schema](driftline.schema.json). Write only what differs from "
        "its default. `driftline check` names the line of an error, and what helps.", "",
    ]  # fmt: skip
    for name, field in schema["properties"].items():
        lines += _section(name, field, schema["$defs"], 2)
    return "\n".join(lines)


def _section(path: str, field: dict[str, Any], types: dict[str, Any], level: int) -> Iterator[str]:
    """A heading, the meaning, a table of the plain fields, and a section for each that has fields of its own."""
    yield from (f"{'#' * min(level, 4)} {path}", "", _prose(field.get("description", "")), "")
    own = _fields(field, types)
    plain = {name: each for name, each in own.items() if not _fields(each, types)}
    if own and field.get("description") != (meaning := _type(field, types).get("description", "")):
        yield from (_prose(meaning), "")
    if plain:
        yield from ("| field | default | |", "|---|---|---|")
        for name, each in plain.items():
            yield f"| `{name}` | {_default(each)} | {_cell(_prose(each.get('description', '')))}{_values(each)} |"
        yield ""
    for name, each in own.items():
        if name not in plain:
            yield from _section(f"{path}.{name}", each, types, level + 1)


def _type(field: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    """The object with fields that a field is, or of which it is a list, a mapping or one of several kinds."""
    inner = [field, field.get("items"), field.get("additionalProperties"), *field.get("anyOf", ())]
    for each in inner:
        if isinstance(each, dict) and (name := each.get("$ref")):
            return dict(types[name.rpartition("/")[2]])
    return {}


def _fields(field: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    return dict(_type(field, types).get("properties", {}))


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return ""
    return f"`{_cell(json.dumps(field['default'], ensure_ascii=False))}`"


def _values(field: dict[str, Any]) -> str:
    kinds = [field, *field.get("anyOf", ())]
    named = next((each["enum"] for each in kinds if "enum" in each), [])
    return f" One of {', '.join(f'`{each}`' for each in named)}." if named else ""


def _prose(text: str) -> str:
    """A text of the schema as Markdown: what stands outside backticks is no HTML."""
    parts = text.split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
