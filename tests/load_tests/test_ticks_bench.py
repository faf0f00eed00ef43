"""The benchmark of ticks runs."""

from __future__ import annotations

import json

import pytest

from load_tests.bench.ticks import main


def test_it_prints_the_processor_time_of_each_kind_of_tick(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--models", "5", "--days", "3", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["models"], row["days"]) == (5, 3)
    assert all(row[kind] > 0 for kind in ("nothing", "slot", "hour"))
