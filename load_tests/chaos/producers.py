"""The producers of a chaos run: they compress differently, and one writes in transactions, some of which it aborts.

traffic ──bursts──► blocks ──┬─► none ──┐
                             ├─► gzip   │
                             ├─► snappy ├──► predictions topic
                             ├─► lz4    │
                             ├─► zstd   │
                             └─► transactions: commit, or abort a copy of the block first

labels that come by themselves ──┬─► zstd
                                 └─► transactions

Hours pass from burst to burst, and models or partitions may be silent in some of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from load_tests.chaos.labels import CLOSED, SETTLED, Label, LateLabels
from load_tests.chaos.traffic import BETWEEN_BURSTS, PARTITIONS, EventTime, Sent, closing
from load_tests.harness.oracle import EPOCH

_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
# Messages in a row by one producer. Events of a partition then come in the order of their time but for those at the
# edges of blocks: at most half a pane.
_BLOCK = 600
# Bytes of a message from which on only a compressing producer can send it: brokers accept 1 MiB a batch.
_LARGE = 500_000
# Bytes of zeros in a bomb: more than `limits.batch_bytes`.
_BOMB = 70 << 20
# One transaction in this many is aborted first.
_ABORTED = 4
# ms after which the broker aborts a transaction that hangs.
_HANGS = 3000
# s that one append may take: an outage, and a recovery of Kafka.
_PATIENCE = 300
_SETTINGS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 20,
    "message.timeout.ms": _PATIENCE * 1000,
    "message.max.bytes": 1 << 28,  # of what is not compressed yet
    "log_level": 0,  # outages are meant here
    "topic.metadata.refresh.interval.ms": 1000,  # partitions are added
    "queue.buffering.max.messages": 1 << 20,
    "queue.buffering.max.kbytes": 1 << 20,
}


@dataclass
class Traffic(threading.Thread):
    """Appends the traffic in bursts: during one, workers are busy; after it, partitions are idle.

    appended: by partition, the end of what readers of committed records can see. time: of the events that are made
    from now on. released, sent: how many bursts. labels: the topic of those that come by themselves, None without.
    """

    kafka: str
    topic: str
    messages: Iterator[Sent]
    burst: int
    time: EventTime = field(default_factory=EventTime)
    labels: LabelTopic | None = None
    released: int = 0
    sent: int = 0
    appended: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    error: Exception | None = None
    _bursts: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _hurry: threading.Event = field(default_factory=threading.Event)
    _silent: dict[str | int, int] = field(default_factory=dict)
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        super().__init__(name="traffic", daemon=True)
        self._open_producers()
        self._transactions = _Transactions(self.kafka, self.topic, "chaos-transactions", self._appended)
        plain = [partial(self._plain, codec) for codec in _CODECS]
        self._ways: Iterator[Callable[[Sequence[Sent]], None]] = cycle([*plain, self._transactions.append])

    def __hash__(self) -> int:
        return id(self)

    def release_burst(self) -> None:
        """Release one more burst."""
        self.released += 1
        self._bursts.release()

    def release_rest(self) -> None:
        """Release the rest."""
        self._hurry.set()
        self._bursts.release()

    def run(self) -> None:
        """Append everything, whatever happens to Kafka meanwhile; an error is kept in `error`."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 # the main thread raises it
            self.error = error

    def _run(self) -> None:
        while burst := list(islice(self.messages, self.burst)):
            if not self._hurry.is_set():
                self._bursts.acquire()
            with self._sending:
                self.sent += 1
                placed = self._placed(burst)
                again = self.labels.source.add(placed) if self.labels else []
                self._send_burst([*placed, *self._placed(again)])
                if self.labels:
                    self.labels.append(self.labels.source.due(EPOCH + self.time.passed))
                self.time.passed += BETWEEN_BURSTS
        if self.labels:
            self._say_time(self.labels, CLOSED)

    def send_stragglers(self, labels: LabelTopic) -> dict[str, dict[int, range]]:
        """Send what comes too late, once all slots are closed, and then the rest; the offsets of the former."""
        before = {self.topic: [*self.appended], labels.topic: [*labels.appended]}
        self._plain("gzip", labels.source.last_predictions())
        labels.append(labels.source.stragglers())
        after = {self.topic: self.appended, labels.topic: labels.appended}
        stragglers = {topic: dict(enumerate(map(range, before[topic], after[topic]))) for topic in before}
        self._say_time(labels, SETTLED)
        return stragglers

    def _say_time(self, labels: LabelTopic, later: int) -> None:
        """Send an event to each partition, and the labels that come until then. later: ms after the last burst."""
        until = EPOCH + self.time.passed + later
        self._plain("gzip", closing(len(self.appended), until))
        labels.append(labels.source.last(until))

    def _send_burst(self, burst: Sequence[Sent]) -> None:
        self._plain("gzip", [each for each in burst if _is_large(each)])
        rest = [each for each in burst if not _is_large(each)]
        for first in range(0, len(rest), _BLOCK):
            next(self._ways)(rest[first : first + _BLOCK])

    def silence(self, whose: str | int, bursts: int = 0) -> None:
        """Send nothing of a model, or to a partition, once so many more bursts are released."""
        self._silent[whose] = self.released + bursts

    def end_silence(self, whose: str | int) -> None:
        """Send everything of that model, or to that partition, again."""
        del self._silent[whose]

    @property
    def aborted(self) -> int:
        """How many transactions were aborted."""
        return self._transactions.aborted

    def try_to_pause(self) -> bool:
        """Send no further burst until `go_on`, if none is being sent; whether that is so."""
        return self._sending.acquire(blocking=False)

    def go_on(self) -> None:
        """End a pause."""
        self._sending.release()

    def begin_again(self) -> None:
        """Send to a new topic of the same name from now on. Producers number what they send, topic by topic."""
        self.appended = [0] * len(self.appended)
        self._open_producers()

    def _open_producers(self) -> None:
        settings = {**_SETTINGS, "bootstrap.servers": self.kafka}
        self._producers = {codec: Producer({**settings, "compression.type": codec}) for codec in _CODECS}

    def send_bomb(self, codec: str, place: int) -> None:
        """Append a message that is small as long as it is compressed."""
        with self._sending:
            self._plain(codec, self._placed([Sent(place, bytes(_BOMB))]))

    def add_partitions(self, count: int) -> None:
        """Send to `count` more partitions from now on, too: models that are spread over all of them."""
        self.appended += [0] * count

    def _placed(self, block: Iterable[Sent]) -> list[Sent]:
        silent = {whose for whose, after in dict(self._silent).items() if self.sent > after}
        placed = (each._replace(place=each.place % len(self.appended)) for each in block)
        return [each for each in placed if not silent & {each.model, each.place}]

    def _plain(self, codec: str, block: Sequence[Sent]) -> None:
        """Append a block, and return once it is acknowledged."""
        self._appended(_send(self._producers[codec], self.topic, block))

    def _appended(self, ends: dict[int, int]) -> None:
        for partition, end in ends.items():
            self.appended[partition] = max(self.appended[partition], end)


