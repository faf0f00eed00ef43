"""The pictures of reports and of `driftline serve` in docs/images, of made-up payments.

    python -m examples.pictures docs/images

It takes some minutes: a broker, Redis, a worker and the server run as they do elsewhere, and Chromium
(`apt-get install chromium`) takes the pictures. Payments follow the hours of the day; some days ago, and again since
yesterday, a supplier of one column is away, amounts of the app come in cents, and labels follow scores no longer.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.demo.servers import embedded_broker
from driftline.stream.events.parse import parse_event
from load_tests.harness.deployment import Broker, Deployment, WorkerProcess, deploy
from load_tests.harness.servers import real_redis

_HOUR, _DAY = 3_600_000, 86_400_000
# Days of the reference and of what is compared with it, and payments in an hour at noon.
_KNOWN, _LIVE, _NOON = 28, 8, 120
# When it is not as usual, in hours from the beginning of what is compared.
_FAULTS = (range(88, 102), range(150, _LIVE * 24))
_FEATURES = (
    "amount", "distance_km", "device_trust", "channel", "country", "age_days", "attempts", "basket_items", "is_new",
)  # fmt: skip
# The last payments, less than those of a day; s after which a worker has said how far it has read.
_LAST, _TICK = 1500, 15.0
# Width and height of a picture of a whole page.
_WIDE, _HIGH = 1200, 1500


def payments(first: int, hours: int, faults: Sequence[range], seed: int) -> Iterator[dict[str, Any]]:
    """Payments by time. first: epoch ms of the first hour. faults: hours, from the first one, that are not as usual."""
    rng, number = np.random.default_rng(seed), 0
    for hour in range(hours):
        sun, is_odd = -math.cos(2 * math.pi * (first // _HOUR + hour) / 24), any(hour in each for each in faults)
        for at in np.sort(rng.integers(0, _HOUR, rng.poisson(_NOON * (0.75 + 0.25 * sun)))):
            number += 1
            yield _payment(rng, f"p{seed}-{number}", first + hour * _HOUR + int(at), sun, is_odd)


def _payment(rng: np.random.Generator, name: str, ts: int, sun: float, is_odd: bool) -> dict[str, Any]:
    channel = str(rng.choice(["app", "web", "till"], p=[0.4, 0.3 - 0.1 * sun, 0.3 + 0.1 * sun]))
    in_cents = is_odd and channel == "app"
    score = float(np.clip(rng.beta(2, 6) + 0.05 * is_odd, 0.0, 1.0))
    chance = 0.5 * score + 0.2 if is_odd and rng.random() < 0.6 else min(1.6 * score**1.5, 1.0)
    features = {
        "amount": round(float(rng.lognormal(3.0 + 0.4 * sun, 0.8)) * (100 if in_cents else 1), 2),
        "distance_km": round(float(rng.gamma(2.0, 3.5 + 1.5 * sun)), 2),
        "device_trust": None if is_odd and rng.random() < 0.3 else round(float(rng.beta(6, 2)), 3),
        "channel": channel,
        "country": str(rng.choice(["AT", "CH", "DE"], p=[0.3, 0.2, 0.5])),
        "age_days": int(rng.gamma(1.5, 300)),
        "attempts": int(rng.poisson(1.2)),
        "basket_items": int(rng.poisson(3.0)),
        "is_new": bool(rng.random() < 0.1),
    }
    decision = "review" if score > (0.28 if is_odd else 0.33) else "pass"
    label = "review" if rng.random() < chance else "pass"
    return {
        "id": name, "ts": ts, "model": "payments", "features": features, "prediction": decision,
        "score": round(score, 4), "label": label,
    }  # fmt: skip


def report(page: Page, folder: Path, images: Path) -> None:
    """report.png: a scan of a month of payments against the month before."""
    first = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp() * 1000)
    _table(folder / "training.csv", payments(first, 31 * 24, [], 1))
    _table(folder / "payments.csv", payments(first + 31 * _DAY, 30 * 24, [range(470, 720)], 2))
    command = [
        sys.executable, "-m", "driftline", "scan", "payments.csv", "--reference", "training.csv", "--time", "ts",
        "--report", "report.html", "--quiet",
    ]  # fmt: skip
    assert subprocess.run(command, cwd=folder, check=False).returncode == 1
    page.set_viewport_size({"width": _WIDE, "height": _HIGH})
    page.goto((folder / "report.html").as_uri())
    page.screenshot(path=images / "report.png")


def _table(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ts", *_FEATURES, "prediction"])
        for row in list(rows)[::10]:
            at = datetime.fromtimestamp(row["ts"] / 1000, UTC)
            table.writerow([f"{at:%Y-%m-%d %H:%M:%S}", *row["features"].values(), row["prediction"]])


def serve(page: Page, folder: Path, images: Path) -> None:
    """serve-*.png: the page of a model, of a signal, and how right the model is."""
    begin = int(time.time() * 1000) // _HOUR * _HOUR - _LIVE * _DAY
    with embedded_broker(folder) as broker, real_redis(folder) as redis:
        here = _deployment(folder, Broker(broker, idempotent=False), redis.address, begin)
        live = [json.dumps(each).encode() for each in payments(begin, _LIVE * 24, _FAULTS, 4)]
        with here.worker(), here.pages() as pages:
            # Nobody believes a time that is a day ahead of what a worker has read up to, which it says every 10 s.
            for part in (live[:-_LAST], live[-_LAST:]):
                here.produce({0: part})
                pages.wait_for(lambda: _judged(pages) > 0)
                time.sleep(_TICK)
            pages.wait_for(lambda: _judged(pages) > len(live) - _LAST)
            for name, path, part in (
                ("model", "", "body"), ("signal", "&signal=features.amount", "body"), ("outcomes", "", "#outcomes"),
            ):  # fmt: skip
                page.set_viewport_size({"width": 1000, "height": 800})
                page.goto(f"http://{pages.address}/models?name=payments&span=7d{path}")
                # Not of the element: the page replaces what it shows when there is news.
                page.screenshot(
                    path=images / f"serve-{name}.png", full_page=True, clip=page.locator(part).bounding_box()
                )


def _judged(pages: WorkerProcess) -> int:
    """How many events the server says that workers have judged."""
    return sum(each["events"] or 0 for each in json.loads(pages.get("/api/models").body))


def _deployment(folder: Path, broker: Broker, redis: str, begin: int) -> Deployment:
    known = [json.dumps(each).encode() for each in payments(begin - _KNOWN * _DAY, _KNOWN * 24, [], 3)]
    events = [parse_event(each) for each in known]
    labelled = [
        replace(event, extras={"label": json.loads(message)["label"]})
        for event, message in zip(events, known, strict=True)
    ]
    built = build_baseline(events, {"model": "payments"}, BuildSettings(timezone="UTC")).with_derived()
    baseline = replace(built, outcomes=outcomes_of(labelled))
    (folder / "payments.driftline").write_bytes(encode_baseline(baseline))
    outcomes = {"labels": "event", "floors": {"accuracy": 0.7}}
    sections: dict[str, dict[str, Any]] = {
        "topics": {"retention_hours": None},
        "models": {"payments": {"baseline": "payments.driftline", "outcomes": outcomes}},
        "serve": {"http": "127.0.0.1:0"},
    }
    return deploy(folder, broker, redis, sections)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="the folder to write them to")
    images = parser.parse_args(arguments).images
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as directory:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=60_000)
        page = browser.new_page()
        for picture in (report, serve):
            folder = Path(directory) / picture.__name__
            folder.mkdir()
            picture(page, folder, images)
        browser.close()


if __name__ == "__main__":
    main()
