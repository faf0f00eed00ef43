"""The TCP proxy in front of Kafka and Redis, tested on an echo server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from load_tests.harness.tcp_proxy import TcpProxy


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it receives; its port."""
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


def echoed(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(1 << 16)


def ended(client: socket.socket) -> bool:
    """Whether the server closes or resets a connection."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_proxy_forwards_bytes_delays_them_and_cuts_connections() -> None:
    with echo() as port, TcpProxy(port) as proxy:
        proxy.open()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
            assert echoed(client, b"hello") == b"hello"
            proxy.delay = 0.2
            began = time.monotonic()
            assert echoed(client, b"slow") == b"slow"
            assert time.monotonic() - began >= 0.4, "both ways are delayed"
            proxy.delay = 0.0
            proxy.close()
            assert ended(client)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        proxy.open()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
            assert echoed(client, b"again") == b"again"


def test_a_proxy_in_front_of_a_server_that_is_down_ends_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with TcpProxy(port) as proxy:
        proxy.open()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
            assert ended(client)


def test_one_client_is_cut_off_while_another_one_is_served() -> None:
    with echo() as port, TcpProxy(port) as proxy:
        proxy.open()
        with connect(proxy) as one, connect(proxy) as other:
            served = port_of(other)
            proxy.shut_out(lambda client: client != served)
            assert ended(one)
            assert echoed(other, b"hello") == b"hello"
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as late:
            assert ended(late)
        proxy.open()
        with connect(proxy) as late:
            assert echoed(late, b"hello") == b"hello"


def test_what_a_frozen_client_sent_arrives_when_the_proxy_opens() -> None:
    with echo() as port, TcpProxy(port) as proxy:
        proxy.open()
        with connect(proxy) as one, connect(proxy) as other:
            proxy.freeze(lambda client: client == port_of(one))
            one.sendall(b"late")
            assert echoed(other, b"hello") == b"hello"
            while not proxy.held:
                time.sleep(0.01)
            assert proxy.held == b"late"
            proxy.open()
            assert one.recv(4) == b"late"


def test_what_a_frozen_client_sent_is_lost_when_the_proxy_closes() -> None:
    with echo() as port, TcpProxy(port) as proxy:
        proxy.open()
        with connect(proxy) as one:
            proxy.freeze()
            one.sendall(b"lost")
            proxy.close()
            assert ended(one)


def connect(proxy: TcpProxy) -> socket.socket:
    """A connection that the server answers."""
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    assert echoed(client, b"?") == b"?"
    return client


def port_of(client: socket.socket) -> int:
    return int(client.getsockname()[1])
