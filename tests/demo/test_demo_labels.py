"""The labels of the demo: they follow the predictions, until concept drift is planted."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from driftline.stream.demo.scenario import BLOCK, HISTORY, LABELLED, Scenario, messages
from tests.demo.test_demo import at, block


def test_labels_follow_predictions_seconds_later_until_they_no_longer_do_in_two_countries() -> None:
    scenario, log, labels = Scenario(5), list[bytes](), dict[str, str]()
    for number in range(scenario.events // BLOCK):
        log += block(scenario, number)
        for label in map(orjson.loads, scenario.labels(number, "refund-{}".format, at(number * BLOCK))):
            assert label.keys() == {"id", "ts", "model", "label"}
            assert label["ts"] == at(number * BLOCK)
            labels[label["id"]] = label["label"]
    right: dict[tuple[bool, bool], list[bool]] = {}
    for row in (orjson.loads(each) for each in log if each[:1] == b"{"):
        if row["model"] == LABELLED:
            assert row["ts"] < at(scenario.phases[-1].start)
            if row["id"] in labels:
                kind = row["ts"] >= at(scenario.concept.start), row["features"]["country"] in {"FR", "IT"}
                right.setdefault(kind, []).append(row["prediction"] == labels[row["id"]])
    shares = {kind: np.mean(own) for kind, own in right.items()}
    assert shares.pop((True, True)) == 0
    assert all(0.85 < each < 0.97 for each in shares.values())
    assert len(shares) == 3
    past = [orjson.loads(each) for each in messages(scenario.history(), ["" for _ in range(HISTORY)], [0] * HISTORY)]
    agreed = [row["prediction"] == label for row, label in zip(past, scenario.past_labels(), strict=True)]
    assert np.mean(agreed) == pytest.approx(0.92, abs=0.01)
