"""Whether the topics are as the configuration wants them, and may be used as workers and relays use them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from driftline.stream.checks.finding import Finding
from driftline.stream.config.fields import duration_text
from driftline.stream.config.sections import Config, Topics
from driftline.stream.schemas.topics import Topic, differences, kept_for, pane_size_problem
from driftline.stream.text.phrases import counted

_CREATE = "create it with `driftline topics create`, or correct its name under `topics`"


def topic_findings(config: Config, wanted: Sequence[Topic], found: Mapping[str, Topic]) -> Iterator[Finding]:
    """One finding for each wanted topic, and those of labels that expire unread. found: the topics there are, by name.

    Without a model whose labels come by themselves, nothing reads the labels topic, and it may be missing.
    """
    topics, labelled = config.topics, config.labelled_by("topic") is not None
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            optional = topic.name in (topics.labels, f"{topics.labels}.dlq") and not labelled
            yield Finding("topics", "warning" if optional else "error", f"{topic.name} does not exist", _CREATE)
        else:
            yield _compare(topics, topic, there)
    if labelled and topics.labels in found:
        yield from _expiring_labels(config, found[topics.labels])


def _expiring_labels(config: Config, labels: Topic) -> Iterator[Finding]:
    """A labels topic that forgets labels while their predictions wait for them: no replay could join these again."""
    sections = [config.defaults, *map(config.for_model, config.models)]
    waits = max(each.outcomes.wait + each.outcomes.keep for each in sections if each.outcomes.labels == "topic")
    kept = int(labels.settings.get("retention.ms", "-1"))
    if 0 <= kept < waits * 1000:
        message = f"{labels.name} is {kept_for(labels.settings)}, less than `wait` and `keep` of `outcomes` together"
        remedy = f"set its retention.ms to {int(waits * 1000)} ({duration_text(waits)}) at least"
        yield Finding("topics", "warning", message, remedy)


def _compare(topics: Topics, wanted: Topic, found: Topic) -> Finding:
    different = differences(found, wanted)
    size = pane_size_problem(found) if found.name == topics.panes else ""
    if size:
        return Finding("topics", "error", "; ".join([size, *different]))
    if _loses_records(topics, wanted, found):
        remedy = f"set the cleanup.policy of {found.name} to {wanted.settings['cleanup.policy']}"
        return Finding("topics", "error", f"{found.name} {'; '.join(different)}", remedy)
    if different:
        remedy = "change the topic with Kafka's own tools, or the configuration under `topics`"
        return Finding("topics", "warning", f"{found.name} {'; '.join(different)}", remedy)
    return Finding(
        "topics", "ok", f"{found.name}: {counted(found.partitions, 'partition')}, {kept_for(found.settings)}"
    )


def _loses_records(topics: Topics, wanted: Topic, found: Topic) -> bool:
    """Whether compaction removes what must be read: panes of a model share a key, and so do its alerts."""
    policy = wanted.settings["cleanup.policy"]
    return found.name in (topics.panes, topics.alerts) and found.settings.get("cleanup.policy", policy) != policy


def right_findings(
    config: Config, operations: Mapping[str, Collection[str] | None], group: str, on_group: Collection[str] | None
) -> Iterator[Finding]:
    """What the login may not do.

    operations: by topic, what Kafka lets this login do ("READ", "WRITE", ...), None if Kafka does not say it.
    on_group: the same of the consumer group.
    """
    topics = config.topics
    inputs = [topics.predictions, *([topics.labels] if config.labelled_by("topic") else [])]
    needed = {
        **{name: {"READ"} for name in inputs},
        topics.panes: {"READ", "WRITE"},
        topics.alerts: {"READ", "WRITE"},
        **{f"{name}.dlq": {"WRITE"} for name in (*inputs, topics.panes, topics.alerts)},
    }
    resources = [
        (f"topic {name}", operations.get(name), rights) for name, rights in needed.items() if name in operations
    ]
    resources.append((f"group {group}", on_group, {"READ"}))
    denied = {name: sorted(rights - set(allowed)) for name, allowed, rights in resources if allowed is not None}
    unsaid = [name for name, allowed, _ in resources if allowed is None]
    for resource, missing in denied.items():
        if missing:
            grant = f"allow the login of `kafka` {' and '.join(missing)} on {resource} (kafka-acls)"
            yield Finding("rights", "error", f"the login may not {' and '.join(missing).lower()} {resource}", grant)
    if unsaid:
        message = f"Kafka does not say what the login may do with {len(unsaid)} of {len(resources)} topics and groups"
        yield Finding("rights", "ok", message)
    elif not any(denied.values()):
        yield Finding("rights", "ok", f"the login may read and write the topics, and join group {group}")
