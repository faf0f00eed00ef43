"""The pages of `driftline serve` in a real browser: Chromium, where it is installed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server
from load_tests.harness.deployment import TIMEOUT, Deployment
from load_tests.harness.oracle import baseline_of, messages
from tests.harness.brokers import Broker
from tests.serve.test_server import COUNT, DRIFT, END, deployment, with_labels

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# `slow` only while other tests use both cores: Chromium alone takes 10 s to start then.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.parametrize("broker", ["embedded"], indirect=True),
]


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path) -> Deployment:
    return deployment(broker, redis_server.address, tmp_path)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page whose console stays empty: what the content security policy blocks would be written there."""
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * TIMEOUT)
        opened = browser.new_page(viewport={"width": 360, "height": 800})
        opened.set_default_timeout(1000 * TIMEOUT)
        opened.on("console", lambda message: said.append(message.text))
        yield opened
        browser.close()
    assert [each for each in said if "ERR_" not in each] == []


LONG = "a" * 200
# Where the words of a chart are, in pixels; low: whether below its lines.
_PLACES = """all => all.map(each => {
    const box = each.getBoundingClientRect(), chart = each.ownerSVGElement.getBoundingClientRect();
    return {left: box.left, right: box.right, low: box.top > chart.bottom - 20};
})"""


def test_names_of_any_length_need_no_scrolling_sideways(here: Deployment, page: Page) -> None:
    config = json.loads(here.path.read_text())
    (here.path.parent / "long.driftline").write_bytes(encode_baseline(baseline_of(LONG)))
    config["models"][LONG] = {"baseline": "long.driftline"}
    here.path.write_text(json.dumps(config))
    here.produce({0: messages(LONG, 900, drift=(600, 900), step=1000)})
    with here.worker() as worker, here.pages() as pages:
        worker.wait_for(lambda: len(here.alerts()) == 1)
        pages.wait_for(lambda: LONG in pages.get("/api/models").body and LONG in pages.get("/api/incidents").body)
        (alert,) = here.alerts()
        signal = f"/models?name={LONG}&signal=features.amount"
        for path in ("/", f"/models?name={LONG}", signal, f"/incidents/{alert['data']['id']}"):
            page.goto(f"http://{pages.address}{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_an_incident_appears_leads_to_its_page_and_disappears_without_a_click(here: Deployment, page: Page) -> None:
    expect.set_options(timeout=1000 * TIMEOUT)
    drift = messages("fraud", COUNT, drift=(DRIFT, END), step=1000)
    with here.worker() as worker, here.pages() as pages:
        page.goto(f"http://{pages.address}/")
        expect(page.get_by_role("heading", level=1)).to_have_text("No incident is open.")
        expect(page.get_by_text("no longer receives news")).to_be_hidden()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="To the verdict")).to_be_focused()

        here.produce({0: drift[:END]})
        expect(page.get_by_role("heading", level=1)).to_have_text("1 incident is open: fraud.")
        expect(page).to_have_title("1 open incident: Driftline")
        narrow = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert narrow, "no scrolling sideways on a telephone"

        page.get_by_role("link", name=re.compile("amount")).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("fraud")
        expect(page.get_by_text("driftline silence add")).to_be_visible()
        page.get_by_role("link", name="fraud", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("fraud: 1 open incident")
        page.get_by_role("link", name="2 days").click()
        page.get_by_role("rowheader").get_by_role("link", name="amount").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("amount of fraud")
        expect(page.get_by_text("Values over time")).to_be_visible()
        page.get_by_role("link", name="fraud", exact=True).click()

        here.produce({0: drift[END:]})
        expect(page.get_by_role("heading", level=1)).to_have_text("fraud: no incident is open")
        page.get_by_role("link", name="Now").click()
        page.get_by_label("Name contains").fill("nobody")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("No model has such a name.")).to_be_visible()

        assert pages.stop() == 0
        expect(page.get_by_text("no longer receives news")).to_be_visible()
        assert worker.stop() == 0


def test_how_right_a_model_was_can_be_read_on_a_telephone(
    broker: Broker, redis_server: Server, tmp_path: Path, page: Page
) -> None:
    expect.set_options(timeout=1000 * TIMEOUT)
    here = with_labels(broker, redis_server.address, tmp_path)
    with here.worker() as worker, here.pages() as pages:
        worker.wait_for(lambda: any("floor.accuracy" in str(each) for each in here.alerts()))
        pages.wait_for(lambda: 'class="floor"' in pages.get("/models?name=fraud&span=2d").body)
        page.goto(f"http://{pages.address}/models?name=fraud&span=2d")
        chart = page.get_by_role("img", name=re.compile("^Accuracy over time: "))
        expect(chart).to_be_visible()
        page.get_by_text("As a table").click()
        expect(page.get_by_role("columnheader", name="outcomes")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        words = chart.locator("text.tick:visible").evaluate_all(_PLACES)
        assert len(words) >= 3
        assert [each for each in words if each["left"] < 0 or each["right"] > 360] == []
        times = sorted((each for each in words if each["low"]), key=lambda each: each["left"])
        assert [each for each, after in pairwise(times) if each["right"] > after["left"]] == [], "none covers another"
