"""Creates the topics that Driftline needs, and reports how existing ones differ from what it wants.

    with open_admin(config.kafka) as admin:
        for line in ensure_topics(admin, wanted_topics(config.topics)):
            print(line)

Existing topics are never changed: more partitions send a model's keys elsewhere, a shorter retention deletes records.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.structs import OffsetAndMetadata

from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.client import KafkaUnreachableError, check_reachable, client_options
from driftline.stream.schemas.topics import Topic, differences, kept_for, pane_size_problem
from driftline.stream.text.phrases import counted

log = logging.getLogger(__name__)

#: s in which a broker that accepts connections must answer requests. A restart takes some 5; at half it looks dead.
BOOTSTRAP_TIMEOUT = 10.0


class TopicsError(RuntimeError):
    """Kafka refuses an operation on a topic; the message says which, and why."""


@contextmanager
def open_admin(kafka: Kafka, request_timeout: float = 30.0) -> Iterator[KafkaAdminClient]:
    """An admin client; its requests take `request_timeout` seconds at most.

    Raises KafkaUnreachableError if no broker accepts a connection, or none answers in time.
    """
    check_reachable(kafka)
    timeouts = {"bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT, "request_timeout_ms": request_timeout}
    try:
        admin = KafkaAdminClient(**client_options(kafka), **{name: int(s * 1000) for name, s in timeouts.items()})
    except KafkaError as error:
        raise KafkaUnreachableError(f"Kafka at {kafka.bootstrap} does not answer requests: {error}") from error
    try:
        yield admin
    finally:
        admin.close()


def ensure_topics(admin: KafkaAdminClient, wanted: Sequence[Topic]) -> list[str]:
    """Create the missing topics. Returns one line per topic: what was done, or what differs.

    Raises TopicsError if Kafka refuses one.
    """
    found = describe_topics(admin, [topic.name for topic in wanted])
    return [_keep(found[topic.name], topic) if topic.name in found else _create(admin, topic) for topic in wanted]


def describe_topics(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, Topic]:
    """The topics of these names that exist, as they are. Creates none, whatever the broker's setting."""
    existing = sorted(set(names) & set(admin.list_topics()))
    if not existing:
        return {}
    settings = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing], config_filter="all"
    )["topic"]
    return {entry["name"]: _as_topic(entry, settings[entry["name"]]) for entry in admin.describe_topics(existing)}


def group_members(admin: KafkaAdminClient, group: str) -> int:
    """How many clients a consumer group has now. Raises TopicsError if Kafka does not say."""
    try:
        found = admin.describe_groups([group])[group]
    except (KafkaError, ValueError) as error:  # ValueError: for an answer of the embedded broker
        raise TopicsError(f"Kafka does not say whether group {group} has members: {error}") from error
    if found["error"] and "GroupIdNotFound" not in found["error"]:
        raise TopicsError(f"Kafka does not say whether group {group} has members: {found['error']}")
    return len(found["members"])


def commit_offsets(admin: KafkaAdminClient, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Set the committed offsets of a group without members, by topic and partition. Raises TopicsError."""
    wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in offsets.items()}
    for tp, error in admin.alter_group_offsets(group, wanted).items() if wanted else ():
        if error is not NoError:
            raise TopicsError(f"Kafka refuses offset {wanted[tp].offset} of {tp} for group {group}: {error.__name__}")


def missing_topics(admin: KafkaAdminClient, names: Iterable[str]) -> list[str]:
    """One line for each topic that does not exist, saying what to do. A consumer would wait for it silently."""
    existing = set(admin.list_topics())
    return [
        f"topic {name} doesn't exist: create it with `driftline topics create`, or correct its configured name"
        for name in names
        if name not in existing
    ]


def pane_size_problems(admin: KafkaAdminClient, panes: str) -> list[str]:
    """One line if this topic does not accept the largest pane, saying what to do."""
    problem = pane_size_problem(describe_topics(admin, [panes])[panes])
    return [problem] if problem else []


def record_room(kafka: Kafka, names: Iterable[str]) -> dict[str, int]:
    """By topic, the bytes that a record of it may take; empty if Kafka does not say it now, or not to this user."""
    try:
        with open_admin(kafka) as admin:
            described = describe_topics(admin, names)
    except (KafkaUnreachableError, KafkaError, OSError) as error:
        log.warning("Kafka does not say how large records may be, which is taken to be its default: %r", error)
        return {}
    sizes = {name: topic.settings.get("max.message.bytes") for name, topic in described.items()}
    return {name: int(size) for name, size in sizes.items() if size is not None}


def topic_operations(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, list[str] | None]:
    """By topic, what Kafka lets this user do with it: "READ", "WRITE", ...; None if Kafka does not say it."""
    existing = sorted(set(names) & set(admin.list_topics()))
    described = admin.describe_topics(existing) if existing else []
    return {entry["name"]: entry.get("authorized_operations") or None for entry in described}


def group_operations(admin: KafkaAdminClient, group: str) -> list[str] | None:
    """What Kafka lets this user do with a consumer group; None if Kafka does not say it."""
    try:
        described = admin.describe_groups([group])[group]
    except GroupAuthorizationFailedError:
        return []
    # A broker on which no group has ever joined has no coordinator; kafka-python does not know every operation.
    except (CoordinatorNotAvailableError, ValueError):
        return None
    denied = GroupAuthorizationFailedError.__name__ in (described["error"] or "")
    return [] if denied else described.get("authorized_operations") or None


def _as_topic(entry: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]) -> Topic:
    partitions = entry["partitions"]
    return Topic(
        name=entry["name"],
        partitions=len(partitions),
        replication=min(len(partition["replica_nodes"]) for partition in partitions),
        settings={key: setting["value"] for key, setting in settings.items()},
    )


def _create(admin: KafkaAdminClient, topic: Topic) -> str:
    request = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": dict(topic.settings),
        }
    }
    answer = admin.create_topics(request, raise_errors=False)["topics"][0]
    error = for_code(answer["error_code"])
    if error is TopicAlreadyExistsError:  # another process was quicker
        return _keep(describe_topics(admin, [topic.name])[topic.name], topic)
    if answer["error_code"]:
        raise TopicsError(f"Kafka refuses topic {topic.name}: {answer['error_message'] or error.__name__}")
    admin.wait_for_topics([topic.name])
    return f"{topic.name}: created, {counted(topic.partitions, 'partition')}, {kept_for(topic.settings)}"


def _keep(found: Topic, wanted: Topic) -> str:
    differs = differences(found, wanted)
    if not differs:
        return f"{wanted.name}: exists as wanted"
    return f"{wanted.name}: exists, but {'; '.join(differs)}. Left as it is"
