"""What the configuration names and a process must have before it starts: waiting would not bring it."""

from __future__ import annotations

from driftline.stream.config.sections import Config
from driftline.stream.kafka.client import KafkaUnreachableError, client_options
from driftline.stream.state.client import StoreError, check_named


class MissingSecretError(RuntimeError):
    """A password, token, key or certificate that the configuration names is not there; the message says which."""


def check_secrets(config: Config) -> None:
    """Raise MissingSecretError if a password or certificate of Redis or Kafka is missing. Contacts neither."""
    try:
        check_named(config.redis)
        client_options(config.kafka)
    except (StoreError, KafkaUnreachableError) as error:
        raise MissingSecretError(str(error)) from error