def _is_large(message: Sent) -> bool:
    return len(message.value or b"") > _LARGE


@dataclass
class _Transactions:
    """Appends each block in a transaction. An error that a transaction does not survive begins it anew."""

    kafka: str
    topic: str
    name: str
    appended: Callable[[dict[int, int]], None]
    aborted: int = 0
    _begun: int = 0
    _producer: Any = None

    def append(self, block: Sequence[Sent]) -> None:
        """Append a block; a part of the blocks is aborted first."""
        self._begun += 1
        if self._begun % _ABORTED == 0:
            self._repeat(lambda: self._abort(block))
        self._repeat(lambda: self._commit(block))

    def _abort(self, block: Sequence[Sent]) -> None:
        self._producer.begin_transaction()
        _send(self._producer, self.topic, block)
        self._producer.abort_transaction(_PATIENCE)
        self.aborted += 1

    def _commit(self, block: Sequence[Sent]) -> None:
        self._producer.begin_transaction()
        ends = _send(self._producer, self.topic, block)
        self._producer.commit_transaction(_PATIENCE)
        self.appended(ends)

    def _repeat(self, transaction: Callable[[], None]) -> None:
        """Try until it succeeds. A producer of the same name aborts what the last one has left open."""
        while True:
            try:
                if self._producer is None:
                    self._producer = transactional(self.kafka, self.name)
                return transaction()
            except (KafkaException, SendError):
                self._producer = None


