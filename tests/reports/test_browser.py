"""A report in a real browser, Chromium, where it is installed: nothing is wider than the screen, whatever it is."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.harness.topic_tools import driftline

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# `slow` only while other tests use both cores: Chromium alone takes 10 s to start then.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


def table(path: Path, first: int, price: float) -> Path:
    """1,200 hours, most with a label. price: how much higher prices are for one of three sorts of customer."""
    rows, draw = ["sold at,customer,price,prediction,score,label"], random.Random(first)
    for hour in range(first, first + 1200):
        customer = ("business", "private", "unknown or withdrawn")[hour % 3]
        score = draw.random()
        label = "" if hour % 7 == 0 else int(draw.random() < score)
        when = f"2026-{1 + hour // 720:02}-{1 + hour // 24 % 30:02} {hour % 24:02}:00:00"
        amount = draw.lognormvariate(3, 1) * (price if customer == "private" else 1.0)
        rows.append(f"{when},{customer},{amount:.2f},{int(score > 0.5)},{score:.4f},{label}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_no_part_of_a_report_is_wider_than_the_screen(tmp_path: Path) -> None:
    before, after, page = (tmp_path / name for name in ("before.csv", "after.csv", "report.html"))
    arguments: Sequence[object] = ("--report", page, "--for-whom", "features.customer", "--quiet")
    assert driftline("scan", table(after, 2160, 9.0), "--reference", table(before, 0, 1.0), *arguments) == 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        shown = browser.new_page()
        for width in (360, 800, 1400):
            shown.set_viewport_size({"width": width, "height": 800})
            shown.goto(page.as_uri())
            assert shown.get_by_role("heading", level=1).is_visible()
            assert shown.locator("figcaption", has_text="For whom").count() == 1
            assert shown.locator("figcaption", has_text="Labelled").count() == 1
            assert shown.evaluate("document.documentElement.scrollWidth") <= width, width
        browser.close()
