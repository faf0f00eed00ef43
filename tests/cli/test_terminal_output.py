"""What commands print: as wide as the terminal, and whole lines without frames in a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.stream.cli.terminal import out
from tests.harness.command_line import Run

FRAMES = set("│─╭╮╰╯━┃╺╸")


@pytest.fixture
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def table(names: int) -> None:
    head = ",".join(f"a_column_with_a_long_name_{index}" for index in range(names))
    Path("t.csv").write_text(f"{head}\n" + "".join(",".join(["some text"] * names) + "\n" for _ in range(100)))


@pytest.mark.usefixtures("no_columns")
def test_a_pipe_gets_no_frames_and_no_line_is_cut_or_broken(run: Run) -> None:
    table(4)

    found = run("inspect", "t.csv")

    assert FRAMES.isdisjoint(found.out)
    assert "id        $record" in found.out
    [row] = [line for line in found.out.splitlines() if line.startswith("a_column_with_a_long_name_3")]
    assert row.split() == ["a_column_with_a_long_name_3", "constant", "1", "some", "text", "not", "monitored"]
    assert max(map(len, found.out.splitlines())) < 200


@pytest.mark.usefixtures("no_columns")
def test_a_replay_in_a_pipe_prints_alerts_without_frames(run: Run) -> None:
    rows = [f"{1_760_000_000 + 60 * row},{row % 17 + (row > 5500) * 30}\n" for row in range(6000)]
    Path("log.csv").write_text("ts,x\n" + "".join(rows))
    Path("c.yaml").write_text("mapping: {ts: ts, id: $record, model: =m, features: rest}\n")

    found = run("replay", "log.csv", "-c", "c.yaml")

    assert found.code == 1
    assert FRAMES.isdisjoint(found.out)
    assert "FIRING m\n  since " in found.out


def test_columns_says_how_wide_a_pipe_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert out.width == 70
    monkeypatch.delenv("COLUMNS")
    assert out.width > 1000


def test_columns_of_the_import_do_not_outlast_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    later = type(out)()
    assert later.width == 80
    monkeypatch.delenv("COLUMNS")
    assert later.width > 1000
