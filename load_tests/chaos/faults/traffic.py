"""What producers do by themselves: a model stops for days, a partition gets nothing, or a clock is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site
from load_tests.chaos.traffic import BETWEEN_BURSTS, KEYED

# Seconds between two bursts: ticks come every 10 s, and what is more than a day ahead of them is not counted.
_PACE = 6.0
# Bursts before a model stops: two days and some hours are learned before a silence is judged.
_LEARNED = 54 * 3_600_000 // BETWEEN_BURSTS
# Seconds of a silence and of the bursts before it. In that of 9 bursts a model misses more than two days: 8 times the
# longest gap that it had, the time between two bursts.
_DAYS = (_PACE * (_LEARNED + 11), _PACE * (_LEARNED + 13))


@contextmanager
def _model_stops(site: Site, fault: Fault) -> Iterator[None]:
    model = KEYED[fault.victim % len(KEYED)]
    site.producer.silence(model, max(0, _LEARNED - site.producer.released))
    with _bursts(site):
        yield
    site.producer.end_silence(model)


@contextmanager
def _partition_silent(site: Site, fault: Fault) -> Iterator[None]:
    """It has no time of its own then, which delays the judgement of absence for all."""
    partition = fault.victim % len(site.producer.appended)
    site.producer.silence(partition)
    with _bursts(site):
        yield
    site.producer.end_silence(partition)


@contextmanager
def _wrong_clock(site: Site, fault: Fault) -> Iterator[None]:
    site.producer.time.wrong = round(fault.delay * 1000)
    with _bursts(site):
        yield
    site.producer.time.wrong = 0


@contextmanager
def _version_rolled_out(site: Site, _fault: Fault) -> Iterator[None]:
    """A tenth more of the events with each burst, up to all; the next time, it is rolled out again."""
    time = site.producer.time

    def more() -> None:
        time.rolled = min(10, time.rolled + 1)

    time.rolled = 1
    with _bursts(site, more):
        yield
    time.rolled = 10


@contextmanager
def _bursts(site: Site, before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Bursts of traffic, whatever else happens; the next one once workers have read the last one.

    before: is called before each.
    """
    done = threading.Event()

    def release() -> None:
        while not done.wait(_PACE):
            if site.behind() <= 0:
                before()
                site.producer.release_burst()

    thread = threading.Thread(target=release, name="bursts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


KINDS = (
    Kind("model stops, then starts again", "traffic", _model_stops, seconds=_DAYS, bursts=2 + _LEARNED + 12),
    Kind("partition silent", "traffic", _partition_silent, seconds=(15.0, 40.0), bursts=6),
    # Later or earlier than other producers by less than what models miss before it is silence.
    Kind("producer's clock wrong", "traffic", _wrong_clock, (10.0, 30.0), delay=(-10_000.0, 10_000.0), bursts=5),
    Kind("version rolled out", "traffic", _version_rolled_out, (40.0, 60.0), bursts=9),
)
