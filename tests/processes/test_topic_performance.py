"""`driftline performance` on topics: predictions and labels on a broker give what tables of the same rows give."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.stream.outcomes.performance import concatenated
from driftline.stream.outcomes.rows import Rows
from tests.harness.brokers import Broker
from tests.harness.outcomes import outcomes
from tests.harness.topic_tools import Sent, Site, driftline, write_lines

DAY = 86_400_000
ROWS = concatenated(outcomes(4000, 1), outcomes(2000, 2, 4000, concept=0.6))


def predictions(rows: Rows, model: str, labelled: bool = False) -> Iterator[bytes]:
    """Prediction events in the native schema."""
    for id_, ts, prediction, score, label in zip(
        rows.ids, rows.ts.tolist(), rows.prediction, rows.score.tolist(), rows.label, strict=True
    ):
        event = {"id": id_, "ts": ts, "model": model, "prediction": prediction, "score": score}
        yield json.dumps(event | ({"label": label} if labelled else {})).encode()


def labels(rows: Rows, model: str, seed: int) -> list[bytes]:
    """Label events in random order, a day late; some are wrong at first, some come twice, some are of another model."""
    draw, found = random.Random(seed), list[bytes]()
    for id_, ts, label in zip(rows.ids, rows.ts.tolist(), rows.label, strict=True):
        event = {"id": id_, "model": model, "label": label, "ts": ts + DAY}
        if draw.random() < 0.05:
            found.append(json.dumps(event | {"label": "fine" if label == "fraud" else "fraud", "ts": ts + 1}).encode())
        found += [json.dumps(event).encode()] * (1 + (draw.random() < 0.05))
        if draw.random() < 0.1:
            found.append(json.dumps(event | {"model": "other", "label": "fine", "ts": ts + 9 * DAY}).encode())
    draw.shuffle(found)
    return found


def spread(messages: list[bytes], partitions: int) -> list[Sent]:
    return [Sent(number % partitions, message) for number, message in enumerate(messages)]


def facts(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 1) -> dict:
    assert driftline("performance", *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_labels_of_a_topic_joined_to_predictions_of_another_give_the_figures_of_a_table(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site.on(broker, tmp_path, partitions=3)
    site.create(site.config.topics.labels, 2)
    site.send(site.predictions, spread(list(predictions(ROWS, "payments")), 3))
    site.send(site.config.topics.labels, spread(labels(ROWS, "payments", 3), 2))
    table = write_lines(tmp_path / "direct.jsonl", predictions(ROWS, "payments", labelled=True))

    direct = facts(capsys, table)
    joined = facts(
        capsys, f"kafka://{site.predictions}", "--labels", f"kafka://{site.config.topics.labels}", "-c", site.path
    )

    assert joined["model"] == "payments"
    assert joined["periods"] == direct["periods"]
    assert joined["changes"] == direct["changes"]
    assert joined["labels"]["matched"] == len(ROWS)
    assert joined["labels"]["corrected"] > 200
    assert joined["labels"]["unmatched"] == 0


def test_events_with_a_label_of_their_own_need_no_other_topic_and_one_model_is_named(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site.on(broker, tmp_path)
    both = [*predictions(ROWS, "payments", labelled=True), *predictions(outcomes(50, 4), "refunds", labelled=True)]
    site.send(site.predictions, spread(sorted(both, key=lambda each: json.loads(each)["ts"]), 1))
    topic = f"kafka://{site.predictions}"

    assert driftline("performance", topic, "-c", site.path) == 2
    assert "holds events of payments, refunds; name one with --model" in " ".join(capsys.readouterr().err.split())
    found = facts(capsys, topic, "-c", site.path, "--model", "payments")
    assert found["total"]["labelled"] == len(ROWS)
    assert any("50 events of other models are left out" in each for each in found["notes"])


def test_columns_of_a_topic_and_times_of_a_file_are_refused_by_name(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, table = Site.on(broker, tmp_path), write_lines(tmp_path / "a.jsonl", predictions(outcomes(50, 5), "m"))

    for arguments, reason in (
        ((f"kafka://{site.predictions}", "--label", "y"), "the columns of a topic are those of `mapping`"),
        ((f"kafka://{site.predictions}", "--labels", table), "predictions of a topic have labels of a topic"),
        ((table, "--from", "2026-01-01T00:00:00Z"), "--from and --to are for topics"),
    ):
        assert driftline("performance", *arguments, "-c", site.path) == 2
        assert reason in " ".join(capsys.readouterr().err.replace("│", " ").split())
