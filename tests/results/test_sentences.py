"""What changed, in words: each sort of change has a sentence with the size now, in the signal's own unit."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import driftline
from driftline.stream.baselines.categories import GROUP_OF

pytest.importorskip("pyarrow")

Column = Callable[[np.random.Generator, int], Any]


def normal(mean: float = 50.0, deviation: float = 10.0) -> Column:
    return lambda chance, n: np.round(chance.normal(mean, deviation, n), 3).tolist()


def pick(*values: Any, p: tuple[float, ...]) -> Column:
    return lambda chance, n: [values[i] for i in chance.choice(len(values), n, p=p)]


def some(lost: Any, share: float, of: Column) -> Column:
    return lambda chance, n: [lost if chance.random() < share else each for each in of(chance, n)]


def in_cents(chance: np.random.Generator, n: int) -> list[float]:
    return np.round(chance.lognormal(3, 0.5, n) * np.where(chance.random(n) < 0.4, 100, 1), 2).tolist()


def euros(chance: np.random.Generator, n: int) -> list[float]:
    return np.round(chance.lognormal(3, 0.5, n), 2).tolist()


def two_humps(chance: np.random.Generator, n: int) -> list[float]:
    return np.round(50 + np.where(chance.random(n) < 0.5, -9.9, 9.9) + chance.normal(0, 1.4, n), 3).tolist()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (normal(), some(None, 0.3, normal()), r"is missing in (29|3\d)(\.\d)? % of the rows; in the reference in 0 %"),
        (normal(), normal(90), r"is higher: a typical value is now (89|9\d)(\.\d)?, was (49|50)(\.\d)?"),
        (normal(), normal(20), r"is lower: a typical value is now (19|20)(\.\d)?, was (49|50)(\.\d)?"),
        (normal(), normal(50, 30), r"is spread wider: 9 of 10 values lie between -?\d.* and \d.*"),
        (normal(), normal(50, 2), r"is spread less: 9 of 10 values lie between 4\d.* and 5\d.*"),
        (normal(), two_humps, r"is distributed differently: 9 of 10 values lie between 3\d.*"),
        (normal(), lambda _, n: [7.5] * n, r"is stuck at 7\.5; in the reference it lay between 1\d.* and 8\d.*"),
        (lambda _, n: [0.25] * n, normal(), r"now varies; in the reference it was always 0\.25"),
        (euros, in_cents, r"is about (9\d|1[01]0) times larger in (3\d|4\d)(\.\d)? % of the rows, as in another unit"),
        (
            pick("de", "fr", p=(0.8, 0.2)),
            pick("de", "fr", p=(0.4, 0.6)),
            r"is “fr” in (5\d|6\d)(\.\d)? % of the rows; in the reference in (1\d|2\d)(\.\d)? %",
        ),
        (
            pick("de", "fr", p=(0.5, 0.5)),
            pick("de", "fr", "xx", p=(0.4, 0.4, 0.2)),
            r"has values that the reference never had in (1\d|2\d)(\.\d)? % of the rows",
        ),
        (pick(0, 1, p=(0.8, 0.2)), pick(0, 1, p=(0.5, 0.5)), r"is “1” in (4\d|5\d)(\.\d)? % of the rows.*"),
        (pick(0, 1, p=(0.8, 0.2)), pick(0, 1, p=(0.8, 0.2)), r"looks as it did in the reference"),
    ],
    ids=[
        "missing", "higher", "lower", "wider", "narrower", "humps", "stuck", "began", "unit", "category", "new", "flag",
        "usual",
    ],
)  # fmt: skip
def test_each_sort_of_change_has_its_sentence(before: Column, after: Column, says: str) -> None:
    chance = np.random.default_rng(11)
    reference = {"x": before(chance, 3000), "other": normal()(chance, 3000)}
    live = {"x": after(chance, 1500), "other": normal()(chance, 1500)}

    found = driftline.compare(reference, live)["x"]

    assert re.fullmatch(says, found.change), found.change


def test_what_came_in_the_place_of_a_constant_is_named_by_it(tmp_path: Path) -> None:
    chance = np.random.default_rng(12)
    found = driftline.compare({"x": [0.25] * 3000}, {"x": normal()(chance, 1500)})

    found.save_html(tmp_path / "page.html")

    assert "other values than 0.25" in (tmp_path / "page.html").read_text()


def shops(n: int, seed: int, new: str, share: float) -> list[str]:
    chance = np.random.default_rng(seed)
    known = np.arange(1, 1001) ** -0.9
    drawn = chance.choice(1000, n, p=known / known.sum())
    return [new if chance.random() < share else f"shop {each}" for each in drawn]


def test_rare_values_are_a_part_of_their_text_and_no_value_is_called_by_the_name_of_its_group(tmp_path: Path) -> None:
    chance = np.random.default_rng(13)
    reference = {"shop": shops(10_000, 1, "", 0.0), "other": normal()(chance, 10_000)}

    found = driftline.compare(reference, {"shop": shops(5000, 2, "a new one", 0.06), "other": normal()(chance, 5000)})
    found.save_html(tmp_path / "page.html")

    says = r"has rare values of group \d+ of 32 in \d(\.\d)? % of the rows; in the reference in \d(\.\d)? %"
    assert re.fullmatch(says, found["shop (rare)"].change), found["shop (rare)"].change
    assert "1 of its 2 signals differs" in found.verdict
    group = re.search(r"group (\d+) of", found["shop (rare)"].change)
    assert group is not None
    assert int(group[1]) == zlib.crc32(b"a new one") % 32 + 1
    assert GROUP_OF in (tmp_path / "page.html").read_text()


def test_values_that_the_reference_has_without_a_category_are_not_said_to_be_new() -> None:
    found = driftline.compare({"shop": shops(10_000, 1, "", 0.0)}, {"shop": [f"shop {each}" for each in range(5000)]})

    says = r"has rare or new values in 9\d(\.\d)? % of the rows; in the reference in \d\d(\.\d)? %"
    assert re.fullmatch(says, found["shop"].change), found["shop"].change
