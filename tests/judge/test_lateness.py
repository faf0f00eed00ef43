"""Labels that come too late: they are noticed, and the wait that is proposed would have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from driftline.stream.judge.lateness import are_late, label_lags, late_remark
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.waiting import Counts, Waiting
from driftline.stream.panes.pane import Range
from tests.judge.test_waiting import CODING, EPOCH, Label, Prediction, halves_of, stubs_of

HOUR = 3_600_000
BOUNDS = Bounds(wait=24 * HOUR, slot=HOUR, keep=72 * HOUR, most=1_000_000)


def played(lags: list[int], bounds: Bounds = BOUNDS) -> Waiting:
    """One prediction a minute, each with a label so much later, read to the end. lags: ms."""
    times = [EPOCH + i * 60_000 for i in range(len(lags))]
    waiting = Waiting().expect(
        "", stubs_of([Prediction(f"p{i}", ts, "fine", 0.5) for i, ts in enumerate(times)]), Range(0, 0, 1), bounds
    )
    labels = [Label(f"p{i}", ts + lag, "fine") for i, (ts, lag) in enumerate(zip(times, lags, strict=True))]
    waiting = waiting.learn(halves_of(labels), Range(0, 0, 1), bounds)
    return waiting.close(times[-1] + 30 * HOUR, bounds, lambda _: CODING)[0]


def test_the_wait_that_is_proposed_has_nearly_all_labels() -> None:
    lags = (np.random.default_rng(1).gamma(4, 5 * HOUR, 2000)).astype(int).tolist()
    waiting = played(lags)
    assert are_late(waiting.counts)
    remark = late_remark(waiting.counts, label_lags(waiting, BOUNDS), BOUNDS)
    assert f"{waiting.counts.late:,} of 2,000 labels came too late and are not counted" in remark
    proposed = int(remark.rpartition("within ")[2].partition("d;")[0])
    assert proposed * 24 * HOUR == pytest.approx(np.quantile(lags, 0.99), abs=24 * HOUR)
    enough = replace(BOUNDS, wait=proposed * 24 * HOUR)
    assert not are_late(played(lags, enough).counts)
    assert sorted(label_lags(waiting, BOUNDS).tolist()) == sorted(lags)


def test_few_late_labels_are_no_news() -> None:
    assert not are_late(Counts(joined=950, late=50))
    assert are_late(Counts(joined=949, late=51))
    assert not are_late(Counts(joined=10, late=90))


def test_corrections_after_a_slot_is_judged_ask_for_no_longer_wait() -> None:
    lags = [60_000] * 500
    waiting = played(lags)
    corrections = [Label(f"p{i}", EPOCH + i * 60_000 + 5 * HOUR, "fraud") for i in range(0, 500, 10)]
    waiting = waiting.learn(halves_of(corrections), Range(0, 1, 2), BOUNDS)
    assert waiting.counts.late == 50
    assert are_late(waiting.counts)
    assert "as before a correction" in late_remark(waiting.counts, label_lags(waiting, BOUNDS), BOUNDS)
    assert label_lags(Waiting(), BOUNDS).tolist() == []
