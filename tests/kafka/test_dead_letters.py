"""Dead letters fit the topics that they are sent to, whatever came."""

from __future__ import annotations

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.batches import PassedOver
from driftline.stream.kafka.dead_letters import dead_letter, fitted
from driftline.stream.kafka.record import OutgoingRecord

# Bytes that a topic takes by default.
ROOM = 1_048_588


def size(record: OutgoingRecord) -> int:
    """Bytes of a batch that holds nothing but this record."""
    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=7, producer_epoch=0, base_sequence=0,
        batch_size=1 << 30,
    )  # fmt: skip
    assert batch.append(0, 1_000, record.key, record.value, list(record.headers))
    return len(batch.build())


BYTES = st.one_of(st.none(), st.integers(0, 1_200_000).map(lambda size: b"x" * size))
REASONS = st.integers(0, 9000).map(lambda size: "é" * size)


@given(BYTES, BYTES, REASONS, st.booleans())
def test_any_record_makes_a_dead_letter_that_a_broker_takes(
    key: bytes | None, value: bytes | None, reason: str, counted: bool
) -> None:
    record = PassedOver(1 << 40, 0, 0, key, value)
    assert size(dead_letter(TP("t" * 245, 10**6), record, reason, counted)) <= ROOM


@given(BYTES, BYTES, REASONS, st.integers(2000, 2_000_000))
def test_it_is_cut_to_the_room_of_its_topic_and_says_from_what(
    key: bytes | None, value: bytes | None, reason: str, room: int
) -> None:
    whole = dead_letter(TP("predictions", 0), PassedOver(1 << 40, 0, 0, key, value), reason)
    cut = fitted(whole, room)
    assert size(cut) <= room
    assert (whole.value or b"").startswith(cut.value or b"")
    if cut.value and cut.value != value:
        assert b"from %d bytes" % len(value or b"") in dict(cut.headers)["cut"]
    assert {"reason", "topic", "partition", "offset"} <= dict(cut.headers).keys()


def test_that_of_a_batch_has_no_value_and_names_its_offsets() -> None:
    record = PassedOver(149, 0, 0, None, Unreadable(100, 150, "batch: its records are damaged"))
    letter = dead_letter(TP("predictions", 3), record, "batch: its records are damaged")
    headers = {name: value.decode() for name, value in letter.headers}
    assert (letter.topic, letter.key, letter.value) == ("predictions.dlq", b"", None)
    assert headers == {
        "reason": "batch: its records are damaged", "topic": "predictions", "partition": "3", "offset": "100",
        "end": "150", "counted": "false",
    }  # fmt: skip
