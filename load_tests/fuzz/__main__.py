"""Hostile messages for every reader of messages: no crash, no wrong value, flat memory.

    python -m load_tests.fuzz                                   20,000 messages, some seconds
    python -m load_tests.fuzz --messages 1000000 --seed 3       some minutes

A message is a table of rows written in one of many shapes; three of four are damaged, in their document or in their
bytes. What Driftline accepts must be what a naive second reading finds, value by value, and an undamaged message must
be accepted. The fast path must agree with the exact reader. Exit code 0: all agreed. 1: something is wrong; it is
printed with its message.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from driftline.stream.events.columns import Field, tabulate
from driftline.stream.events.decode import Decoder, Origins
from driftline.stream.events.frames import parse_schema
from driftline.stream.events.mapping import NATIVE
from driftline.stream.events.parse import EventError, EventReader, ParsedRecord
from load_tests.fuzz import avro
from load_tests.fuzz.mutations import damage_bytes, damage_document, encode
from load_tests.fuzz.shapes import CANNOT, SHAPES, START_MS, Row, Shape, flat, naive_ms

# MB by which memory may grow once a tenth of the messages is read: the allocator's noise, not a leak of one in a
# thousand messages.
MOST_GROWTH = 30
FIELDS = [
    Field("features.x", True), Field("features.c", False), Field("features.f", True, flag=True),
    Field("features.deep.y", True), Field("score", True), Field("prediction", False),
]  # fmt: skip
# Seconds for one message: the largest takes some 0.2 s on a busy machine.
MOST_SECONDS = 5.0
NAMES = ("x", "c", "f", "n", "name", "data", "a b")


@dataclass
class Outcome:
    """What the messages came to."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def fail(self, what: str, data: bytes) -> None:
        self.wrong.append(f"{what}: {data[:2000]!r}")


def table(rng: random.Random, rows: int) -> list[Row]:
    names = rng.sample(NAMES, rng.randint(2, len(NAMES)))
    values = {
        "x": lambda: rng.choice([rng.gauss(0, 1), 3, -7, None]),
        "c": lambda: rng.choice(["a", "b", "ü", None]),
        "f": lambda: rng.choice([0, 1, 1.5]),
    }
    return [{name: values.get(name, rng.random)() for name in names} for _ in range(rows)]


def leaves(signals: Any) -> Row:
    return {name: value for name, value in signals.items() if not isinstance(value, dict)}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return isinstance(theirs, list)  # an array is not monitored, whatever it holds
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    numbers = type(ours) in (int, float) and type(theirs) in (int, float)
    if numbers and (ours != ours or theirs != theirs):
        return ours != ours and theirs != theirs
    return ours == theirs and (numbers or type(ours) is type(theirs))


def read(reader: EventReader, data: bytes) -> ParsedRecord | None:
    try:
        return reader.read(data)
    except EventError:
        return None


def check_record(shape: Shape, record: ParsedRecord, document: Any) -> str | None:
    """How the events of a message differ from the naive reading; None if they do not."""
    try:
        rows = shape.read(document)
    except CANNOT as error:
        return f"accepted, but a naive reading fails: {error!r}"
    bad = {fault.row for fault in record.faults}
    good = [row for number, row in enumerate(rows) if number not in bad]
    if len(good) != len(record.events):
        return f"{len(record.events)} events, but {len(good)} rows"
    for event, row in zip(record.events, good, strict=True):
        if row is None or not same(leaves(event.signals), row):
            return f"{leaves(event.signals)!r} is not {row!r}"
        time = naive_ms(document["ts"])
        if time is not None and abs(time - event.ts) > 1:
            return f"the time {document['ts']!r} is not {event.ts}"
        if event.id.partition("#")[0] != str(document["id"]).partition("#")[0] or event.model != str(document["model"]):
            return f"{event.id!r} of {event.model!r} is not {document['id']!r} of {document['model']!r}"
    return None


def as_json(data: bytes) -> Any:
    return json.loads(data.decode("utf-8-sig", "surrogateescape"))


