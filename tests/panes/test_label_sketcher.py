"""Labels in the first stage: what is read, refused and cut, however the log comes, fast or exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from driftline.stream.config.load import parse_config
from driftline.stream.events.decode import Decoder
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.label_sketcher import LabelSketcher
from driftline.stream.panes.pane import Run

EPOCH = 1_767_225_600_000
MAPPING = parse_config("").mapping.labels.event_mapping()
ODD: list[bytes | None] = [
    None, b"", b"{", b"[1]", b'{"id": "a", "ts": 1767225600000, "model": "fraud"}',
    b'{"id": "a", "ts": 1767225600000, "model": "fraud", "label": null}',
    b'{"id": "a", "ts": 1767225600000, "model": "fraud", "label": [1]}',
    b'{"id": "a", "ts": 1767225600000, "model": "fraud", "label": NaN}',
    b'{"id": "", "ts": 1767225600000, "model": "fraud", "label": 1}',
    b'{"id": "a", "ts": -1, "model": "fraud", "label": 1}',
    b'{"id": "a", "ts": 1767225600000, "label": 1}',
]  # fmt: skip


def sketcher(events: int = 50) -> LabelSketcher:
    return LabelSketcher("labels", Cutter(PaneRule(events, 10_000), 0, 0), MAPPING, lambda model: model == "fraud")


def log(n: int, values: Sequence[Any] = ("fine", "fraud", True, 1, 1.0, 2.5)) -> list[bytes | None]:
    rows = (
        {"id": f"e-{i}", "ts": EPOCH + 100 * i, "model": "fraud", "label": values[i % len(values)], "more": {"x": i}}
        for i in range(n)
    )
    return [*map(orjson.dumps, rows)]


def runs_of(messages: Sequence[bytes | None], size: int) -> list[Run]:
    own, found = sketcher(), list[Run]()
    for first in range(0, len(messages), size):
        part = messages[first : first + size]
        found += own.consume(np.arange(first, first + len(part)), part).runs
    return [*found, own.close(len(messages))]


def shown(run: Run) -> Any:
    panes = {
        model: (pane.first_ts, pane.last_ts, pane.ranges, [each.tolist() for each in pane.content.columns])
        for model, pane in run.panes.items()
    }
    return run._replace(panes=panes)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_runs_do_not_depend_on_how_the_log_comes(size: int) -> None:
    messages = log(200)
    messages[60:60] = ODD
    assert [*map(shown, runs_of(messages, size))] == [*map(shown, runs_of(messages, 30))]


def test_a_label_is_text_and_whole_numbers_are_alike() -> None:
    (run,) = runs_of(log(6), 6)
    content = run.panes["fraud"].content
    assert content.label.tolist() == ["fine", "fraud", "true", "1", "1", "2.5"]
    assert content.keys.tolist() == hash_ids([f"e-{i}" for i in range(6)]).tolist()


def test_messages_that_are_no_labels_are_refused_with_the_reason() -> None:
    own, found = sketcher(), list[list[str]]()
    for first in (0, len(ODD)):  # once before the model is known, and once after
        messages = ODD + log(1)
        sketched = own.consume(np.arange(first, first + len(messages)), messages)
        assert [each.position for each in sketched.rejections] == [*range(len(ODD))]
        assert sketched.events == 1
        found.append([each.reason for each in sketched.rejections])
    assert found[0] == found[1]
    assert found[0][4:8] == [
        "label: missing", "label: missing", "label: expected text, got an array", "label: NaN",
    ]  # fmt: skip


def test_a_label_of_the_future_is_refused_where_records_have_times() -> None:
    messages, stamps = log(4), np.full(4, EPOCH)
    messages[2] = orjson.dumps({"id": "a", "ts": EPOCH + 2 * 86_400_000, "model": "fraud", "label": 1})
    for times, refused in ((stamps, [2]), (None, [])):
        sketched = sketcher().consume(np.arange(4), messages, times)
        assert [each.position for each in sketched.rejections] == refused
        assert sketched.events == 4 - len(refused)
        assert [each.reason for each in sketched.rejections] == [
            "ts: more than a day after its record was written"
        ] * len(refused)


def test_labels_of_models_that_wait_for_none_are_passed_over() -> None:
    messages = [orjson.dumps({"id": "a", "ts": EPOCH, "model": "other", "label": 1})] * 3
    own = sketcher()
    sketched = own.consume(np.arange(3), messages)
    assert (sketched.events, sketched.rejections, own.close(3).panes) == (0, [], {})


def test_labels_of_a_known_model_are_decoded_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sketcher()
    own.consume(np.arange(3), log(3))

    def none_is_left(_self: Decoder, _batch: Any, refused: Sequence[int], _origins: Any) -> Any:
        assert not refused
        return {}, []

    monkeypatch.setattr(Decoder, "_read_exactly", none_is_left)
    assert own.consume(np.arange(3, 9), log(9)[3:]).events == 6
