"""Whether Kafka still has the logs that a group's state in Redis was made of. Values in, values out.

Redis holds offsets, and an offset means something in one log only. So a group is bound to what it began with: the names
and ids of its topics, the number of partitions of the panes topic, and the id of the cluster. What is not bound yet
(Kafka did not say, or an older Driftline did not ask) is bound as it is found.

| fact in Redis                | value                         | another one                                     |
|------------------------------|-------------------------------|-------------------------------------------------|
| topics.predictions           | its name                      | refused                                         |
| topics.panes                 | "NAME with N partitions"      | refused; more partitions stay idle              |
| cluster                      | the id of the Kafka cluster   | refused; `driftline resume --new-cluster` moves |
| topics.labels                | its name, if it is read       | refused; `driftline resume` moves               |
| topics.predictions.id, …     | the id of the topic           | refused; `driftline resume` moves               |
| resumed                      | how often predictions moved   |                                                 |
| resumed.labels               | how often labels did          |                                                 |

Panes name the log that they were made of, by its id and how often it has moved: a worker that was cut off from Kafka
may send some of the log before, whose offsets mean nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftline.stream.config.sections import Topics
from driftline.stream.kafka.logs import ClusterFacts, Log

#: What to run when a log is not the one that was read.
RESUME = "driftline resume -c driftline.yaml"
#: The topics whose offsets are in Redis, by their fields of the section `topics`.
READ = ("predictions", "labels", "panes")
# How often a topic has moved.
_RESUMED = {"predictions": "resumed", "labels": "resumed.labels"}

Facts = Mapping[str, str]


class LogChangedError(RuntimeError):
    """Kafka does not have the logs that a group's state in Redis was made of."""


def group_facts(topics: Topics, cluster: ClusterFacts) -> dict[str, str]:
    """The facts to bind a group to, as they are now. cluster: of the topics that are read, panes among them."""
    facts = {"topics.predictions": topics.predictions}
    facts |= {"topics.labels": topics.labels} if topics.labels in cluster.topics else {}
    facts["topics.panes"] = f"{topics.panes} with {cluster.topics[topics.panes].partitions} partitions"
    facts |= {"cluster": cluster.id} if cluster.id else {}
    return facts | _topic_ids(topics, cluster)


def _topic_ids(topics: Topics, cluster: ClusterFacts) -> dict[str, str]:
    found = {name: cluster.topics.get(getattr(topics, name)) for name in READ}
    return {f"topics.{name}.id": facts.id for name, facts in found.items() if facts and facts.id}


def log_of(facts: Facts, name: str = "predictions") -> str:
    """A name of the log of a topic that a group reads: another one after `driftline resume` has moved it.

    It is "ID/RESUMED", without the id if that is not known. name: of the topic's field.
    """
    return f"{facts.get(f'topics.{name}.id', '')}/{facts.get(_RESUMED[name], '0')}"


def resumed(facts: Facts, name: str) -> dict[str, str]:
    """What is bound once a topic has moved once more."""
    return {_RESUMED[name]: str(int(facts.get(_RESUMED[name], 0)) + 1)}


def panes_partitions(facts: Facts) -> int:
    """How many partitions of the panes topic a group uses: models keep their partition when others are added."""
    return _name_and_count(facts["topics.panes"])[1]


def check_group(group: str, bound: Facts, present: Facts) -> None:
    """Raises LogChangedError if a group's state belongs to another cluster, or to other topics."""
    check_names(group, bound, present)
    if bound.get("cluster", present.get("cluster")) != present.get("cluster", bound.get("cluster")):
        raise LogChangedError(
            f"the state of {group} belongs to Kafka cluster {bound['cluster']}, and kafka.bootstrap leads to cluster "
            f"{present['cluster']}: give each deployment its own worker.group or Redis database. If the topics have "
            f"moved to this cluster, run: {RESUME} --new-cluster"
        )
    for name in READ:
        if was_renamed(name, bound, present):
            raise LogChangedError(
                f"topics.{name} was {bound[f'topics.{name}']} and is {present[f'topics.{name}']} now. To see what can "
                f"be done, run: {RESUME}"
            )
        if was_created_again(name, bound, present):
            topic = _name_and_count(present[f"topics.{name}"])[0]
            raise LogChangedError(
                f"topic {topic} was deleted and created again since this group has read it: its id was "
                f"{bound[f'topics.{name}.id']} and is {present[f'topics.{name}.id']}. To see what can be done, run: "
                f"{RESUME}"
            )


def check_names(group: str, bound: Facts, present: Facts) -> None:
    """Raises LogChangedError if a group's state belongs to topics of other names, or to more panes partitions."""
    for name in ("predictions", "panes"):
        fact = f"topics.{name}"
        (was, count), (now, present_count) = (
            _name_and_count(each.get(fact, present[fact])) for each in (bound, present)
        )
        if was != now or present_count < count:
            raise LogChangedError(
                f"{fact} was {bound[fact]} and is {present[fact]} now: the state of {group} does not fit it; go back "
                "to the former, or start over with another worker.group"
            )


def is_another(name: str, bound: Facts, present: Facts) -> bool:
    """Whether a group reads this topic only after `driftline resume` (a field of the section `topics`)."""
    return was_renamed(name, bound, present) or was_created_again(name, bound, present)


def was_renamed(name: str, bound: Facts, present: Facts) -> bool:
    """Whether the topic of labels has another name than the one that the group is bound to; others may have none."""
    fact = f"topics.{name}"
    return name == "labels" and fact in bound and fact in present and bound[fact] != present[fact]


def was_created_again(name: str, bound: Facts, present: Facts) -> bool:
    """Whether a topic (a field of the section `topics`) has another id than the one that the group is bound to."""
    fact = f"topics.{name}.id"
    return fact in bound and fact in present and bound[fact] != present[fact]


def check_log(topic: str, partition: int, read_to: int, log: Log) -> None:
    """Raises LogChangedError if a partition is shorter than what was read of it."""
    if log.end < read_to:
        raise LogChangedError(
            f"topic {topic}, partition {partition}: it ends before offset {read_to}, up to which this group has read "
            f"it: it ends at offset {log.end}, so it was created again, restored or cut. To see what can be done, run: "
            f"{RESUME}"
        )


def removed_unread(read_to: int, log: Log) -> int:
    """How many offsets of a partition were removed, as by retention, before this group has read them."""
    return max(log.begin - read_to, 0) if read_to else 0


def _name_and_count(fact: str) -> tuple[str, int]:
    """The topic of a fact, and its number of partitions, 0 if the fact has none. No topic's name has a space in it."""
    name, _, rest = fact.partition(" with ")
    return name, int(rest.split()[0]) if rest else 0
