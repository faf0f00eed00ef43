"""The console script in this process: what it exits with and prints."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from driftline.stream.cli import main as cli


class CommandResult(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """All that was printed, on one line and without the borders of tables."""
        return " ".join(f"{self.out} {self.err}".replace("│", " ").split())


Run = Callable[..., CommandResult]


def console_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that takes the arguments of `driftline`, and standard input as `stdin`."""

    def main(*arguments: str, stdin: bytes = b"") -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["driftline", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return CommandResult(int(ended.value.code or 0), printed.out, printed.err)

    return main
