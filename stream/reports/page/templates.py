"""The templates of pages: everything that comes from traffic passes Jinja's escaping. Edge: Jinja2.

The content security policy allows the page's own style sheet, by its hash, and nothing else at all.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftline.stream.reports.page import charts, heat, timeline, words
from driftline.stream.results.sentences import figure_text, number, percent, rest_looks_usual, sentence, shown
from driftline.stream.results.sizes import LEVELS
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable, printable_lines


def rendered(template: str, **values: Any) -> str:
    """A page made of a template. Everything but the style sheet is escaped."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=Markup(style), digest=digest, **values) + "\n"  # noqa: S704 # our own file


@cache
def _style() -> str:
    return (files(__package__) / "report.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "unbroken": words.unbroken,
        "printable": printable,
        "lines": printable_lines,
        "number": number,
        "percent": percent,
        "shown": shown,
    }
    made.globals |= {
        "charts": charts, "heat": heat, "timeline": timeline, "levels": LEVELS, "sentence": sentence, "words": words,
        "figure": figure_text, "counted": counted, "rest_looks_usual": rest_looks_usual,
    }  # fmt: skip
    return made
