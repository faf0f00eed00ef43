"""Faults of Redis: its nodes end, hang or change roles, or refuse what is written."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import redis as sync_redis

from driftline.stream.demo.servers import Server
from load_tests.chaos.faults.processes import disk_full, killed, no_limits, paused
from load_tests.chaos.schedule import Fault, Kind, Topology
from load_tests.chaos.site import Site
from load_tests.harness.redis_topologies import client, move_slot

# Seconds to wait until a run that the idle timeout ended is sealed: it ends a second after a burst, but workers that
# recover from the fault before may need most of a minute.
_UNTIL_IDLE_RUN_ENDED = 60.0
# Seconds to wait for what Redis does within one on a quiet machine: to fail at a snapshot, to begin a failover.
_UNTIL_DONE = 15.0


def _primary(site: Site, fault: Fault) -> Server:
    primaries = site.redis.primaries()
    return primaries[fault.victim % len(primaries)]


@contextmanager
def _power_cut(site: Site, fault: Fault) -> Iterator[None]:
    """At the worst moment: the idle timeout has just ended a run."""
    before = site.watch.now.sealed
    site.producer.release_burst()
    site.wait_for(lambda: _idle_run_ended(before, site), _UNTIL_IDLE_RUN_ENDED)
    site.cut_bytes.append(site.file.cut(fault.delay))
    site.relay.interrupt()
    yield
    site.redis.nodes[0].start()


def _idle_run_ended(before: Sequence[int], site: Site) -> bool:
    ends = zip(before, site.watch.now.sealed, site.producer.appended, strict=True)
    return any(old < end == appended for old, end, appended in ends)


@contextmanager
def _memory_full(site: Site, _fault: Fault) -> Iterator[None]:
    site.redis.configure(maxmemory="1")
    yield
    site.redis.configure(maxmemory="0")


@contextmanager
def _snapshot_failed(site: Site, fault: Fault) -> Iterator[None]:
    """A folder is where the snapshot's file should be."""
    server = _primary(site, fault)
    obstacle = server.log.parent / "dump.rdb"
    obstacle.mkdir()
    with client(server) as redis:
        redis.config_set("save", "3600 1000000")
        redis.bgsave()
        site.wait_for(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", _UNTIL_DONE)
        yield
        obstacle.rmdir()
        redis.config_set("save", "")


@contextmanager
def _without_replicas(site: Site, _fault: Fault) -> Iterator[None]:
    """A Redis that has replicas requires one; the other one, which has none, is made to."""
    replicas = [server.process for server in site.redis.secondaries() if server.process]
    if not replicas:
        site.redis.configure(min_replicas_to_write="1")
    for process in replicas:
        process.send_signal(signal.SIGSTOP)
    yield
    for process in replicas:
        process.send_signal(signal.SIGCONT)
    if not replicas:
        site.redis.configure(min_replicas_to_write="0")


@contextmanager
def _busy(site: Site, fault: Fault) -> Iterator[None]:
    with client(_primary(site, fault)) as redis:
        redis.config_set("busy-reply-threshold", "100")
        script = redis.connection_pool.get_connection()
        script.send_command("EVAL", "while true do end", "0")
        yield
        with suppress(sync_redis.RedisError):  # a sentinel has ended the script
            redis.script_kill()
        script.disconnect()


@contextmanager
def _fail_over(site: Site, fault: Fault) -> Iterator[None]:
    site.wait_for(lambda: _failover_begun(site, fault), _UNTIL_DONE)
    yield


def _failover_begun(site: Site, fault: Fault) -> bool:
    servers = site.redis.sentinels or site.redis.secondaries()
    with client(servers[fault.victim % len(servers)]) as redis, suppress(sync_redis.ResponseError):
        redis.execute_command(*(("SENTINEL FAILOVER", "main") if site.redis.sentinels else ("CLUSTER FAILOVER",)))
        return True
    return False  # one was a moment ago


@contextmanager
def _slot_moved(site: Site, fault: Fault) -> Iterator[None]:
    """The slot of some key, so that for a while, some of its keys are here and some there."""
    primaries = site.redis.primaries()
    first = fault.victim % len(primaries)
    with ExitStack() as stack:
        source, target, *others = (
            stack.enter_context(client(each)) for each in (*primaries[first:], *primaries[:first])
        )
        steps = move_slot(source, target, others)
        next(steps)
        yield
        for _ in steps:
            pass


_WITHOUT_REPLICAS: Sequence[Topology] = ("one", "brokers")
_WITH_REPLICAS: Sequence[Topology] = ("sentinel", "cluster")

KINDS = (
    Kind("redis SIGKILL", "redis", killed(_primary), seconds=(0.0, 6.0)),
    Kind("redis SIGSTOP, then SIGCONT", "redis", paused(_primary), seconds=(1.0, 12.0)),
    Kind("redis down for a minute", "redis", killed(_primary), seconds=(45.0, 90.0), topologies=_WITHOUT_REPLICAS),
    # Up to one second of writes is lost with everysec. With always, it would lose no more than SIGKILL does.
    Kind(
        "redis power cut",
        "redis",
        _power_cut,
        seconds=(0.0, 2.0),
        delay=(0.3, 1.0),
        topologies=_WITHOUT_REPLICAS,
        fsync=("everysec",),
        bursts=3,
    ),
    Kind("redis memory full", "redis", _memory_full, seconds=(2.0, 20.0)),
    Kind("redis disk full", "redis", disk_full(_primary), seconds=(2.0, 20.0), obstacle=no_limits),
    Kind("redis snapshot failed", "redis", _snapshot_failed, seconds=(2.0, 20.0)),
    Kind("redis without replicas", "redis", _without_replicas, seconds=(5.0, 20.0)),
    Kind("redis busy with a script", "redis", _busy, seconds=(2.0, 20.0)),
    Kind("redis failover", "redis", _fail_over, topologies=_WITH_REPLICAS),
    Kind("redis slot moved", "redis", _slot_moved, seconds=(0.5, 3.0), topologies=("cluster",)),
)
