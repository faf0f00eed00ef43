"""The benchmarks of pages and of timelines run, on few models and signals: their figures are those of real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_tests.bench import serve, timelines


def test_the_pages_of_a_small_group_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, few in {"_REQUESTS": 2, "_SIGNALS": 5, "_HOURS": 200, "_REST": 0.5}.items():
        monkeypatch.setattr(serve, name, few)
    figures = serve.measured(11, 2, tmp_path)
    pages = [each for each in figures.values() if "p95_ms" in each]
    assert len(pages) == 6
    assert min(each["kB"] for each in pages) > 5


def test_a_full_timeline_is_measured_by_its_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "_PANES", 60)
    timelines.main(["--signals", "2"])
    figures = json.loads(capsys.readouterr().out)
    assert 0 < figures["hour_bytes"] < figures["day_bytes"]
