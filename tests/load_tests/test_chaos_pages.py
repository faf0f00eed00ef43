"""The verdict on the pages of a chaos run: what the pager must have received, and what it must not."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from load_tests.chaos.outcome import PageRequest, Record, Verdict
from load_tests.chaos.pages import Interruptions, check_pages, without_answers

STATUS = {1: "firing", 2: "updated", 3: "resolved"}


def step(seq: int, incident: str = "i1", status: str = "") -> dict[str, object]:
    data = {"id": f"{incident}/{seq}", "alert_key": "m", "incident_id": incident, "seq": seq}
    return {"id": f"{incident}/{seq}", "data": data | {"status": status or STATUS[seq]}}


def pages(*seqs: int, accepted: bool = True, certain: bool = True, first: float = 0.0) -> list[PageRequest]:
    return [PageRequest(first + i, step(seq), accepted, certain) for i, seq in enumerate(seqs)]


def mismatches(seqs: Sequence[int], requests: list[PageRequest], interruptions: Interruptions = ()) -> list[str]:
    verdict = Verdict()
    check_pages(verdict, [Record(orjson.dumps(step(seq))) for seq in seqs], requests, interruptions)
    return verdict.mismatches


REFUSED = pages(1, accepted=False)
FINE: dict[str, tuple[Sequence[int], list[PageRequest], Interruptions]] = {
    "each step once": ([1, 2, 3], pages(1, 2, 3), ()),
    "a step that a newer one has superseded": ([1, 2, 3], pages(1, 3), ()),
    "the newest step alone": ([1, 2], pages(2), ()),
    "ended before it was sent": ([1, 2, 3], [], ()),
    "ended while the pager refused": ([1, 2, 3], [*REFUSED, *pages(3, first=1)], ()),
    "again, because the answer was lost": ([1], [*pages(1, certain=False), *pages(1, first=1)], ()),
    "again, because the relay was killed": ([1], [*pages(1), *pages(1, first=1)], [(0.5, 0.5)]),
    "its end alone, because the relay was killed": ([1, 2, 3], pages(3, first=1), [(0.5, 0.5)]),
}
WRONG: dict[str, tuple[Sequence[int], list[PageRequest], Interruptions, str]] = {
    "not sent": ([1, 2], [], (), "m/i1 is open, and the pager was not notified"),
    "refused and forgotten": ([1], REFUSED, (), "m/i1 is open, and the pager was not notified"),
    "its end not sent": ([1, 2, 3], pages(1, 2), (), "m/i1: seq 2 is the last that the pager accepted, expected 3"),
    "its end refused": ([1, 3], [*pages(1), *pages(3, accepted=False, first=1)], (), "m/i1: seq 1 is the last"),
    "twice": ([1], pages(1, 1), (), "m/i1: seq 1, firing came twice"),
    "twice, long after the relay was killed": ([1], pages(1, 1), [(7.0, 9.0)], "m/i1: seq 1, firing came twice"),
    "in another order": ([1, 2], pages(2, 1), (), "m/i1: seq 1, firing came after seq 2"),
    "its end alone": ([1, 2, 3], pages(3), (), "m/i1: the pager was notified of its end alone"),
    "invented": ([2], pages(1, 2), (), "m/i1: seq 1, firing is not on the alerts topic"),
}


@pytest.mark.parametrize("case", FINE)
def test_what_the_relay_may_do_is_no_mismatch(case: str) -> None:
    assert mismatches(*FINE[case]) == []


@pytest.mark.parametrize("case", WRONG)
def test_what_the_relay_must_not_do_is_a_mismatch(case: str) -> None:
    seqs, requests, interruptions, words = WRONG[case]
    assert mismatches(seqs, requests, interruptions)[0].startswith(words)


def test_an_incident_that_came_back_needs_no_page_of_its_own_unless_there_is_news_in_it() -> None:
    steps = [step(1), step(2, status="resolved"), step(3, status="updated"), step(4, status="resolved")]
    steps[2]["data"]["reopened"] = True  # type: ignore[index]
    for end, received, wrong in ((3, (1, 2), 0), (4, (1, 2), 0), (4, (1, 2, 4), 0), (4, (1,), 1)):
        verdict = Verdict()
        requests = [PageRequest(seq, steps[seq - 1], True, True) for seq in received]
        check_pages(verdict, [Record(orjson.dumps(each)) for each in steps[:end]], requests, ())
        assert len(verdict.mismatches) == wrong
    verdict, news = Verdict(), step(4, status="updated")
    check_pages(verdict, [Record(orjson.dumps(each)) for each in [*steps[:3], news]], pages(1), ())
    assert verdict.mismatches == ["m/i1: seq 1 is the last that the pager accepted, expected 4"]


def test_a_step_may_come_again_only_if_the_relays_log_says_that_its_answer_did_not_arrive() -> None:
    log = "WARNING dispatcher: webhook: 'm/i1' seq 1 (firing) will be retried: 127.0.0.1 does not answer in time\n"
    for said, wrong in ((log, []), (log.replace("seq 1", "seq 2"), ["m/i1: seq 1, firing came twice"])):
        assert mismatches([1], without_answers(pages(1, 1), said)) == wrong


def test_an_incident_that_is_on_no_topic_is_noticed() -> None:
    assert mismatches([], pages(1)) == ["the pager received m/i1, which is not on the alerts topic"]