@dataclass
class LabelTopic:
    """Appends labels to a topic of their own. appended: by partition, the end of what is committed."""

    kafka: str
    topic: str
    source: LateLabels
    appended: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    def __post_init__(self) -> None:
        self._producer = Producer({**_SETTINGS, "bootstrap.servers": self.kafka, "compression.type": "zstd"})
        self._transactions = _Transactions(self.kafka, self.topic, "chaos-labels", self._committed)
        self._ways: Iterator[Callable[[Sequence[Sent]], None]] = cycle([self._plain, self._transactions.append])

    def append(self, labels: Iterable[Label]) -> None:
        """Append labels in this order, and return once they are committed."""
        sent = [Sent(each.place, each.value) for each in labels]
        for first in range(0, len(sent), _BLOCK):
            next(self._ways)(sent[first : first + _BLOCK])

    def _plain(self, block: Sequence[Sent]) -> None:
        self._committed(_send(self._producer, self.topic, block))

    def _committed(self, ends: Mapping[int, int]) -> None:
        for partition, end in ends.items():
            self.appended[partition] = max(self.appended[partition], end)


class SendError(RuntimeError):
    """A message was not appended."""


def transactional(kafka: str, name: str, timeout_ms: int = 60_000) -> Any:
    """A transactional producer, ready to begin. timeout_ms: after which the broker aborts an open transaction."""
    own = {"bootstrap.servers": kafka, "transactional.id": name, "transaction.timeout.ms": timeout_ms}
    producer = Producer({**_SETTINGS, "message.timeout.ms": min(timeout_ms, _PATIENCE * 1000), **own})
    producer.init_transactions(_PATIENCE)
    return producer


def hang(kafka: str, topic: str, partitions: int, message: bytes) -> None:
    """Append a message to each partition in a transaction that only the broker ends, after `_HANGS`."""
    producer = transactional(kafka, f"hangs-{uuid4()}", _HANGS)
    producer.begin_transaction()
    _send(producer, topic, [Sent(partition, message) for partition in range(partitions)])


def _send(producer: Any, topic: str, block: Iterable[Sent]) -> dict[int, int]:
    """Append messages and wait for their acknowledgement; the end of each partition. Raises SendError."""
    ends: dict[int, int] = {}
    failed: list[str] = []

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            failed.append(str(error))
        else:
            ends[message.partition()] = max(ends.get(message.partition(), 0), message.offset() + 1)

    for each in block:
        _produce(producer, topic, each.value, each.place, delivered)
    producer.flush(_PATIENCE)
    if failed:
        raise SendError(f"{len(failed)} messages were not appended: {failed[0]}")
    return ends


def _produce(producer: Any, topic: str, value: bytes | None, partition: int, delivered: Callable[..., None]) -> None:
    """Hand over a message; one for a partition that has just been added, as soon as the producer knows of it."""
    while True:
        try:
            return producer.produce(topic, value, partition=partition, on_delivery=delivered)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise
            producer.poll(0.1)


def committed(kafka: str, topic: str) -> dict[int, dict[int, bytes | None]]:
    """The log of each partition, by offset, as readers of committed records see it.

    A transaction may still be open: a producer that commits one does not wait until the partitions know of it. So this
    waits until readers of committed records can read all.
    """
    ends = _ends(kafka, topic)
    with _reader(kafka, "read_committed") as consumer:
        logs: dict[int, dict[int, bytes | None]] = {partition: {} for partition in ends}
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        for message in _read_to(ends, consumer):
            logs[message.partition()][message.offset()] = message.value()
        return logs


def _read_to(ends: Mapping[int, int], consumer: Any) -> Iterator[Any]:
    """The messages of each partition up to its end."""
    unread = set(ends)
    while unread:
        for message in consumer.consume(10_000, 0.5):
            if not _is_end(message):
                yield message
            elif message.offset() >= ends[message.partition()]:
                unread.discard(message.partition())


def _ends(kafka: str, topic: str) -> dict[int, int]:
    """Where the log of each partition ends."""
    with _reader(kafka, "read_uncommitted") as consumer:
        partitions = sorted(consumer.list_topics(topic, 30).topics[topic].partitions)
        return {each: consumer.get_watermark_offsets(TopicPartition(topic, each), 30)[1] for each in partitions}


@contextmanager
def _reader(kafka: str, isolation: str) -> Iterator[Any]:
    settings = {
        "bootstrap.servers": kafka,
        "group.id": "none",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
    }
    consumer = Consumer({**settings, "isolation.level": isolation, "enable.auto.commit": False})
    try:
        yield consumer
    finally:
        with suppress(KafkaException):
            consumer.close()


def _is_end(message: Any) -> bool:
    """Whether this says that a partition is read to its end, and is no message. Raises KafkaException."""
    if message.error() is not None and message.error().code() != KafkaError._PARTITION_EOF:
        raise KafkaException(message.error())
    return message.error() is not None
