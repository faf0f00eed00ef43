"""The schedule, the traffic and the log checks of a chaos run, without servers."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from load_tests.chaos.kinds import KINDS, chosen
from load_tests.chaos.naive import NoEventError, read
from load_tests.chaos.producers import Traffic
from load_tests.chaos.run import coverage
from load_tests.chaos.schedule import schedule
from load_tests.chaos.traffic import KEYED, MODELS, PARTITIONS, ROLLED, SPREAD, VERSION, EventTime, Sent, traffic
from load_tests.chaos.workers import unexpected_ends
from load_tests.harness.oracle import EPOCH

ONE = chosen(["*"], "one", "everysec")


def test_a_seed_has_one_schedule_with_every_kind_before_any_comes_again() -> None:
    assert schedule(1, 40, ONE) == schedule(1, 40, ONE)
    assert schedule(1, 40, ONE) != schedule(2, 40, ONE)
    for seed in range(20):
        kinds = [each.kind for each in schedule(seed, 2 * len(ONE), ONE)]
        assert set(kinds[: len(ONE)]) == set(kinds[len(ONE) :]) == set(ONE)


def test_a_kind_has_one_name() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_kinds_are_chosen_by_patterns_of_their_names() -> None:
    names = [kind.name for kind in chosen(["worker SIG*", "kafka delayed"], "one", "always")]
    assert names == ["worker SIGKILL", "worker SIGTERM", "worker SIGSTOP, then SIGCONT", "kafka delayed"]
    with pytest.raises(ValueError, match="no kind of fault matches 'rediss'; there are:\nworker SIGKILL\n"):
        chosen(["worker *", "rediss"], "one", "always")


def test_a_redis_that_syncs_always_has_no_power_cut() -> None:
    """A power cut would lose nothing there."""
    names = {kind.name for kind in ONE} - {kind.name for kind in chosen(["*"], "one", "always")}
    assert names == {"redis power cut"}


def test_faults_last_as_long_as_their_kind_says() -> None:
    """A paused worker, for example, beyond its session of 6 s."""
    for each in schedule(1, 200, ONE):
        assert each.kind.seconds[0] <= each.seconds <= each.kind.seconds[1]


def test_some_faults_begin_together_with_the_next_and_none_of_them_waits_for_recovery() -> None:
    together = [each for each in schedule(1, 200, ONE) if each.together]
    assert 5 < len(together) < 60
    assert not any(each.alone for each in together)


def test_the_report_counts_each_kind_and_its_recoveries() -> None:
    plan = schedule(1, len(ONE), ONE)
    report = coverage(plan, {"worker SIGKILL": [3.0, 1.0, 2.0]})
    assert report["worker SIGKILL"] == {"times": 1, "p50": 2.0, "max": 3.0}
    assert report["worker SIGTERM"] == {"times": 1}
    assert report.keys() == {kind.name for kind in ONE}


def test_a_worker_that_ended_by_a_bug_is_reported() -> None:
    """The next worker makes up for it, so that nothing else shows the bug."""
    designed = "\n".join(f"[^Agent]: Crashed reason={each}" for each in ("StateMismatchError('x')", "FencedError(1)"))
    assert unexpected_ends(designed) == []
    assert unexpected_ends(f"{designed}\nCrashed reason=TypeError('a')\n" * 2) == ["2 workers ended by TypeError"]


def test_a_worker_that_the_watchdog_ended_is_reported() -> None:
    line = "12:00:00,000 CRITICAL driftline.stream.worker.watchdog: watchdog: stalled; exiting\n"
    assert unexpected_ends(line) == ["1 workers ended by the watchdog"]


def test_what_happens_to_the_traffic_goes_on_beside_other_faults() -> None:
    own = [each for each in schedule(1, 200, ONE) if each.kind.subject == "traffic"]
    assert {each.kind.name for each in own} == {
        "model stops, then starts again",
        "partition silent",
        "producer's clock wrong",
        "version rolled out",
    }
    assert not any(each.alone for each in own)


def test_a_version_with_a_baseline_of_its_own_gets_as_many_events_of_ten_as_it_is_rolled_out() -> None:
    time = EventTime()
    messages = traffic(1, 12_000, time)

    def share(count: int) -> float:
        own = [read(each.value) for each in islice(messages, count) if each.model == ROLLED]
        return sum(each.version == VERSION for each in own) / len(own)

    assert share(3000) == 0
    time.rolled = 3
    assert 0.2 < share(3000) < 0.4
    time.rolled = 10
    assert share(6000) > 0.9  # one shape of events has no version, and another one says 4.2


def test_hours_pass_between_bursts_and_one_producer_of_six_may_be_ahead() -> None:
    time = EventTime()
    messages = traffic(1, 4800, time)

    def times(count: int) -> list[int]:
        return [read(each.value).ts for each in islice(messages, count) if each.model in KEYED]

    first, time.passed, time.wrong = times(1200), 3_600_000, -7_200_000
    assert max(first) < EPOCH + 1000
    hours = Counter((each - EPOCH) // 3_600_000 for each in times(3600))
    assert hours.keys() == {1, -1}
    assert 4 < hours[1] / hours[-1] < 6


def test_a_silent_model_or_partition_gets_nothing_from_a_burst_on_until_its_silence_ends() -> None:
    own = Traffic("127.0.0.1:1", "predictions", traffic(1, 0), 100)
    block = [Sent(0, b"a", "a"), Sent(9, b"b", "b"), Sent(2, b"a", "a"), Sent(1, None)]

    def sent() -> list[bytes | None]:
        own.sent += 1
        return [each.value for each in own._placed(block)]

    own.release_burst()
    own.silence("a", bursts=1)
    assert sent() == sent() == [b"a", b"b", b"a", None]
    assert sent() == [b"b", None]
    own.silence(1)
    assert sent() == []
    own.end_silence("a")
    assert sent() == [b"a", b"a"]


def test_models_lie_on_one_partition_or_on_all_in_whatever_shape_their_events_come() -> None:
    sent = list(traffic(1, 40_000))
    assert sent == list(traffic(1, 40_000))
    places: dict[str, set[int]] = {}
    refused = Counter[str]()
    for each in sent:
        try:
            places.setdefault(read(each.value).model, set()).add(each.place % PARTITIONS)
        except NoEventError as error:
            refused[str(error)] += 1
    guests = {model for model in places if model.startswith("guest-")}
    assert {model: len(places[model]) for model in MODELS} == dict.fromkeys(KEYED, 1) | dict.fromkeys(
        SPREAD, PARTITIONS
    )
    assert len(guests) == 40_000 // 521 - 40_000 // (521 * 997)
    assert len(places) == len(MODELS) + len(guests)
    assert refused.keys() >= {"limits.message_bytes", "limits.depth", "limits.signals", "tombstone", "unknown", "ts"}
