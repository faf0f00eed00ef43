"""The benchmark on real traffic, on a small table of the same form."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from driftline.stream.codec.levels import NEWEST
from load_tests.bench.real import run, weather


def test_planted_faults_are_seen_and_traffic_as_it_was_raises_no_page(tmp_path: Path) -> None:
    rng, begin, names = (
        np.random.default_rng(0),
        datetime(2013, 1, 1, tzinfo=UTC),
        ("temp", "dewp", "humid", "wind_dir"),
    )
    names = (*names, "wind_speed", "precip", "pressure", "visib")
    with (tmp_path / "weather.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time_hour", "origin", *names])
        for hour in range(120 * 24):
            for origin in ("EWR", "JFK", "LGA"):
                time = (begin + timedelta(hours=hour)).isoformat()
                table.writerow([time, origin, *rng.normal(60, 10, len(names)).round(3)])
    traffic = weather(tmp_path)
    assert traffic is not None
    found = run(traffic, NEWEST)
    assert found["alerts"] == []
    assert all(0 < events <= 100 for events in found["planted"]["3 σ"]["events"])
    assert all(0 < events <= 500 for events in found["planted"]["5 % missing"]["events"])
