"""Signals of a baseline that live traffic never has, such as a label that only the training data hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.remarks import Remark

# Values of a signal that live traffic should have had by now. If the signal were still there, none of 20 would come
# with probability e^-20; with 5, one of 150 rare signals would be called unseen by chance.
_EXPECTED = 20


def never_seen(baseline: Baseline, live: Sketch) -> list[str]:
    """Names of the signals that are missing in all live events, and would have come had traffic been the baseline's.

    live: the sketch of live events in the layout of `baseline`.
    """
    layout, total = baseline.layout, baseline.total
    absent = []
    for s, signal in enumerate(layout.signals):
        missing = layout.special_column(s, Special.MISSING)
        expected = live.n * (1 - total.counts[missing] / max(total.n, 1))
        if live.counts[missing] == live.n and expected >= _EXPECTED and signal.groups_of is None:
            absent.append(signal.name)
    return absent


def unseen_remarks(baseline: Baseline, live: Sketch) -> Iterator[Remark]:
    """A remark on the signals that were never seen, if there are any."""
    if names := never_seen(baseline, live):
        are = "is" if len(names) == 1 else "are"
        found = f"{', '.join(names)} {are} in the baseline, but never in {live.n:,} live events"
        help = "leave it out with `signals.exclude`, or correct `mapping` if events have it under another name"
        yield Remark((), f"model {baseline.model}: {found}", help)
