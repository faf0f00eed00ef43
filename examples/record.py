"""A recording of `driftline demo` as an animated SVG: a real run on a terminal, ten times as fast.

    python -m examples.record docs/images/demo.svg

The run takes two and a half minutes and is the command's own output, each line as it came; nothing is added. The same
output makes the same picture. It needs no script and no network to be shown, and stands still for who wants no motion.
"""

from __future__ import annotations

import argparse
import codecs
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

# Characters of a line and lines of the terminal; pixels of a character and of a line.
COLUMNS, LINES = 100, 30
_WIDE, _HIGH, _EDGE = 8.4, 18, 12
# s of the run between two pictures, how many times as fast it is shown, and s for which its end is shown.
_EVERY, _FASTER, _END = 2.0, 10.0, 5.0
# What Rich sends to a terminal: colours, lines erased, and the cursor moved up.
_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|([\r\n])|([^\x1b\r\n]+)")
# Foreground colours by their codes, on a dark ground.
_COLOURS = {
    31: "#ff7b72", 32: "#7ee787", 33: "#f2cc60", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd", 90: "#8b949e",
    91: "#ffa198", 92: "#a5f3b0", 93: "#f8e3a1", 94: "#a5d6ff", 95: "#e2c5ff", 96: "#96e8ee",
}  # fmt: skip


class Style(NamedTuple):
    """How a character looks."""

    colour: int = 39
    bold: bool = False
    dim: bool = False


class Output(NamedTuple):
    """What a command had written by a time. at: s since it began."""

    at: float
    text: str


Line = tuple[tuple[str, Style], ...]


class Terminal:
    """The lines that a terminal has shown, of programs that move the cursor no further than Rich does."""

    def __init__(self) -> None:
        self._lines: list[dict[int, tuple[str, Style]]] = [{}]
        self._row = self._column = 0
        self._style = Style()

    def write(self, text: str) -> None:
        """Show some output."""
        for code in _CODE.finditer(text):
            numbers, letter, end, words = code.groups()
            if letter:
                self._control(numbers, letter)
            elif end == "\r":
                self._column = 0
            elif end:
                self._row, self._column = self._row + 1, 0
                self._lines += [{} for _ in range(self._row - len(self._lines) + 1)]
            for character in words or "":
                self._lines[self._row][self._column] = (character, self._style)
                self._column += 1

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "A":
            self._row = max(self._row - int(numbers or 1), 0)
        elif letter == "K":
            self._lines[self._row] = {}
        elif letter == "m":
            for number in map(int, (numbers or "0").split(";")):
                self._style = _styled(self._style, number)

    def shown(self) -> list[Line]:
        """The last lines, those that a window of this size shows; one below the cursor is empty."""
        used = max((row for row, line in enumerate(self._lines) if line), default=0) + 1
        last = self._lines[max(used - LINES, 0) : used]
        blank = (" ", Style())
        return [
            tuple(line.get(column, blank) for column in range(min(max(line, default=-1) + 1, COLUMNS))) for line in last
        ]


def _styled(style: Style, number: int) -> Style:
    if number == 0:
        return Style()
    if number in (1, 2, 22):
        return style._replace(bold=number == 1, dim=number == 2)
    return style._replace(colour=number) if number in _COLOURS or number == 39 else style


def run(command: Sequence[str]) -> Iterator[Output]:
    """Run a command on a terminal of its own; what it writes, as it comes. Raises CalledProcessError."""
    here, there = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(LINES), "COLORTERM": ""}
    began, decoder = time.monotonic(), codecs.getincrementaldecoder("utf-8")("replace")
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=environment) as process:
        os.close(there)
        while process.poll() is None or select.select([here], [], [], 0)[0]:
            if select.select([here], [], [], 0.2)[0]:
                try:
                    text = decoder.decode(os.read(here, 1 << 16))
                except OSError:  # the command has closed the terminal
                    break
                yield Output(time.monotonic() - began, text)
    os.close(here)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def frames(recorded: Iterable[Output], first: str) -> list[tuple[float, list[Line]]]:
    """Times, s as they are shown, and the lines of each picture that differs from the one before. first: a line."""
    terminal, found, due = Terminal(), list[tuple[float, list[Line]]](), 0.0
    terminal.write(first)
    for at, text in recorded:
        if at >= due:
            found.append((due / _FASTER, terminal.shown()))
            due = at + _EVERY
        terminal.write(text)
    found.append((due / _FASTER, terminal.shown()))
    return [next(own) for _, own in groupby(found, key=lambda each: each[1])]


def picture(shown: Sequence[tuple[float, Sequence[Line]]]) -> str:
    """An SVG that shows the pictures in turn, for ever."""
    lines = {line: f"l{number}" for number, line in enumerate(dict.fromkeys(each for _, own in shown for each in own))}
    width, height = round(COLUMNS * _WIDE) + 2 * _EDGE, LINES * _HIGH + 2 * _EDGE
    length, last = shown[-1][0] + _END, len(shown) - 1
    steps = "".join(
        f"{100 * at / length:.3f}%{{transform:translateX(-{n * width}px)}}" for n, (at, _) in enumerate(shown)
    )
    views = "".join(
        f'<g transform="translate({n * width + _EDGE},{_EDGE})">'
        + "".join(f'<use href="#{lines[line]}" y="{row * _HIGH}"/>' for row, line in enumerate(own) if line)
        + "</g>"
        for n, (_, own) in enumerate(shown)
    )
    defined = "".join(f'<text id="{name}" y="13">{_spans(line)}</text>' for line, name in lines.items() if line)
    colours = "".join(f".c{number}{{fill:{colour}}}" for number, colour in _COLOURS.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        "<title>driftline demo: faults are planted, found and resolved</title><style>"
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#e6edf3;"
        f"white-space:pre}}.b{{font-weight:700}}.d{{fill-opacity:.62}}{colours}"
        f"@keyframes run{{{steps}100%{{transform:translateX(-{last * width}px)}}}}"
        f"#run{{animation:run {length:.1f}s steps(1) infinite}}"
        f"@media(prefers-reduced-motion){{#run{{animation:none;transform:translateX(-{last * width}px)}}}}"
        f'</style><rect width="{width}" height="{height}" rx="8" fill="#0d1117"/><defs>{defined}</defs>'
        f'<g id="run">{views}</g></svg>\n'
    )


def _spans(line: Line) -> str:
    """A line as text: what looks alike together, each at its own column."""
    spans, column = list[str](), 0
    for style, own in groupby(line, key=lambda each: each[1]):
        text = "".join(character for character, _ in own)
        if text.strip():
            names = [*([f"c{style.colour}"] if style.colour != 39 else []), *"b" * style.bold, *"d" * style.dim]
            looks = f' class="{" ".join(names)}"' if names else ""
            room = f' textLength="{len(text) * _WIDE:.1f}"'
            spans.append(f'<tspan x="{column * _WIDE:.1f}"{room}{looks}>{escape(text, quote=False)}</tspan>')
        column += len(text)
    return "".join(spans)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="the file to write, such as docs/images/demo.svg")
    parser.add_argument("--seed", type=int, default=7, help="of the demo's traffic")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-m", "driftline", "demo", "--seed", str(options.seed)]
    recorded = list(run(command))
    options.picture.write_text(picture(frames(recorded, "$ driftline demo\r\n")), "utf-8")
    print(f"{options.picture}: {options.picture.stat().st_size / 1e3:.0f} kB, a run of {recorded[-1].at:.0f} s")


if __name__ == "__main__":
    main()
