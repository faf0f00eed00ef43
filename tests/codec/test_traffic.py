"""What is remembered of a model's traffic is restored as it was, and what cannot be is refused."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from driftline.detectors.decision.rates import HOUR
from driftline.stream.codec.frames import FormatError, frame, unframe
from driftline.stream.codec.panes import PackedPane, PaneMessage
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.judge.absence import TrafficJudge
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState, TrafficState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range, Source
from tests.harness.histories import CONFIG, MODEL, events

BEGIN = 480_000 * HOUR


def fed(judge: TrafficJudge, state: TrafficState, first: int, counts: np.ndarray) -> TrafficState:
    """The state with counts by slot from `first` on, and a tick at their end."""
    after = judge.count(state, tuple((first + int(at), int(counts[at])) for at in np.flatnonzero(counts)))
    done, _ = judge.judge(after, (first + len(counts)) * SLOT_MS, (first + len(counts)) * SLOT_MS)
    assert done is not None
    return done


@cache
def stopped() -> TrafficState:
    """Traffic that was learned for 16 days, and has stopped."""
    judge, rng = TrafficJudge(CONFIG), np.random.default_rng(1)
    state, _ = judge.judge(None, BEGIN * SLOT_MS, BEGIN * SLOT_MS)
    assert state is not None
    for hour in range(16 * 24):
        state = fed(judge, state, BEGIN + hour * HOUR, rng.poisson(20, HOUR))
    state = fed(judge, state, BEGIN + 16 * 24 * HOUR, rng.poisson(20, 10))
    return fed(judge, state, BEGIN + 16 * 24 * HOUR + 10, np.zeros(10, np.int64))


def stored() -> dict[str, bytes]:
    return state_delta(None, ModelState({Source(0): 1}, traffic=stopped())).write


def test_traffic_is_restored_with_its_incident() -> None:
    assert stopped().incident is not None
    assert restore_state(stored(), None) == ModelState({Source(0): 1}, traffic=stopped())


def test_a_pane_writes_the_counts_again_and_an_hour_what_is_learned() -> None:
    monitor, state = Monitor(MODEL, CONFIG), ModelState({Source(0): 1}, traffic=stopped())
    until = stopped().counts.until
    pane = Pane(events(1, 1, 5), 0, 0, (Range(0, 1, 6),), ((until, 5),))
    counted, _ = monitor.judge(state, pane)
    assert {*state_delta(state, counted).write} == {"head", "events:0", "traffic"}
    later, _ = monitor.tick(counted, (until + 2 * HOUR) * SLOT_MS, (until + 2 * HOUR) * SLOT_MS)
    assert {*state_delta(counted, later).write} == {"head", "traffic", "rates"}


def test_a_model_without_ticks_has_the_parts_that_it_always_had() -> None:
    assert {*state_delta(None, ModelState({Source(0): 1})).write} == {"head"}


@pytest.mark.parametrize("lost", ["traffic", "rates"])
def test_a_lost_part_is_refused(lost: str) -> None:
    with pytest.raises(FormatError):
        restore_state({name: part for name, part in stored().items() if name != lost}, None)


@pytest.mark.parametrize(
    ("name", "values"), [("cells", []), ("levels", [1] * 5), ("kept", [0] * 7 * 337), ("tails", [2**64 - 1])]
)
def test_what_cannot_have_been_learned_is_refused(name: str, values: list[int]) -> None:
    parts = stored()
    rates = msgspec.msgpack.decode(parts["rates"][6:])
    rates[4][name] = values
    with pytest.raises(FormatError):
        restore_state({**parts, "rates": frame(b"W", rates)}, None)


def test_a_slot_with_less_than_no_event_is_refused() -> None:
    parts = stored()
    traffic = msgspec.msgpack.decode(parts["traffic"][6:])
    traffic[0] = [3, -1]
    with pytest.raises(FormatError, match="less than no event"):
        restore_state({**parts, "traffic": frame(b"C", traffic)}, None)


@pytest.mark.parametrize("delays", [[-1] + [0] * 18, [1], [0] * 20])
def test_delays_that_cannot_be_are_refused(delays: list[int]) -> None:
    parts = stored()
    traffic = msgspec.msgpack.decode(parts["traffic"][6:])
    with pytest.raises(FormatError, match="delays"):
        restore_state({**parts, "traffic": frame(b"C", [*traffic[:6], delays])}, None)


@pytest.mark.parametrize("later", [-30, 30 * HOUR])
def test_traffic_of_which_no_event_was_late_or_too_far_ahead_is_stored_as_it_always_was(later: int) -> None:
    assert stored()["traffic"][1] == 1
    until = stopped().counts.until
    counted = TrafficJudge(CONFIG).count(stopped(), ((until + later, 5),), until * SLOT_MS * (later < 0))
    state = ModelState({Source(0): 1}, traffic=counted)
    parts = state_delta(None, state).write
    assert parts["traffic"][1] == 2
    assert restore_state(parts, None) == state


@pytest.mark.parametrize("until", [-1, 0, BEGIN + 100 * 24 * HOUR, 2**62])
def test_a_time_that_does_not_fit_what_is_learned_is_refused(until: int) -> None:
    """The hours between would be learned one by one at the next tick."""
    parts = stored()
    traffic = msgspec.msgpack.decode(parts["traffic"][6:])
    traffic[1] = until
    with pytest.raises(FormatError, match="complete to slot"):
        restore_state({**parts, "traffic": frame(b"C", traffic)}, None)


def message(slots: tuple[tuple[int, int], ...]) -> bytes:
    pane = Pane(events(1, 0, 3), 10**12, 10**12 + 2000, (Range(0, 0, 3),), slots)
    return PaneMessage.of(MODEL, "", "predictions", pane).to_bytes()


def test_a_pane_with_slots_needs_version_2_and_one_without_is_what_it_was() -> None:
    assert message(())[1] == 1
    counted = message(((10**8, 3),))
    assert counted[1] == 2
    assert PaneMessage.from_bytes(counted).pane(None).slots == ((10**8, 3),)


@pytest.mark.parametrize("slot", [(-1, 1), (10**8, 0), (10**8, -1), (2**62, 1)])
def test_slots_that_cannot_be_are_refused(slot: tuple[int, int]) -> None:
    with pytest.raises(FormatError, match="slots of time"):
        PaneMessage.from_bytes(message((slot,))).pane(None)


def test_a_packed_pane_of_an_earlier_version_has_no_slots() -> None:
    decoder = msgspec.msgpack.Decoder(PackedPane)
    old = frame(b"B", [1, 2, [[0, 0, 3]], b""])
    assert unframe(b"B", old, decoder).slots == ()
