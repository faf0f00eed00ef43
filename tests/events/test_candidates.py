"""Which field is likely which part of an event."""

from __future__ import annotations

import pytest

from driftline.stream.events.candidates import NAMES, likely_path


@pytest.mark.parametrize(
    ("part", "paths", "likely"),
    [
        ("ts", ["amount", "timestamp"], "timestamp"),
        ("ts", ["date", "Event-Time"], "Event-Time"),
        ("id", ["eventMetadata.eventId", "amount"], "eventMetadata.eventId"),
        ("id", ["meta.id", "id"], "id"),
        ("model", ["model name", "service"], "model name"),
        ("label", ["ground_truth"], "ground_truth"),
        ("score", ["amount", "age"], None),
        ("version", [], None),
    ],
)
def test_a_part_is_found_by_its_name_in_any_spelling(part: str, paths: list[str], likely: str | None) -> None:
    assert likely_path(part, paths) == likely


def test_the_native_name_of_each_part_comes_first() -> None:
    assert {part: names[0] for part, names in NAMES.items()} == {part: part for part in NAMES}
