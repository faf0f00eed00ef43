"""When a drift that is over has ended, and what a change is held against, in what a replay found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

import driftline
from driftline.stream.results.overview import SignalView

pytest.importorskip("pyarrow")
START, STEP = datetime(2026, 9, 1, tzinfo=UTC), timedelta(minutes=10)


def table(seed: int, *stages: tuple[int, float]) -> dict[str, list[Any]]:
    """Amounts in stages, each of a number of rows and a mean, and counts that stay as they are; a row every 10 min."""
    draw, rows = np.random.default_rng(seed), sum(n for n, _ in stages)
    amounts = np.concatenate([draw.normal(mean, 1.0, n) for n, mean in stages])
    return {
        "at": [(START + row * STEP).isoformat() for row in range(rows)],
        "amount": amounts.round(3).tolist(),
        "count": draw.poisson(20, rows).tolist(),
    }


def amount(live: dict[str, list[Any]], config: str | None = None) -> SignalView:
    result = driftline.compare(table(1, (6000, 10.0)), live, time="at", config=config)
    return next(each for each in result.scan.overview.models[0].signals if each.short == "amount")


def test_a_drift_that_is_over_ends_with_the_last_stretch_that_was_different() -> None:
    found = amount(table(2, (2000, 10.0), (1000, 13.0), (5000, 10.0)))
    (episode,) = found.episodes
    began, ended = (
        (datetime.fromtimestamp(each / 1000, UTC) - START) / STEP for each in (episode.since, episode.until)
    )

    # A stretch of the map is 67 rows.
    assert not found.is_open
    assert abs(began - 2000) < 70
    assert abs(ended - 3000) < 140
    assert found.after.n == pytest.approx(1000, abs=140)
    assert found.figure.after == pytest.approx(13.0, abs=0.2)


def test_a_drift_against_the_past_is_compared_with_what_came_before_it() -> None:
    live = table(2, (4000, 12.0), (2000, 15.0))
    found = amount(live, "defaults: {reference: past}")

    assert found.episode is not None
    assert found.episode.finding.against_past
    assert found.figure.before == pytest.approx(12.0, abs=0.2)  # the baseline's mean is 10
    assert found.figure.after == pytest.approx(15.0, abs=0.2)
