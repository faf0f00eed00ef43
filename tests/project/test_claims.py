"""What DELIVERY.md and SECURITY.md promise has tests, and these are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DELIVERY, SECURITY = (ROOT / "docs" / "DELIVERY.md").read_text(), (ROOT / "SECURITY.md").read_text()
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
}
TESTS = "The test of each row"


@cache
def functions_of(path: str) -> frozenset[str]:
    """The tests that a file defines."""
    tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
    functions = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(each.name for each in functions)


def named_tests(text: str) -> list[tuple[str, str]]:
    """The tests that a text names, as file and function."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    return dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", page, re.MULTILINE))


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each row of each table, without the heading and the line below it."""
    groups = groupby(text.splitlines(), lambda line: line.startswith("|"))
    rows = [[line.strip("|").split(" | ") for line in lines] for is_table, lines in groups if is_table]
    return [[[cell.strip() for cell in row] for row in table[2:]] for table in rows]


def claims() -> list[str]:
    """What begins each row of the tables of promises; of dead letters, each cell is a promise."""
    *acts, dead_letters = tables(sections(DELIVERY)["How"])
    settings = tables(sections(DELIVERY)["Under which settings"])
    rows = [row[0] for table in (*acts, *settings) for row in table]
    return rows + [cell.strip("| ") for row in dead_letters for cell in row if cell.strip("| ") not in ("", "the same")]


def evidence() -> dict[str, str]:
    """What shows a row or a sentence, by how it begins."""
    (table,) = tables(sections(DELIVERY)[TESTS])
    return {row[0]: row[1] for row in table}


@pytest.mark.parametrize("page", sorted(page for page, text in PAGES.items() if named_tests(text)))
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert [f"{path}::{name}" for path, name in named_tests(PAGES[page]) if name not in functions_of(path)] == []


def test_every_promise_of_delivery_has_a_test() -> None:
    assert len(claims()) > 30
    assert [claim for claim in claims() if not any(claim.startswith(begin) for begin in evidence())] == []


def test_every_test_of_delivery_shows_a_promise_that_is_still_made() -> None:
    promised = " ".join(DELIVERY.replace(sections(DELIVERY)[TESTS], "").split())
    assert [begin for begin in evidence() if begin not in promised] == []
    assert [begin for begin, shown in evidence().items() if not (named_tests(shown) or "`make chaos" in shown)] == []


def test_every_boundary_of_security_has_a_test() -> None:
    (table,) = tables(sections(SECURITY)["Who can do what"])
    assert len(table) > 20
    assert [row[:2] for row in table if not named_tests(row[-1])] == []
