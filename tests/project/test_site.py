"""The documentation as a site: it can be built, has every field of the configuration, and needs no other site."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import driftline.detectors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site; a link that leads nowhere fails its build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def words(page: Path) -> str:
    """What a reader sees of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page.read_text("utf-8"))).split())


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field of the configuration with its meaning."""
    for each in (schema, *schema["$defs"].values()):
        yield from ((name, field.get("description", "")) for name, field in each.get("properties", {}).items())


def test_the_page_of_the_configuration_has_every_field_with_its_meaning(site: Path) -> None:
    shown = words(site / "CONFIGURATION.html").replace("`", "")
    described = list(fields(json.loads((ROOT / "docs" / "driftline.schema.json").read_text("utf-8"))))
    assert len(described) > 100
    plain = [(name, " ".join(text.replace("`", "").split())) for name, text in described]
    assert [(name, text) for name, text in plain if name not in shown or text not in shown] == []


def test_what_can_be_imported_is_explained(site: Path) -> None:
    shown = (site / "API.html").read_text("utf-8")
    names = {
        f"{each.__module__}.{each.__qualname__}"
        for name in driftline.detectors.__all__
        for each in [getattr(driftline.detectors, name)]
    }
    missing = {name for name in {*names, "driftline.stream.scan.compare.compare"} if f'id="{name}"' not in shown}
    assert missing == set()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    fetched = r"""<(?:script|img|iframe)[^>]*\ssrc="?(?:https?:|//)|<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*//"""
    assert len(pages) > 50
    assert [page.name for page in pages if re.search(fetched, page.read_text("utf-8"))] == []
