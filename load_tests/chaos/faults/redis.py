"""Faults of Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site

# Seconds to wait until a run that the idle timeout ended is sealed: it ends a second after a burst, but workers that
# recover from the fault before may need most of a minute.
_UNTIL_IDLE_RUN_ENDED = 60.0


@contextmanager
def _kill(site: Site, _fault: Fault) -> Iterator[None]:
    site.redis.kill()
    yield
    site.redis.start()


@contextmanager
def _power_cut(site: Site, fault: Fault) -> Iterator[None]:
    """At the worst moment: the idle timeout has just ended a run."""
    before = site.watch.now.sealed
    site.producer.release_burst()
    site.wait_for(lambda: _idle_run_ended(before, site), _UNTIL_IDLE_RUN_ENDED)
    site.cut_bytes.append(site.file.cut(fault.delay))
    yield
    site.redis.start()


def _idle_run_ended(before: Sequence[int], site: Site) -> bool:
    ends = zip(before, site.watch.now.sealed, site.producer.appended, strict=True)
    return any(old < end == appended for old, end, appended in ends)


KINDS = (
    Kind("redis SIGKILL", "redis", _kill, seconds=(0.0, 3.0)),
    # Up to one second of writes is lost with everysec. With always, it would lose no more than SIGKILL does.
    Kind("redis power cut", "redis", _power_cut, seconds=(0.0, 2.0), delay=(0.3, 1.0), fsync=("everysec",), bursts=3),
)
