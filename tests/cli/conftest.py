"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.command_line import Run, console_script


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The console script in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return console_script(monkeypatch, capsys)
