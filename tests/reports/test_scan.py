"""A scan on a terminal: every column of it fits, and a pipe gets lines as long as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import driftline
from driftline.stream.cli.terminal import out
from driftline.stream.reports.page.words import groups
from driftline.stream.reports.scan import print_scan
from tests.harness.payments import payments

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def result() -> driftline.Result:
    return driftline.compare(list(payments(1500, seed=1)), list(payments(1500, 1000, seed=2)), time="paid_at")


def on_terminal(result: driftline.Result, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    print_scan(console, result.scan)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_terminal_of_80_characters_shows_the_size_the_day_and_the_line(result: driftline.Result) -> None:
    head, first, *_ = on_terminal(result, 80)

    assert head.split()[-5:] == ["different", "since", "(UTC)", "over", "time"]
    assert first.split()[-5:-1] == ["strongly", "5", "Sep", "2026"]
    assert "…" not in head + first
    assert len(first) <= 80


def test_a_pipe_gets_whole_lines(
    result: driftline.Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

    print_scan(out, result.scan)

    lines = capsys.readouterr().out.splitlines()
    assert "strongly different" in lines[1]
    assert "…" not in "".join(lines)


def test_the_page_says_what_was_allowed_as_the_configuration_states_it(tmp_path: Path) -> None:
    tables = list(payments(500, seed=1)), list(payments(500, seed=2))

    for config, says in (
        ("{}", "fewer than one in 2,0"),
        ("defaults: {false_pages: 1 per month}", "at most 0.9 false pages in 30 days would be reported"),
    ):
        driftline.compare(*tables, time="paid_at", config=config).save_html(tmp_path / "page.html")
        assert says in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (False, "vary; in the reference they never did"),
        (True, "now vary, all since 9 Oct 2025 23:53; in the reference they never did"),
    ],
)
def test_constants_that_changed_together_are_one_sentence(times: bool, says: str) -> None:
    def rows(first: int, value: float) -> dict[str, list[object]]:
        columns: dict[str, list[object]] = {
            "a": [value] * 900, "b": [str(value)] * 900, "x": [i % 23 for i in range(900)]
        }  # fmt: skip
        return columns | ({"at": [1_760_000_000 + 60 * (first + i) for i in range(900)]} if times else {})

    found = driftline.compare(rows(0, 1.0), rows(900, 2.0), time="at" if times else None)

    [together] = groups(found.scan.overview.models[0])
    assert (together.names, together.says) == ("a and b", says)


def test_the_name_of_a_model_is_no_markup() -> None:
    odd = driftline.compare(list(payments(300, seed=1)), list(payments(300, seed=2)), time="paid_at", name="a[/b]")

    assert on_terminal(odd, 120)[0].startswith("a[/b]")
