"""Prediction events of one model as JSONL on stdout; halfway, `amount` is sent in cents instead of euros."""

from __future__ import annotations

import json
import random

EVENTS = 40_000


def main() -> None:
    draw = random.Random(7)  # the same events on every run
    for index in range(EVENTS):
        unit = 1 if index < EVENTS // 2 else 100
        event = {
            "id": f"event-{index}",
            "ts": 1_767_225_600_000 + 1_000 * index,  # epoch milliseconds, one event a second from 2026-01-01
            "model": "payments",
            "features": {"amount": unit * draw.lognormvariate(3, 1), "age": draw.randint(18, 90)},
            "score": draw.random(),
        }
        print(json.dumps(event))


if __name__ == "__main__":
    main()
