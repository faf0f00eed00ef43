"""What `driftline top` shows on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from driftline.stream.config.sections import Config
from driftline.stream.serve.live import Failure, Lag, Now
from driftline.stream.serve.top import screen
from tests.serve.test_pages import AT, HOSTILE, listed, model


def shown(now: Now, width: int = 100, height: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(now, Config(), AT, height))
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return printed.getvalue().splitlines()


def test_incidents_come_before_models_and_driftline_itself() -> None:
    now = Now(
        at=AT,
        began=True,
        models=[model()],
        incidents=[listed(5, severity="critical")],
        lags=[Lag("predictions", "counted", 7, 4)],
        failures={"topics": Failure(AT, "no broker")},
    )
    lines = shown(now)

    assert lines[0] == "1 incident is open: fraud."
    assert "topics cannot be read: no broker. This is from before." in lines
    assert any(line.startswith("▲ critical  2026-06-01 09:05:00  2 h 55 min  fraud: amount mean 5") for line in lines)
    assert any(line.startswith("✓ as usual  fraud") for line in lines)
    assert "records not yet counted: 7  (predictions, 4 partitions)" in lines


def test_where_there_is_little_room_titles_are_cut_and_rows_left_out() -> None:
    incidents = [listed(i, title="fraud: " + "x" * 200) for i in range(40)]
    now = Now(at=AT, began=True, models=[model(f"m{i}") for i in range(40)], incidents=incidents)
    lines = shown(now, width=80, height=24)

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines if line.startswith("and ")] == ["and 35 more"] * 2
    assert any("xxx…" in line and "2026-06-01 09:00:00" in line for line in lines)


def test_names_from_traffic_cannot_control_the_terminal() -> None:
    now = Now(at=AT, began=True, models=[model(HOSTILE)], incidents=[listed(title=HOSTILE, severity=HOSTILE)])

    assert not any("\x1b" in line or "\u202e" in line for line in shown(now))
