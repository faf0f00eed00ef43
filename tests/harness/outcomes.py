"""Made-up predictions with scores and labels: the mix of scores may move, and labels may cease to follow them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from driftline.stream.outcomes.rows import Rows

#: 1 January 2026, and ten minutes, in milliseconds.
START, STEP = 1_767_225_600_000, 600_000


def outcomes(n: int, seed: int, at: int = 0, mix: float = 0.0, concept: float = 0.0) -> Rows:
    """Rows every ten minutes, the first one as number `at`."""
    draw = np.random.default_rng(seed)
    score = np.round(draw.beta(2 + mix, 5, n), 4)
    label = draw.random(n) < np.clip(score + concept * (0.5 - score), 0, 1)
    return Rows(
        [f"p-{at + each}" for each in range(n)],
        START + (at + np.arange(n)) * STEP,
        ["fraud" if each > 0.5 else "fine" for each in score.tolist()],
        score,
        ["fraud" if each else "fine" for each in label.tolist()],
    )


def documents(rows: Rows) -> Iterator[dict[str, Any]]:
    """The rows as JSON objects with flat columns."""
    for id_, ts, prediction, score, label in zip(
        rows.ids, rows.ts.tolist(), rows.prediction, rows.score.tolist(), rows.label, strict=True
    ):
        yield {"id": id_, "paid_at": ts // 1000, "decision": prediction, "score": score, "fraudulent": label}
