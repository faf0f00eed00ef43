"""Every command line that a page names can be typed: the command is there, and so are its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from driftline.stream.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/**/*.md")])
# What was true of earlier versions is no promise.
PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]
# Where a command ends in a line of a shell.
_ENDS = {"|", "&&", ";", ">", "2>", "||", ")"}


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of `driftline …` in blocks of code and in backticks; a line that ends in a backslash goes on."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for line in [*lines, *re.findall(r"`(driftline [^`]+)`", prose)]:
        found = re.match(r"\s*(?:\$ )?driftline (?P<words>.*)", " ".join(line.split()))
        if found:
            words = _words(found["words"])
            yield words[: next((at for at, word in enumerate(words) if word in _ENDS), len(words))]


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|;>)")
    lexer.whitespace_split, lexer.commenters = True, "#"
    return list(lexer)


def unknown(words: list[str]) -> list[str]:
    """What of a command line the parser does not know: a command, or options."""
    context = get_command(app).make_context("driftline", [], resilient_parsing=True)
    command = context.command
    while words and hasattr(command, "get_command"):
        inner = command.get_command(context, words[0])
        if inner is None:
            break
        context = inner.make_context(words[0], [], resilient_parsing=True, parent=context)
        command, words = context.command, words[1:]  # which a command that is imported late is only now
    if hasattr(command, "get_command") and words and re.fullmatch(r"[a-z-]+", words[0]) and words[0][0] != "-":
        return [words[0]]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    given = [word.partition("=")[0] for word in words if re.match(r"-{1,2}[A-Za-z]", word)]
    return [each for name in given for each in name.split("|") if each not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_names_has_the_options_that_it_shows(page: Path) -> None:
    lines = list(command_lines(page.read_text("utf-8")))

    assert {" ".join(words): odd for words in lines if (odd := unknown(words))} == {}


def test_pages_name_many_commands_and_what_is_not_there_is_found() -> None:
    text = "```sh\ndriftline scan a.csv -r b.csv \\\n  --sort | less --raw  # --no\n```\n`driftline find x` `driftline`"

    assert sum(len(list(command_lines(page.read_text("utf-8")))) for page in PAGES) > 80
    assert [unknown(words) for words in command_lines(text)] == [["--sort"], ["find"]]
    assert unknown(["feedback", "ALERT", "--real|--false"]) == []
    assert unknown(["baseline", "show", "x", "--bins", "3"]) == ["--bins"]
