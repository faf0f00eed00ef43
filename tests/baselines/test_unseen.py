"""Signals that a baseline has and live traffic never has."""

from __future__ import annotations

import numpy as np

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.unseen import never_seen, unseen_remarks
from driftline.stream.events.event import Event

VALUES = np.random.default_rng(7).normal(size=(1000, 2)).tolist()


def events(*names: str, every: int = 1) -> list[Event]:
    """1000 events with these signals, of which every `every`-th has the last one."""
    return [
        Event(str(i), i, "m", None, dict(zip(names if i % every == 0 else names[:-1], row, strict=False)))
        for i, row in enumerate(VALUES)
    ]


def test_a_label_that_only_the_baseline_has_is_found() -> None:
    baseline = build_baseline(events("features.x", "features.label"), {"model": "m"})
    assert never_seen(baseline, baseline.sketch_events(events("features.x"))) == ["features.label"]
    assert never_seen(baseline, baseline.sketch_events(events("features.x", "features.label"))) == []


def test_a_signal_is_not_called_unseen_after_too_few_events() -> None:
    often = build_baseline(events("features.x", "features.label"), {"model": "m"})
    assert never_seen(often, often.sketch_events(events("features.x")[:19])) == []
    rarely = build_baseline(events("features.x", "features.y", every=100), {"model": "m"})
    assert never_seen(rarely, rarely.sketch_events(events("features.x"))) == []


def test_the_remark_names_the_signals_and_what_helps() -> None:
    baseline = build_baseline(events("features.x", "features.label"), {"model": "m"})
    (remark,) = unseen_remarks(baseline, baseline.sketch_events(events("features.x")))
    assert remark.message == "model m: features.label is in the baseline, but never in 1,000 live events"
    assert remark.help.startswith("leave it out with `signals.exclude`")
