"""The templates of pages: everything that comes from traffic passes Jinja's escaping. Edge: Jinja2.

The content security policy allows the page's own style sheet, and its script if it has one, by their hashes, and
nothing else at all.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftline.stream.outcomes.sentences import verdict_sentence as outcomes_say
from driftline.stream.reports.page import charts, heat, outcome_history, outcomes, timeline, words
from driftline.stream.results.sentences import figure_text, number, percent, rest_looks_usual, sentence, shown
from driftline.stream.results.sizes import LEVELS
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable, printable_lines


def rendered(template: str, script: str = "", **values: Any) -> str:
    """A page made of a template. script: file with the script of the page, "" for none. All but the two is escaped."""
    texts = {"style": _text("report.css"), "script": _text(script) if script else ""}
    policy = ["default-src 'none'", f"style-src {_digest(texts['style'])}", "base-uri 'none'"]
    if script:
        policy += [f"script-src {_digest(texts['script'])}", "connect-src 'self'", "form-action 'self'"]
    else:
        policy += ["form-action 'none'"]
    own = {name: Markup(text) for name, text in texts.items()}  # noqa: S704 # our own files
    return _environment().get_template(template).render(policy="; ".join(policy), **own, **values) + "\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _text(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


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
        "outcomes": outcomes, "outcomes_say": outcomes_say, "history": outcome_history,
    }  # fmt: skip
    return made
