"""Which page is tried next after failures: the urgent one soon, and no page delays all others."""

from __future__ import annotations

from driftline.stream.paging.attempts import Attempts
from driftline.stream.paging.notifications import Page

PAGES = {name: Page(name[0], name) for name in ("urgent", "later", "most", "u2")}


def tried(attempts: Attempts, due: list[str], accepts: str, times: int) -> list[str]:
    """The pages that are tried, when the receiver accepts some of them only."""
    order = []
    for _ in range(times):
        name = attempts.first(due, PAGES)
        order.append(name)
        if name in accepts.split():
            attempts.settled(PAGES[name].alert_key)
        else:
            attempts.failed(PAGES[name].alert_key)
    return order


def test_while_the_receiver_is_down_pages_are_tried_in_turn_and_then_the_urgent_one_is_next() -> None:
    attempts, due = Attempts(), ["urgent", "later", "most"]
    assert tried(attempts, due, "", 7) == [*due, *due, "urgent"]
    assert tried(attempts, due, "later most urgent", 2) == ["later", "urgent"]


def test_a_page_that_fails_alone_delays_the_others_ever_less() -> None:
    order = tried(Attempts(), ["urgent", "later"], "later", 200)
    positions = [i for i, name in enumerate(order) if name == "urgent"]
    assert positions == [0, 2, 5, 10, 19, 36, 69, 134, 199]


def test_pages_of_one_key_wait_together() -> None:
    attempts = Attempts()
    attempts.failed("u")
    assert attempts.first(["urgent", "u2", "later"], PAGES) == "later"
    assert attempts.first(["urgent", "u2"], PAGES) == "urgent"


def test_nothing_is_tried_when_nothing_is_due() -> None:
    assert Attempts().first([], PAGES) == ""
