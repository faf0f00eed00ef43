"""The recording of the demo: what a command has written is what it shows, and it needs nothing else to be shown."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.table import Table

from examples.record import LINES, Output, Terminal, frames, picture, run

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def text_of(terminal: Terminal) -> list[str]:
    return ["".join(character for character, _ in line).rstrip() for line in terminal.shown()]


def test_a_live_view_is_drawn_over_and_what_was_printed_above_it_stays() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, color_system="standard", legacy_windows=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for step in range(4):
            console.print(f"[bold red]alert {step}[/]")
            table = Table(title=f"state {step}")
            table.add_column("signal")
            for row in range(step + 1):
                table.add_row(f"signal {row} of {step}")
            live.update(table, refresh=True)
    console.print("[dim]all paged[/]")
    assert isinstance(console.file, io.StringIO)
    terminal = Terminal()
    terminal.write(console.file.getvalue().replace("\n", "\r\n"))
    assert text_of(terminal) == ["alert 0", "alert 1", "alert 2", "alert 3", "all paged"]
    (_, style), *_ = terminal.shown()[0]
    assert (style.colour, style.bold) == (31, True)


def test_a_window_shows_the_last_lines() -> None:
    terminal = Terminal()
    terminal.write("".join(f"line {number}\r\n" for number in range(100)))
    assert text_of(terminal) == [f"line {number}" for number in range(100 - LINES, 100)]


def test_a_command_runs_on_a_terminal_and_one_that_fails_makes_no_recording() -> None:
    says = "import sys; print(sys.stdout.isatty(), '━█é' * 30000)"
    written = "".join(each.text for each in run([sys.executable, "-X", "utf8", "-c", says]))
    assert written == f"True {'━█é' * 30000}\r\n"
    with pytest.raises(subprocess.CalledProcessError):
        list(run([sys.executable, "-c", "raise SystemExit(1)"]))


def test_the_same_output_makes_the_same_picture_with_every_line_once() -> None:
    output = [Output(0.0, "one <&>\r\n"), Output(5.0, "\x1b[32mtwo\x1b[0m\r\n"), Output(9.0, "three\r\n")]
    shown = frames(output, "$ demo\r\n")
    assert [len(lines) for _, lines in shown] == [1, 2, 3, 4]
    made = picture(shown)
    assert made == picture(frames(output, "$ demo\r\n"))
    texts = ["".join(each.itertext()) for each in ET.fromstring(made).iter(f"{SVG}text")]
    assert texts == ["$ demo", "one <&>", "two", "three"]


def test_the_recording_in_the_documentation_is_whole_small_and_needs_nothing_else() -> None:
    svg = (ROOT / "docs/images/demo.svg").read_text("utf-8")
    assert len(svg) < 300_000
    assert "7 of 7 planted faults paged" in svg
    assert "\ufffd" not in svg
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|href=\"(?!#)|url\(", svg)
    names = {each.get("id") for each in ET.fromstring(svg).iter(f"{SVG}text")}
    used = {(each.get("href") or "")[1:] for each in ET.fromstring(svg).iter(f"{SVG}use")}
    assert used == names
