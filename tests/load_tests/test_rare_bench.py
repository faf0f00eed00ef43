"""The bench of rare values: a change that groups show and nothing else does, and one that is not there."""

from __future__ import annotations

import pytest

from load_tests.bench.rare import delay


@pytest.mark.parametrize(("case", "format_version", "found"), [("0.05", 3, True), ("0.05", 2, False), ("0", 3, False)])
def test_a_new_value_is_found_by_the_groups_of_one_text(case: str, format_version: int, found: bool) -> None:
    assert (delay(case, 1000, 5000, 0, 1500, format_version) is not None) is found