class Fuzzer:
    """Writes, damages and reads messages. seed: of all chance."""

    def __init__(self, seed: int) -> None:
        self.rng, self.outcome = random.Random(seed), Outcome()
        self.readers = {name: EventReader(shape.mapping) for name, shape in SHAPES.items()}
        self.decoders = {name: Decoder({"m": FIELDS}, SHAPES[name].mapping) for name in ("native", "rest")}
        self.avro = EventReader(NATIVE, schemas={avro.SCHEMA_ID: parse_schema(avro.TEXT, "AVRO")})

    def step(self, number: int) -> None:
        """One message."""
        started = time.monotonic()
        if self.rng.random() < 0.15:
            self._avro(number)
        else:
            self._json(number)
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - started)

    def _json(self, number: int) -> None:
        rng = self.rng
        name = rng.choice(list(SHAPES))
        shape = SHAPES[name]
        head = {"id": rng.choice([f"e{number}", number]), "ts": START_MS + number, "model": "m"}
        document = head | shape.write(table(rng, shape.rows or rng.choice([1, 2, 5])))
        kind = rng.choice(["whole", "document", "document", "bytes"])
        for _ in range(rng.choice([1, 1, 2, 5]) if kind == "document" else 0):
            damage_document(document, rng)
        data = encode(document)
        data = damage_bytes(data, rng) if kind == "bytes" else data
        record = read(self.readers[name], data)
        self.outcome.counts[f"{kind}, {'refused' if record is None else 'accepted'}"] += 1
        if kind == "whole" and (record is None or record.faults):
            self.outcome.fail(f"{name}: an undamaged message is refused", data)
        if record is not None and (difference := check_record(shape, record, as_json(data))):
            self.outcome.fail(f"{name}: {difference}", data)
        if name in self.decoders:
            self._fast(name, data, record)

    def _fast(self, name: str, data: bytes, record: ParsedRecord | None) -> None:
        decoded = self.decoders[name].decode([data], Origins("t", 0, np.array([5])))
        events = [] if record is None else [(0, event) for event in record.events if event.model == "m"]
        exact, fast = tabulate(FIELDS, events), decoded.known.get("m")
        if fast is None:
            agrees = not events
        else:
            agrees = (
                np.array_equal(fast.numeric, exact.numeric, equal_nan=True)
                and (fast.texts, fast.ids, fast.ts.tolist()) == (exact.texts, exact.ids, exact.ts.tolist())
                and fast.defects == exact.defects
            )
        if not agrees:
            self.outcome.fail(f"{name}: the fast path reads another event", data)

    def _avro(self, number: int) -> None:
        rng = self.rng
        document = avro.document(rng, number)
        data = avro.frame(document)
        damaged = rng.random() < 0.75
        data = damage_bytes(data, rng) if damaged else data
        record = read(self.avro, data)
        self.outcome.counts[f"Avro{' damaged' * damaged}, {'refused' if record is None else 'accepted'}"] += 1
        if not damaged and record is None:
            self.outcome.fail("Avro: an undamaged frame is refused", data)
        if record is None:
            return
        try:
            found = avro.naive(data) if data[:1] == b"\x00" else as_json(data)
        except avro.OddEncodingError:
            self.outcome.counts["Avro damaged, accepted with a number or an index that fastavro wraps"] += 1
            return
        except CANNOT as error:
            self.outcome.fail(f"Avro: accepted, but a naive reading fails: {error!r}", data)
            return
        expected = flat("features", found["features"]) | flat("score", found["score"])
        if not same(leaves(record.events[0].signals), expected):
            self.outcome.fail(f"Avro: {leaves(record.events[0].signals)!r} is not {expected!r}", data)


def megabytes() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    arguments = parser.parse_args()
    console, fuzzer = Console(), Fuzzer(arguments.seed)
    outcome, settled = fuzzer.outcome, math.inf
    for number in track(range(arguments.messages), "reading", console=Console(stderr=True), transient=True):
        fuzzer.step(number)
        if number == arguments.messages // 10:
            settled = megabytes()
        if len(outcome.wrong) >= 10:
            break
    growth = megabytes() - settled
    for name, count in sorted(outcome.counts.items()):
        console.print(f"{count:>10,}  {name}")
    console.print(f"slowest message {outcome.slowest:.2f} s; memory grew by {growth:.0f} MB")
    for each in outcome.wrong:
        console.print(each, style="red", markup=False)
    bad = outcome.wrong or growth > MOST_GROWTH or outcome.slowest > MOST_SECONDS
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
