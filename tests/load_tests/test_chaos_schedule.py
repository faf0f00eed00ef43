"""The schedule, the traffic and the log checks of a chaos run, without servers."""

from __future__ import annotations

import orjson

from load_tests.chaos.schedule import Kind, schedule
from load_tests.chaos.traffic import KEYED, MODELS, PARTITIONS, SPREAD, traffic
from load_tests.chaos.workers import unexpected_errors


def test_a_seed_has_one_schedule_with_every_kind_before_any_comes_again() -> None:
    assert schedule(1, 40, "everysec") == schedule(1, 40, "everysec")
    assert schedule(1, 40, "everysec") != schedule(2, 40, "everysec")
    for seed in range(20):
        kinds = [each.kind for each in schedule(seed, 26, "everysec")]
        assert set(kinds[:13]) == set(kinds[13:]) == set(Kind)


def test_a_redis_that_syncs_always_has_no_power_cut() -> None:
    """A power cut would lose nothing there."""
    assert {each.kind for each in schedule(1, 12, "always")} == set(Kind) - {Kind.REDIS_POWER_CUT}


def test_a_paused_worker_stays_paused_beyond_its_session() -> None:
    pauses = [each.seconds for each in schedule(1, 200, "always") if each.kind is Kind.FREEZE]
    assert min(pauses) > 6


def test_a_worker_that_ended_by_a_bug_is_reported() -> None:
    """The next worker makes up for it, so that nothing else shows the bug."""
    designed = "\n".join(
        f"[^Agent]: Crashed reason={each}" for each in ("StateMismatchError('x')", "NodeNotReadyError(1)")
    )
    assert unexpected_errors(designed) == []
    assert unexpected_errors(f"{designed}\nCrashed reason=TypeError('a')\n" * 2) == ["2 workers ended by TypeError"]


def test_models_lie_on_one_partition_or_on_all() -> None:
    sent = list(traffic(1, 20_000))
    assert sent == list(traffic(1, 20_000))
    places: dict[str, set[int]] = {model: set() for model in MODELS}
    for each in sent:
        if each.value and each.value.startswith(b'{"id":"') and b'"ts"' in each.value:
            places[orjson.loads(each.value)["model"]].add(each.partition)
    counts = {model: len(found) for model, found in places.items()}
    assert counts == dict.fromkeys(KEYED, 1) | dict.fromkeys(SPREAD, PARTITIONS)
