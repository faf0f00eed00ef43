"""Print synthetic predictions of one model as JSONL. From the 8,001st on, `amount` is in cents instead of euros.

The model's baseline is learned from the first 5,000, so the change is the only drift.
"""

from __future__ import annotations

import json
import random
import sys

EVENTS, CHANGE = 12_000, 8_000


def main() -> None:
    draw = random.Random(7)  # the same events on every run
    for index in range(EVENTS):
        unit = 100 if index >= CHANGE else 1
        event = {
            "id": f"demo-{index}",
            "ts": 1_767_225_600_000 + 100 * index,  # epoch milliseconds, ten a second from 2026-01-01
            "model": "demo",
            "features": {
                "amount": round(unit * draw.lognormvariate(3, 1), 2),
                "age": draw.randint(18, 90),
                "country": draw.choice(["at", "de", "fr", "nl"]),
            },
            "score": round(draw.betavariate(2, 5), 4),
        }
        sys.stdout.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()
