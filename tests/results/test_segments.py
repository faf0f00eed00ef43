"""For whom a column changed: counted from the rows, held against the rows themselves."""

from __future__ import annotations

import random
from typing import Any

import pytest

import driftline
from driftline.stream.results.segments import NEW, OTHERS
from driftline.stream.sources.inputs import InputError

pytest.importorskip("pyarrow")

CHANNELS, ROWS, FROM = ["web", "app", "branch"], 3000, 1500


def rows(seed: int, drift: str | None, channels: list[str] = CHANNELS) -> list[dict[str, Any]]:
    """Ten minutes apart. From `FROM` on, `trust` is missing in four of five rows of one channel, or of "all"."""
    chance = random.Random(seed)
    table = []
    for row in range(ROWS):
        channel = chance.choice(channels)
        lost = row >= FROM and drift in (channel, "all") and chance.random() < 0.8
        table.append({
            "at": 1_760_000_000 + 600 * row, "trust": None if lost else round(chance.betavariate(5, 2), 3),
            "channel": channel, "country": chance.choice(["de", "fr"]),
        })  # fmt: skip
    return table


def found(drift: str, *for_whom: str, channels: list[str] = CHANNELS) -> dict[str, dict[str, Any]]:
    result = driftline.compare(rows(1, None), rows(2, drift, channels), time="at", for_whom=for_whom)
    return {each["column"]: each for each in result["trust"].for_whom}


def test_the_channel_that_carries_a_change_is_named_with_its_share_of_the_rows() -> None:
    channel = found("app", "channel")["features.channel"]

    since = [row for row in rows(2, "app") if row["at"] >= 1_760_000_000 + 600 * FROM]
    share = sum(row["channel"] == "app" for row in since) / len(since)
    assert channel["says"].startswith("for channel app: 3")
    assert channel["share"] == pytest.approx(share, abs=0.01)
    values = {each["value"]: each for each in channel["values"]}
    assert {value: each["carries"] for value, each in values.items()} == {"app": True, "web": False, "branch": False}
    assert values["app"]["before"] == 0
    assert values["app"]["after"] == pytest.approx(0.8, abs=0.05)
    assert values["app"]["rows_before"] == sum(row["channel"] == "app" for row in rows(1, None))


def test_a_column_that_has_nothing_to_do_with_it_is_alike_for_all_of_its_values() -> None:
    assert found("app", "country")["features.country"]["says"] == "for all values of country"
    assert found("all", "channel")["features.channel"]["says"] == "for all values of channel"


def test_each_column_is_answered_in_the_order_in_which_it_was_asked_for() -> None:
    assert list(found("app", "country", "features.channel")) == ["features.country", "features.channel"]


def test_values_that_the_reference_never_had_are_no_comparison() -> None:
    channel = found("all", "channel", channels=["web", "kiosk"])["features.channel"]

    values = {each["value"]: each for each in channel["values"]}

    assert values[NEW]["rows_before"] == 0
    assert values[NEW]["carries"] is None
    assert values["app"]["rows"] == 0


def test_rare_values_are_counted_together() -> None:
    many = [*CHANNELS * 20, *(f"shop {number}" for number in range(30))]

    def table(seed: int, drift: str | None) -> list[dict[str, Any]]:
        return rows(seed, drift, many)

    result = driftline.compare(table(1, None), table(2, "app"), time="at", for_whom=["channel"])

    [channel] = result["trust"].for_whom
    values = {each["value"]: each for each in channel["values"]}
    assert len(values) == 25
    assert values[OTHERS]["carries"] is False


def test_by_chance_no_segment_is_named() -> None:
    """A signal changes for all, slightly: no value of an unrelated column with ten values is taken for the only one."""
    named = 0
    for seed in range(10):
        chance = random.Random(seed)
        before, after = (
            [{"x": chance.gauss(mean, 1), "shop": f"s{chance.randrange(10)}"} for _ in range(2000)] for mean in (0, 0.8)
        )
        split = driftline.compare(before, after, for_whom=["shop"])["x"].for_whom[0]
        named += split["says"] != "for all values of shop"
    assert named <= 1


def test_a_signal_that_is_as_usual_is_not_split() -> None:
    result = driftline.compare(rows(1, None), rows(2, "app"), time="at", for_whom=["channel"])

    assert "for_whom" not in result.to_frame().column_names or result["country"].drifts is False
    assert not hasattr(result["country"], "for_whom")


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("chanel", "for whom: the reference has no column 'chanel'; it has trust, channel, country"),
        ("trust", "for whom: column 'trust' has"),
    ],
)
def test_a_column_that_cannot_be_asked_for_is_an_error_that_says_why(column: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        found("app", column)
