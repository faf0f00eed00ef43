"""How to reach Kafka: the configuration's `kafka` section as options of each client library, and a first connection."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

import faust
from faust.types.auth import CredentialsT

from driftline.stream.config.sections import Kafka


class KafkaUnreachableError(RuntimeError):
    """No bootstrap broker accepts a connection, or the password is not set; the message says which."""


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

    KafkaUnreachableError when the environment has no variable `password_env`, OSError when `ca_file` can't be read.
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
    return ssl.create_default_context(cafile=kafka.ca_file)


def _password(kafka: Kafka) -> str | None:
    if kafka.password_env is None:
        return None
    password = os.environ.get(kafka.password_env)
    if password is None:
        raise KafkaUnreachableError(f"kafka.password_env: there is no environment variable {kafka.password_env}")
    return password
