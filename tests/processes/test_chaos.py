"""A short chaos run on a real Kafka and a real Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Those that last for seconds; the others are among all of a long run.
KINDS = (
    "worker SIG*,worker added,worker removed,redis SIGKILL,redis power cut,kafka SIGKILL,kafka SIGTERM,"
    "* connections cut,* delayed,relay *,pager away"
)


@pytest.mark.kafka
def test_a_short_run_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.jsonl"
    arguments = ["--seeds", "2", "--events", "30000", "--faults", "16", "--keep", str(tmp_path), "--out", str(out)]
    command = [sys.executable, "-m", "load_tests.chaos", *arguments, "--kinds", KINDS, "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    (result,) = json.loads(done.stdout)
    assert result == json.loads(out.read_text())
    assert (result["equal"], result["wrongs"]) == (True, [])
    assert (result["lost"], result["doubled"], result["models"]) == (0, 0, 30)
    assert result["alerts"] > 0
    assert result["incidents paged"] == result["incidents"] > 0
    assert result["transactions aborted"] > 0
    assert result["bytes lost in power cuts"] > 0
    assert result["runs ended by the clock"] > 0
    assert result["panes published again"] > 0
    again = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert json.loads(again.stdout) == [result], "what the file holds is not run again"
