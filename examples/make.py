"""Makes the data of the examples anew: made up, the same on every run.

python examples/make.py
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro

HERE = Path(__file__).parent
START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def churn(chance: random.Random, rows: int = 1500, drift_from: int = 1100) -> None:
    """A table as pandas writes it; from `drift_from` on, customers are newer."""
    with (HERE / "table/churn.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["", "scored at", "customer_id", "tenure months", "monthly.charges", "contract", "calls", "pred", "prob"]
        )
        for row in range(rows):
            tenure = round(chance.gammavariate(4, 8) * (0.6 if row >= drift_from else 1), 1)
            prob = round(chance.betavariate(2, 5), 4)
            table.writerow([
                row, f"{START + timedelta(minutes=2 * row):%Y-%m-%d %H:%M:%S}", chance.randrange(10_000, 99_999),
                tenure, round(chance.gauss(64, 18), 2), chance.choice(["monthly", "yearly", "two years"]),
                chance.choice([0, 0, 1, 2, 5]), int(prob > 0.5), prob,
            ])  # fmt: skip


def deliveries(chance: random.Random, rows: int = 1200) -> None:
    """Flat JSON without a drift."""
    write_lines(
        "flat-json/deliveries.jsonl",
        (
            {
                "order_id": f"o-{row:06}", "created_at": int((START + timedelta(seconds=40 * row)).timestamp()),
                "model_name": "eta", "distance_km": round(chance.gammavariate(3, 1.4), 2),
                "vehicle": chance.choice(["bike", "bike", "car", "van"]), "items": chance.randrange(1, 6),
                "rain": chance.random() < 0.2, "predicted_minutes": round(chance.gauss(31, 8), 1),
            }
            for row in range(rows)
        ),
    )  # fmt: skip


def requests(chance: random.Random, count: int = 450, drift_from: int = 330) -> None:
    """Requests to a model server, of 4 rows each; from `drift_from` on, amounts are in another currency."""

    def request(number: int) -> dict[str, Any]:
        factor = 1.9 if number >= drift_from else 1.0
        amounts = [round(chance.lognormvariate(3.5, 0.5) * factor, 2) for _ in range(4)]
        ages = [chance.randrange(18, 80) for _ in range(4)]
        return {
            "specversion": "1.0", "id": f"req-{number}", "type": "org.kubeflow.serving.inference.request",
            "time": f"{START + timedelta(seconds=9 * number):%Y-%m-%dT%H:%M:%SZ}", "inferenceservicename": "fraud",
            "data": {"inputs": [
                {"name": "amount", "shape": [4, 1], "datatype": "FP64", "data": amounts},
                {"name": "age", "shape": [4, 1], "datatype": "INT64", "data": ages},
            ]},
        }  # fmt: skip

    write_lines("kserve/requests.jsonl", map(request, range(count)))


def changes(chance: random.Random, rows: int = 700, drift_from: int = 520) -> None:
    """Changes of a table of scored loans, in Kafka Connect's envelope; from `drift_from` on, a channel is new."""

    def change(number: int) -> dict[str, Any]:
        ms = int((START + timedelta(seconds=50 * number)).timestamp() * 1000)
        channels = ["branch", "web"] if number < drift_from else ["partner", "web", "branch"]
        after = {
            "loan_id": 50_000 + number, "amount": round(chance.gauss(9000, 2500), -1),
            "months": chance.choice([12, 24, 48]), "channel": chance.choice(channels),
            "score": round(chance.betavariate(3, 3), 4),
        }  # fmt: skip
        payload = {"before": None, "after": after, "source": {"table": "loans"}, "op": "c", "ts_ms": ms}
        return {"schema": None, "payload": payload}

    write_lines("debezium/changes.jsonl", map(change, range(rows)))


def readings(chance: random.Random, rows: int = 3000, drift_from: int = 2200) -> None:
    """Avro, with nulls; from `drift_from` on, a sensor is missing more often."""
    fields = {
        "event_id": "string", "event_time": {"type": "long", "logicalType": "timestamp-millis"}, "model": "string",
        "temperature": ["null", "double"], "pressure": "double", "line": "string", "score": "double",
    }  # fmt: skip
    schema = {
        "type": "record",
        "name": "Reading",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }

    def missing(row: int) -> float:
        return 0.2 if row >= drift_from else 0.02

    records = [
        {
            "event_id": f"{chance.getrandbits(64):016x}", "event_time": START + timedelta(seconds=30 * row),
            "model": "maintenance", "pressure": round(chance.gauss(4.2, 0.3), 3), "line": chance.choice(["a", "b"]),
            "temperature": round(chance.gauss(71, 3), 2) if chance.random() > missing(row) else None,
            "score": round(chance.betavariate(1.5, 8), 4),
        }
        for row in range(rows)
    ]  # fmt: skip
    with (HERE / "avro/readings.avro").open("wb") as file:
        fastavro.writer(file, schema, records, codec="deflate", sync_marker=b"driftlineexample")


def write_lines(name: str, documents: Iterable[dict[str, Any]]) -> None:
    """One document a line."""
    (HERE / name).write_text("".join(json.dumps(document) + "\n" for document in documents))


def main() -> None:
    """Make all files."""
    for number, make in enumerate((churn, deliveries, requests, changes, readings)):
        make(random.Random(number))


if __name__ == "__main__":
    main()
