"""A first version as users write it: a Faust agent with River's detectors for every feature, pickled to Redis.

    python -m load_tests.bench.faust_by_hand TOPIC BROKER REDIS FEATURES EVENTS KSWIN(0|1)

Prints {"events", "seconds", "cpu"} as JSON after EVENTS events, and ends. Used by `throughput.py`.
"""

from __future__ import annotations

import json
import os
import pickle  # users do so, hence it is measured; Driftline does not
import sys
import time
from typing import Any

import faust
import orjson
import redis.asyncio as redis
from river.drift import ADWIN, KSWIN

# Events between two writes to Redis: one write a second at the rate that this agent reaches.
_SAVE_EVERY = 1_000


def main() -> None:
    """Run the agent on the arguments."""
    topic, broker, store, features, events, with_kswin = sys.argv[1:]
    app = faust.App(
        f"by-hand-{with_kswin}", broker=f"kafka://{broker}", value_serializer="raw", topic_allow_declare=False,
        consumer_auto_offset_reset="earliest", web_enabled=False, topic_disable_leader=True,
    )  # fmt: skip
    client = redis.Redis.from_url(f"redis://{store}/0")
    names = [f"feature_{i}" for i in range(int(features))]
    detectors: dict[str, list[Any]] = {
        name: [ADWIN(), *([KSWIN(seed=1)] if with_kswin == "1" else [])] for name in names
    }

    @app.agent(app.topic(topic))
    async def watch(stream: Any) -> None:
        seen, began, cpu = 0, time.perf_counter(), time.process_time()
        async for value in stream:
            event = orjson.loads(value)
            for name in names:
                for detector in detectors[name]:
                    detector.update(event["features"][name])
            seen += 1
            if seen % _SAVE_EVERY == 0:
                await client.set("by-hand", pickle.dumps(detectors))
            if seen == int(events):
                spent = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
                # Faust replaces sys.stdout.
                os.write(1, (json.dumps({"events": seen, **spent}) + "\n").encode())
                os._exit(0)

    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()
