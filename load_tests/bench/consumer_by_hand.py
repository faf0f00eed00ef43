"""What a competent engineer writes by hand for speed: confluent-kafka, orjson, an ADWIN for each feature, Redis.

    python -m load_tests.bench.consumer_by_hand TOPIC BROKER REDIS FEATURES EVENTS

Detectors and offsets are saved together, in one write every 10,000 events; a restart would resume from them. Prints
{"events", "seconds", "cpu"} as JSON after EVENTS events, counted from the end of the first batch, and ends. Used by
`throughput.py`.

It does less than a worker: one model in one process, no baseline, no budget of false pages over all features, no
incident, no alert, no handover of partitions.
"""

from __future__ import annotations

import json
import pickle  # users do so, hence it is measured; Driftline does not
import sys
import time
from collections.abc import Iterator

import orjson
import redis
from confluent_kafka import Consumer, KafkaException, Message
from river.drift import ADWIN

_SAVE_EVERY, _BATCH = 10_000, 1_000
# Seconds without a record after which the topic counts as broken off.
_TIMEOUT = 30.0


def main() -> None:
    """Consume until the number of events in the arguments is reached, then print the figures."""
    topic, broker, store, features, events = sys.argv[1:]
    client = redis.Redis.from_url(f"redis://{store}/0")
    detectors = {f"feature_{i}": ADWIN() for i in range(int(features))}
    offsets: dict[int, int] = {}
    seen, first, began, cpu = 0, 0, 0.0, 0.0
    for batch in _batches(topic, broker):
        for message in batch:
            _update(detectors, message.value() or b"")
            offsets[message.partition() or 0] = (message.offset() or 0) + 1
            seen += 1
            if seen % _SAVE_EVERY == 0:
                client.set("consumer-by-hand", pickle.dumps((offsets, detectors)))
        if not first:
            first, began, cpu = seen, time.perf_counter(), time.process_time()
        if seen >= int(events):
            break
    spent = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    print(json.dumps({"events": seen - first, **spent}))


def _update(detectors: dict[str, ADWIN], value: bytes) -> None:
    features = orjson.loads(value)["features"]
    for name, detector in detectors.items():
        detector.update(features[name])


def _batches(topic: str, broker: str) -> Iterator[list[Message]]:
    """Batches of records without errors. Raises KafkaException for an error and TimeoutError when nothing comes."""
    settings = {"bootstrap.servers": broker, "group.id": "consumer-by-hand", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([topic])
    try:
        while batch := consumer.consume(_BATCH, timeout=_TIMEOUT):
            for message in batch:
                if error := message.error():
                    raise KafkaException(error)
            yield batch
        raise TimeoutError(f"no record of {topic} within {_TIMEOUT:.0f} s")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
