"""How to reach Kafka: the configuration's `kafka` section as options of each client library, and a first connection."""

from __future__ import annotations

import logging
import math
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust.types.auth import CredentialsT

from driftline.stream.config.sections import Kafka
from driftline.stream.retry import Waits, patiently

_ResultT = TypeVar("_ResultT")
# s between two lines about refused writes in the log: aiokafka would write ten a second.
_LOG_EVERY = 5.0


class KafkaUnreachableError(RuntimeError):
    """Kafka does not answer or refuses at the moment, or a password or certificate is missing; the message says it."""


async def call_kafka(call: Callable[..., Awaitable[_ResultT]], *args: Any) -> _ResultT:
    """What a call of aiokafka answers, called again while its error may pass, see `stream.retry.patiently`.

    Raises KafkaUnreachableError after some 10 s, unless this process waits without end; other KafkaErrors at once.
    """
    return await patiently("Kafka", KafkaUnreachableError, _call_once, call, *args)


async def _call_once(call: Callable[..., Awaitable[_ResultT]], *args: Any) -> _ResultT:
    try:
        return await call(*args)
    except KafkaError as error:
        if error.retriable or isinstance(error, KafkaTimeoutError):
            raise KafkaUnreachableError(f"Kafka refuses at the moment: {error!r}") from error
        raise


def wait_for_acknowledgement(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """Let a producer of aiokafka try to send what it holds until Kafka takes it; returns the producer.

    By default a batch without a leader expires, also if the producer is idempotent. Then its sequence number is lost,
    and Kafka refuses everything that follows.
    """
    producer._message_accumulator._batch_ttl = math.inf
    return producer


class RefusedWrites(logging.Filter):
    """Notes which errors aiokafka's producer meets, since only its log says it, and lets few of these lines pass."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits, self._passed = waits, -math.inf

    def watch(self) -> None:
        """Begin."""
        logging.getLogger("aiokafka.producer.sender").addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line may pass."""
        self._waits.refused("Kafka", record.getMessage())
        passes = record.created - self._passed >= _LOG_EVERY
        self._passed = record.created if passes else self._passed
        return passes


class FailedConnections(logging.Filter):
    """Notes when aiokafka does not reach Kafka: a worker that joins its group makes no call that could say so."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def watch(self) -> None:
        """Begin."""
        for name in ("aiokafka", "aiokafka.consumer.group_coordinator"):
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line may pass: all do."""
        if record.levelno >= logging.ERROR:
            self._waits.unreachable_at = time.monotonic()
        return True


def check_reachable(kafka: Kafka, timeout: float = 3.0) -> None:
    """Connect to the bootstrap brokers in turn, `timeout` seconds each, until one accepts.

    Call it before making a client of kafka-python: one that fails to start leaves a thread and a socket behind.
    Raises KafkaUnreachableError if no broker accepts.
    """
    reasons = []
    for broker in kafka.bootstrap.split(","):
        host, _, port = broker.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout).close()
        except OSError as error:
            reasons.append(f"{broker} ({error.strerror or error})")
        else:
            return
    raise KafkaUnreachableError(f"Kafka can't be reached at {', '.join(reasons)}")


def client_options(kafka: Kafka) -> dict[str, Any]:
    """Keyword arguments for any client of kafka-python or aiokafka: both use the same names.

    Raises KafkaUnreachableError if the environment has no variable `password_env`, or `ca_file` cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "security_protocol": kafka.security_protocol,
        "ssl_context": _ssl_context(kafka),
    }
    if kafka.sasl_mechanism:
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": _password(kafka),
        }
    return options


def faust_credentials(kafka: Kafka) -> CredentialsT | None:
    """The same for Faust's setting `broker_credentials`; None for PLAINTEXT."""
    context = _ssl_context(kafka)
    if kafka.sasl_mechanism:
        return faust.SASLCredentials(
            username=kafka.username, password=_password(kafka), mechanism=kafka.sasl_mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context) if context else None


def _ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        return ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:  # which ssl.SSLError is, too
        raise KafkaUnreachableError(f"kafka.ca_file: cannot read {kafka.ca_file}: {error.strerror or error}") from error


def _password(kafka: Kafka) -> str | None:
    if kafka.password_env is None:
        return None
    password = os.environ.get(kafka.password_env)
    if password is None:
        raise KafkaUnreachableError(f"kafka.password_env: there is no environment variable {kafka.password_env}")
    return password
