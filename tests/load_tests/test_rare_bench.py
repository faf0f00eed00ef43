"""The bench of rare values: a change that groups show and nothing else does, and one that is not there."""

from __future__ import annotations

import pytest

from load_tests.bench.rare import changed, delay


@pytest.mark.parametrize(("case", "format_version", "found"), [("0.05", 3, True), ("0.05", 2, False), ("0", 3, False)])
def test_a_new_value_is_found_by_the_groups_of_one_text(case: str, format_version: int, found: bool) -> None:
    assert (delay(case, 1000, 5000, 0, 1500, format_version) is not None) is found


def test_known_values_change_as_the_case_says() -> None:
    texts = ["v0"] * 500 + ["v2"] * 200 + ["v9"] * 300
    halved, gone, moved = (changed(case, texts, frozenset(texts), 0) for case in ("half", "gone", "moved"))
    assert 120 <= halved.count("v9") <= 180
    assert (gone.count("v9"), gone.count("v0")) == (0, 800)
    assert moved.count("v9") == 300
    assert 15 <= moved.count("v2") - 200 <= 45
