"""Phrases that only insiders understood must not come back where a user reads: in README, documents and strings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Phrase: what to say instead. Whole phrases of this project's former dialect; no common word stands alone here.
PHRASES = {
    r"(?:is|are|was|were|be|been|being) told\b": "notified, reported, sent, logged",
    r"\btells? of\b": "report",
    r"\btold of\b": "reported",
    r"\bwhat lasts\b": "what is still firing",
    r"\b(?:while|as long as|if) it lasts\b": "while it is open, while it is firing",
    r"\bin (?:its|the|their) hand\b": "in flight",
    r"\b(?:begins?|begun|began|made|start(?:s|ed)?) anew\b": "start over, rebuild, invalidate",
    r"\binto its grave\b": "until its session expires",
    r"\bundertaker\b": "dead-letter producer",
    r"\bcourier\b": "dispatcher",
    r"\b(?:the|a|its|each|on the) desks?\b": "notifications",
    r"\bthe ledger\b": "the notification log",
    r"\bhushed\b": "silenced",
    r"\bwho had it before\b": "the former owner",
    r"\bin (?:its|this worker's) care\b": "owned by",
    r"\bgoes? on (?:at|from|where)\b": "resume at",
    r"\bthe twin\b": "the null sample",
    r"\bunrest\b": "dependence",
    r"\bstray (?:page|alert)s?\b": "false page",
    r"\bwhat is open and lasts\b": "what is still open",
    r"\bit ails\b": "it is unhealthy",
    r"\bwhile (?:it|they|the \w+) lasts?\b": "while it is open",
    r"\bzombie worker\b": "a worker that was replaced",
}


def files() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    code = [path for top in ("stream", "detectors", "driftline") for path in (ROOT / top).rglob("*.py")]
    return sorted(
        {path.resolve() for path in [*pages, *code, ROOT / "driftline.example.yaml", ROOT / "docker-compose.yml"]}
    )


def sentences(file: Path) -> Iterator[str]:
    """What a reader sees of a file: all of a page, the strings of a module."""
    text = file.read_text()
    if file.suffix != ".py":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("file", files(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_private_phrase_is_left(file: Path) -> None:
    text = " ".join(" ".join(each.split()) for each in sentences(file))
    found = {match[0]: say for phrase, say in PHRASES.items() for match in re.finditer(phrase, text, re.IGNORECASE)}
    assert found == {}
