"""Tables of payments as people have them, with faults planted from a row on."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 9, 1, tzinfo=UTC)


def payments(rows: int, drift_from: int | None = None, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Rows with names of their owner's choosing. From `drift_from` on, 40 % of the amounts are in cents, a third of
    `device_trust` is missing, distances are twice as long, and twice as many payments are reviewed."""
    chance = random.Random(seed)
    for row in range(rows):
        drifts = drift_from is not None and row >= drift_from
        unit = 100 if drifts and chance.random() < 0.4 else 1
        yield {
            "paid_at": (START + timedelta(minutes=7 * row)).strftime("%Y-%m-%d %H:%M:%S"),
            "order": f"p-{seed}-{row:06d}",
            "amount": round(chance.lognormvariate(3, 1) * unit, 2),
            "distance km": round(chance.expovariate(1 / (16 if drifts else 8)), 1),
            "country": chance.choices(["de", "fr", "pl"], [5, 3, 2])[0],
            "device_trust": None if drifts and chance.random() < 0.33 else round(chance.betavariate(5, 2), 3),
            "decision": chance.choices(["pass", "review"], [6, 4] if drifts else [8, 2])[0],
        }


def write_csv(path: Path, rows: list[dict[str, Any]], *leave_out: str) -> None:
    """Write rows as a table; an absent value is an empty cell."""
    names = [name for name in rows[0] if name not in leave_out]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
