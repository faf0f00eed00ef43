"""The report as a page: alone, unscripted, escaped, bounded, the same bytes again, its figures those of the run."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from driftline.detectors.summaries.distribution import Distribution
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.events.event import Event
from driftline.stream.panes.history import Bin
from driftline.stream.reports.page import page as page_module
from driftline.stream.reports.page import words
from driftline.stream.reports.page.charts import histogram
from driftline.stream.reports.page.svg import Scale, fits_log, scale_of
from driftline.stream.results.overview import ModelView
from tests.harness.command_line import CommandResult, Run, console_script
from tests.harness.payments import payments, write_csv

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "</style></svg></table><b>",
    "javascript:alert(1)",
    "&lt;&amp;",
    "\u202egnp.exe",
    "😀 emoji 🇩🇪",
    "a" * 200,
    "שלום עולם",
]


# Attributes that say where something is drawn.
PLACES = frozenset({"d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "viewBox"})


class Page(HTMLParser):
    """The elements of a page, and whether they are closed in the order in which they were opened."""

    VOID = frozenset({"meta", "br", "col", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return console_script(monkeypatch, capsys)


def scan(run: Run, live: list[dict[str, Any]], train: list[dict[str, Any]], *more: str) -> tuple[str, CommandResult]:
    write_csv(Path("live.csv"), live)
    write_csv(Path("train.csv"), train)
    result = run("scan", "live.csv", "--reference", "train.csv", "--report", "page.html", "--json", *more)
    assert result.code in (0, 1), result
    return Path("page.html").read_text(), result


def drifting(rows: int = 2500) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return list(payments(rows, 1500, seed=2)), list(payments(2500))


def test_the_page_needs_no_network_and_no_script_and_its_policy_forbids_both(run: Run) -> None:
    text, _ = scan(run, *drifting())

    page = Page(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not [name for name, _ in page.tags if name in ("script", "link", "img", "iframe", "object", "use", "image")]
    assert not [attributes for _, attributes in page.tags if "style" in attributes]
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert all((each["href"] or "").startswith("#") for each in page.all("a"))
    assert not re.search(r"(?:https?:)?//\w", text.replace("# Written by", ""))
    assert "url(" not in text
    assert "@import" not in text


def themes() -> Iterator[dict[str, str]]:
    """The colours of the light and of the dark theme, by name."""
    style = (Path(page_module.__file__).parent / "report.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+):(#\w+)", block)) for block in re.findall(r":root\{(.*?)\}", style, re.DOTALL)
    )
    yield light
    yield light | dark


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", list(themes()), ids=["light", "dark"])
def test_text_can_be_read_and_the_steps_of_the_map_be_told_apart_without_their_colours(theme: dict[str, str]) -> None:
    for text in ("ink", "soft", "faint", "link"):
        assert min(contrast(theme[text], theme[ground]) for ground in ("bg", "card")) >= 4.5
    for text in ("err", "warn", "ok"):
        assert contrast(theme[text], theme[f"{text}bg"]) >= 4.5
    for colour in ("err", "warn"):
        assert contrast(theme["card"], theme[colour]) >= 4.5  # the labels in the bars
    steps = [luminance(theme[f"l{step}"]) for step in range(5)]
    assert steps in (sorted(steps), sorted(steps, reverse=True))
    assert all(contrast(theme[f"l{step}"], theme[f"l{step + 1}"]) >= 1.25 for step in range(4))


def test_every_link_leads_to_a_place_on_the_page_and_no_id_comes_twice(run: Run) -> None:
    page = Page(scan(run, *drifting())[0])

    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(each["href"] or "")[1:] for each in page.all("a")} <= set(ids)


def test_the_same_run_makes_the_same_bytes(run: Run) -> None:
    first, _ = scan(run, *drifting())
    second, _ = scan(run, *drifting())

    assert first == second


def test_names_and_values_are_text_whatever_they_hold(run: Run) -> None:
    def dress(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = {"amount": HOSTILE[0], "device_trust": HOSTILE[1], "distance km": HOSTILE[2], "decision": HOSTILE[6]}
        chance = random.Random(3)
        return [
            {**{names.get(key, key): value for key, value in row.items()}, "country": chance.choice(HOSTILE)}
            for row in rows
        ]

    live, train = map(dress, drifting())

    page = Page(scan(run, live, train)[0])

    assert not [name for name, _ in page.tags if name in ("script", "img", "b") and name != "b"]
    assert "<script>alert(1)</script>" in page.text
    assert "49" not in [each for each in page.words if each == "49{%"]
    assert "\u202e" not in page.text


def test_a_picture_says_what_it_shows_to_those_who_do_not_see_it(run: Run) -> None:
    page = Page(scan(run, *drifting())[0])

    pictures = [each for each in page.all("svg") if each.get("role") == "img"]
    assert len(pictures) > 10
    assert all(each.get("aria-label") for each in pictures)
    others = [each for each in page.all("svg") if each.get("role") != "img"]
    labels = [each["aria-label"] or "" for each in pictures]
    assert any(re.fullmatch(r"device_trust, missing over time: 0 % at first and \d.*", each) for each in labels)
    assert all(each.get("aria-hidden") == "true" or not each.get("aria-label") for each in others)


def test_the_figures_of_the_page_are_those_of_the_run(run: Run) -> None:
    live, train = drifting()
    text, result = scan(run, live, train)

    page = Page(text)
    missing = {row["signal"]: row for row in orjson.loads(result.out)["signals"]}["features.device_trust"]
    since = [row for row in live if row["paid_at"] >= missing["since"][:19].replace("T", " ")]
    share = sum(row["device_trust"] is None for row in since) / len(since)
    assert missing["after"] == pytest.approx(share, abs=0.02)
    assert f"device_trust is missing in {100 * missing['after']:.1f}\u00a0% of the rows".replace(
        "\u00a0", " "
    ) in page.text.replace("\u00a0", " ")
    shown = [each for each in page.all("rect") if (each.get("class") or "").startswith("l")]
    assert len(shown) > 6 * 50


@pytest.mark.slow
def test_the_page_of_a_thousand_signals_stays_below_two_megabytes(run: Run) -> None:
    chance = np.random.default_rng(5)
    names = [f"feature_{index:04d}_of_a_wide_table" for index in range(1000)]

    def rows(n: int, shift: int) -> list[dict[str, Any]]:
        values = (chance.integers(0, 5, size=(n, 1000)) + shift * (np.arange(1000) % 2)).tolist()
        return [
            {"time": f"2026-09-{1 + i // 24:02d} {i % 24:02d}:00:00", **dict(zip(names, row, strict=True))}
            for i, row in enumerate(values)
        ]

    text, result = scan(run, rows(300, 2), rows(300, 0))

    assert result.code == 1
    assert len(text.encode()) < 2_000_000
    Page(text)


def test_without_times_the_page_has_no_map_and_says_why(run: Run) -> None:
    live, train = (
        [{key: value for key, value in row.items() if key != "paid_at"} for row in rows] for rows in drifting()
    )

    page = Page(scan(run, live, train)[0])

    assert "What changed, when" not in page.text
    assert "the rows have no time" in page.text
    assert "Before and after" in page.text


def test_odd_numbers_and_empty_columns_make_a_page(run: Run) -> None:
    live, train = drifting()
    odd = ["nan", "inf", "-inf", "", "1e308", "-1e308"]
    for rows in (live, train):
        for index, row in enumerate(rows):
            row["odd"], row["empty"], row["same"] = odd[index % 6], "", 7

    page = Page(scan(run, live, train)[0])

    assert "odd" in page.text
    assert "empty" in page.text
    placed = [value or "" for _, found in page.tags for name, value in found.items() if name in PLACES]
    assert len(placed) > 100
    assert not [each for each in placed if re.search("nan|inf", each)], "a browser draws nothing there"


@pytest.mark.parametrize("rows", [1, 30])
def test_a_page_of_too_few_rows_says_that_there_is_no_verdict(run: Run, rows: int) -> None:
    write_csv(Path("live.csv"), list(payments(rows)))
    write_csv(Path("train.csv"), list(payments(2000)))

    result = run("scan", "live.csv", "--reference", "train.csv", "--report", "page.html")

    assert result.code == 2
    assert "No verdict: too little was judged." in Page(Path("page.html").read_text()).text


def test_a_replay_has_the_same_page(run: Run) -> None:
    log = [
        {
            "id": row["order"],
            "ts": row["paid_at"],
            "model": "pay",
            "features": {"amount": row["amount"], "trust": row["device_trust"]},
        }
        for row in payments(6500, 6000)
    ]
    Path("log.jsonl").write_bytes(b"\n".join(map(orjson.dumps, log)))

    result = run("replay", "log.jsonl", "--report", "page.html")

    assert result.code == 1
    assert "pay has changed: all 2 signals differ from the reference" in Page(Path("page.html").read_text()).text


def test_a_map_says_by_what_its_squares_are_coloured() -> None:
    known = build_baseline([Event("e", 10**12, "m", None, {"x": 1.0})], {"model": "m"})
    plain = ModelView("m", "", known, True, (Bin(0, 3_600_000, known.total),), ())
    assert words.squares(plain, "baseline") == (
        "Each square is one hour. Its colour is the size of the difference from the baseline. A square is coloured if "
        "it differs more than chance explains. Single squares may differ by chance; a drift lasts."
    )
    usual = words.squares(replace(plain, own_events=(1,), knows_usual=True), "reference")
    assert "coloured if it differs more than 19 of 20 such stretches of the reference do, and more than chance" in usual
    assert "The faded squares on the left are stretches of the reference. " in usual
    by_phase = words.squares(replace(plain, own_events=(1,), knows_usual=True, by_phase=True), "reference")
    assert "for signals that follow the day or the week from the same hours of it." in by_phase
    assert "stretches of the reference, each compared with all hours of it." in by_phase


@pytest.mark.parametrize("at", [10**18, -(10**18), 10**30, "yesterday", None])
def test_times_of_a_reference_that_no_calendar_has_are_shown_as_they_are(at: object) -> None:
    """No hash covers the facts of a manifest."""
    events = [Event("e", 10**12 + index, "m", None, {"x": float(index % 7)}) for index in range(400)]
    known = build_baseline(events, {"model": "m"})

    def view(baseline: Baseline) -> ModelView:
        return ModelView("m", "", baseline, True, (), ())

    assert words.reference_span(view(known)) == ", 9 Sep 2001 to 9 Sep 2001"
    odd = replace(known, about={**known.about, "time_from": at})
    assert words.reference_span(view(odd)) == ""
    assert dict(words.manifest(odd))["time from"] == str(at)


def test_an_alert_has_a_page_and_what_it_holds_is_text(run: Run) -> None:
    rows = [
        {
            "id": row["order"], "ts": row["paid_at"], "model": HOSTILE[1],
            "features": {HOSTILE[0]: row["amount"], "country": HOSTILE[index % 9] if index > 5600 else row["country"]},
        }
        for index, row in enumerate(payments(6000, 5600))
    ]  # fmt: skip
    Path("log.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    assert run("replay", "log.jsonl", "--alerts", "alerts.jsonl").code == 1
    alert = orjson.loads(Path("alerts.jsonl").read_bytes().splitlines()[-1])["data"]

    result = run("explain", alert["id"], "--alerts", "alerts.jsonl", "--report", "page.html")

    assert result.code == 0
    page = Page(Path("page.html").read_text())
    assert not [name for name, _ in page.tags if name in ("script", "img")]
    assert "<script>alert(1)</script>" in page.text
    for signal in alert["evidence"]["signals"]:
        assert f"{signal['events']:,}" in page.words
        assert [share for share in signal["change"]["histogram"]["after"] if 0.001 < share < 0.999]
        for share in signal["change"]["histogram"]["after"]:
            assert share <= 0.001 or f"{100 * share:.1f}".removesuffix(".0") in page.words


def test_a_histogram_holds_every_value_once() -> None:
    values = Distribution(np.array([0.0, 2.0, 9.0]), np.array([1.0, 4.0, 10.0]), np.array([5.0, 3.0, 2.0]))

    assert histogram(values, Scale(0.0, 10.0, 1.0)).sum() == pytest.approx(1.0)
    assert histogram(values, Scale(3.0, 4.0, 1.0)).sum() == pytest.approx(1.0)
    assert histogram(values, Scale(0.0, 36.0, 1.0))[:10].tolist() == pytest.approx(
        [0.5, 0.0, 0.15, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2]
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-5.0, 5.0), (3.0, 3.0), (-1e308, 1e308)])
def test_a_scale_has_round_ticks_within_it_and_its_places_and_values_agree(low: float, high: float) -> None:
    scale = scale_of([low, high], 100.0)

    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())
    assert 0 < len(scale.ticks()) <= 8
    for share in (0.0, 0.25, 1.0):
        assert scale.share(scale.at(share)) == pytest.approx(share, abs=1e-6)


def test_steps_of_equal_ratio_are_for_positive_values_that_span_much_and_are_no_probabilities() -> None:
    assert fits_log([1.0, 2.0], [50.0, 4000.0], [5.0, 300.0])
    assert not fits_log([1e-9], [1.0], [0.5])
    assert not fits_log([-1.0], [4000.0], [5.0])
    assert not fits_log([10.0], [40.0], [20.0])
