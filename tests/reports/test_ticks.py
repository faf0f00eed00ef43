"""Ticks are round times, each at its own place, as many as there is room for."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.reports.page.ticks import round_ticks

YEAR_1, YEAR_3000 = -62_135_596_800_000, 32_503_680_000_000
FORMS = ("%Y", "%b %Y", "%d %b", "%d %b %H:%M", "%d %b %H:%M:%S")


@given(st.integers(YEAR_1, YEAR_3000), st.floats(4, 13.5))
def test_each_tick_is_where_its_words_say(start: int, magnitude: float) -> None:
    span = int(10**magnitude)
    ticks = round_ticks(start, start + span)
    assert len(ticks) <= 9
    places = [place for place, _ in ticks]
    assert places == sorted(set(places))
    assert all(0 <= place < 0.9 for place in places)
    for place, words in ticks:
        at = datetime.fromtimestamp(round((start + place * span) / 1000), UTC)
        texts = [at.strftime(form).lstrip("0") for form in FORMS] + [f"{at.year}", f"{at:%b} {at.year}"]
        assert words in texts


def test_a_year_and_a_half_begins_each_quarter() -> None:
    start = round(datetime(2026, 2, 10, tzinfo=UTC).timestamp() * 1000)
    words = [words for _, words in round_ticks(start, start + 580 * 86_400_000)]
    assert words == ["Apr 2026", "Jul 2026", "Oct 2026", "Jan 2027", "Apr 2027", "Jul 2027"]
