"""How long a test waits for a worker."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import pytest

from load_tests.harness import deployment
from load_tests.harness.deployment import WorkerProcess


def test_a_wait_lasts_as_long_as_something_advances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "TIMEOUT", 0.2)
    figures, begun = count(), time.monotonic()
    with WorkerProcess(["sleep", "60"], tmp_path / "log") as worker:
        worker.wait_for(lambda: time.monotonic() > begun + 1, progress=lambda: next(figures))
        with pytest.raises(AssertionError, match="does not hold"):
            worker.wait_for(lambda: False, progress=lambda: "the same")
        with pytest.raises(AssertionError, match="does not hold"):
            worker.wait_for(lambda: False)
