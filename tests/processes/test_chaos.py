"""The parts of a chaos run by themselves, and a short run on a real Kafka and a real Redis."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from load_tests.chaos.fleet import surprises
from load_tests.chaos.schedule import Kind, schedule
from load_tests.chaos.traffic import KEYED, MODELS, PARTITIONS, SPREAD, traffic
from load_tests.harness.tcp_proxy import Gate

# Schedule and traffic


def test_a_schedule_is_that_of_its_seed_and_has_every_kind_before_any_comes_again() -> None:
    assert schedule(1, 40, "everysec") == schedule(1, 40, "everysec")
    assert schedule(1, 40, "everysec") != schedule(2, 40, "everysec")
    for seed in range(20):
        kinds = [each.kind for each in schedule(seed, 26, "everysec")]
        assert set(kinds[:13]) == set(kinds[13:]) == set(Kind)


def test_a_redis_that_syncs_always_has_no_power_cut() -> None:
    """It would lose nothing by it."""
    assert {each.kind for each in schedule(1, 12, "always")} == set(Kind) - {Kind.REDIS_POWER_CUT}


def test_a_stopped_worker_stands_still_beyond_its_session() -> None:
    frozen = [each.seconds for each in schedule(1, 200, "always") if each.kind is Kind.FREEZE]
    assert min(frozen) > 6


def test_a_worker_that_ended_by_a_bug_is_told() -> None:
    """Whoever is started next makes up for it, so that nothing else shows it."""
    designed = "\n".join(f"[^Agent]: Crashed reason={each}" for each in ("Mismatch('x')", "NodeNotReadyError(1)"))
    assert surprises(designed) == []
    assert surprises(f"{designed}\nCrashed reason=TypeError('a')\n" * 2) == ["2 workers ended by TypeError"]


def test_models_lie_on_one_partition_or_on_all() -> None:
    sent = list(traffic(1, 20_000))
    assert sent == list(traffic(1, 20_000))
    places: dict[str, set[int]] = {model: set() for model in MODELS}
    for each in sent:
        if each.value and each.value.startswith(b'{"id":"') and b'"ts"' in each.value:
            places[orjson.loads(each.value)["model"]].add(each.partition)
    counts = {model: len(found) for model, found in places.items()}
    assert counts == dict.fromkeys(KEYED, 1) | dict.fromkeys(SPREAD, PARTITIONS)


# The proxy


@contextmanager
def echo() -> Iterator[int]:
    """A server that says what it hears; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=[connection], daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def said(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(1 << 16)


def ended(client: socket.socket) -> bool:
    """Whether a connection ends, in whatever way."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_gate_passes_bytes_on_holds_them_back_and_cuts() -> None:
    with echo() as port, Gate(port) as gate:
        gate.open()
        with socket.create_connection(("127.0.0.1", gate.port), timeout=10) as client:
            assert said(client, b"hello") == b"hello"
            gate.delay = 0.2
            began = time.monotonic()
            assert said(client, b"slow") == b"slow"
            assert time.monotonic() - began >= 0.4, "there and back"
            gate.delay = 0.0
            gate.close()
            assert ended(client)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gate.port), timeout=10)
        gate.open()
        with socket.create_connection(("127.0.0.1", gate.port), timeout=10) as client:
            assert said(client, b"again") == b"again"


def test_a_gate_before_a_server_that_is_away_ends_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Gate(port) as gate:
        gate.open()
        with socket.create_connection(("127.0.0.1", gate.port), timeout=10) as client:
            assert ended(client)


# The whole


@pytest.mark.kafka
def test_a_short_run_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.jsonl"
    arguments = ["--seeds", "2", "--events", "30000", "--faults", "13", "--keep", str(tmp_path), "--out", str(out)]
    command = [sys.executable, "-m", "load_tests.chaos.run", *arguments, "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    (result,) = json.loads(done.stdout)
    assert result == json.loads(out.read_text())
    assert (result["equal"], result["wrongs"]) == (True, [])
    assert (result["lost"], result["doubled"], result["models"]) == (0, 0, 30)
    assert result["alerts"] > 0
    assert result["bytes lost in power cuts"] > 0
    assert result["runs ended by the clock"] > 0
    assert result["panes published again"] > 0
    again = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert json.loads(again.stdout) == [result], "what the file holds is not run again"
