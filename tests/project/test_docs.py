"""The documents name what is there: every path, every folder, every link."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from driftline.stream.config.incidents import FindingClass

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
OURS = "stream|detectors|tests|load_tests|examples|driftline|docs|deploy"
# Of Kafka and of an installation, not of this project; and what a reader's own project holds.
ELSEWHERE = {"driftline/driftline"}


def paths(page: Path) -> Iterator[str]:
    """What stands in backticks and looks like a file or folder of this project."""
    yield from re.findall(rf"`((?:{OURS})/[\w./-]*)`", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = {path for path in paths(page) if not (ROOT / path).exists() and not (page.parent / path).exists()}
    assert missing - ELSEWHERE == set()


@pytest.mark.parametrize("page", ["PAGED.md", "ALERTS.md"])
def test_whoever_is_paged_finds_each_class_of_alert_explained(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [each for each in get_args(FindingClass) if f"`{each}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def folders() -> set[str]:
    return {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("stream", "detectors")
        for path in (ROOT / top).glob("*/__init__.py")
    }


def test_the_tree_has_one_line_for_each_folder() -> None:
    lines = re.findall(r"^\| `((?:stream|detectors)/\w+)` \| (?:pure|edge) \|", ARCHITECTURE, re.MULTILINE)
    assert sorted(lines) == sorted(folders())


def test_the_way_of_an_event_visits_no_file_twice() -> None:
    stops = re.findall(r"^\| \d+ \| `([^`]+)` \|", ARCHITECTURE, re.MULTILINE)
    assert len(stops) > 20
    assert len(stops) == len(set(stops))


def test_every_decision_is_listed_in_order() -> None:
    pages = sorted(page.name for page in (ROOT / "docs" / "decisions").glob("0*.md"))
    listed = re.findall(
        r"^\| \[\d+\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs/decisions/README.md").read_text(), re.MULTILINE
    )
    assert listed == pages
    titles = [(ROOT / "docs" / "decisions" / page).read_text().split("\n", 1)[0] for page in pages]
    assert [title.split(".")[0] for title in titles] == [f"# {int(page[:4])}" for page in pages]
