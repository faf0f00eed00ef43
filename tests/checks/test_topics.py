"""What is said of topics and rights, from what Kafka says of them."""

from __future__ import annotations

from dataclasses import replace

from driftline.stream.checks.topics import right_findings, topic_findings
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Topics
from driftline.stream.schemas.topics import Topic, wanted_topics

TOPICS = Topics()
CONFIG = Config()
LABELLED = parse_config("models: {fraud: {outcomes: {labels: topic, wait: 7d, keep: 1d}}}")
WANTED = {topic.name: topic for topic in wanted_topics(TOPICS)}
ALL = {name: ["READ", "WRITE", "DESCRIBE"] for name in WANTED}


NAMES = {"panes": "driftline.panes", "alerts": "driftline.alerts"}


def levels(config: Config = CONFIG, **changed: Topic | None) -> dict[str, tuple[str, str]]:
    """Level and message of every topic that is not ok, with some topics changed, or missing (None)."""
    found = WANTED | {NAMES.get(name, name): topic for name, topic in changed.items()}
    present = {name: topic for name, topic in found.items() if topic is not None}
    findings = topic_findings(config, list(WANTED.values()), present)
    return {each.message.split()[0]: (each.level, each.message) for each in findings if each.level != "ok"}


def with_settings(name: str, **settings: str) -> Topic:
    changed = {key.replace("_", "."): text for key, text in settings.items()}
    return replace(WANTED[name], settings={**WANTED[name].settings, **changed})


def test_topics_as_wanted_are_ok() -> None:
    assert levels() == {}


def test_a_missing_topic_is_an_error_unless_nothing_reads_it() -> None:
    assert levels(panes=None) == {"driftline.panes": ("error", "driftline.panes does not exist")}
    assert levels(labels=None) == {"labels": ("warning", "labels does not exist")}


def test_the_labels_topic_must_exist_and_hold_what_predictions_wait_for_where_a_worker_reads_it() -> None:
    assert levels(LABELLED, labels=None)["labels"] == ("error", "labels does not exist")
    missing = levels(LABELLED, **{"labels.dlq": None})
    assert missing["labels.dlq"] == ("error", "labels.dlq does not exist")
    week = levels(LABELLED)  # the default, 168 h
    assert week["labels"] == ("warning", "labels is kept for 168 h, less than `wait` and `keep` of `outcomes` together")
    for enough in ("-1", str(8 * 24 * 3_600_000)):
        assert "together" not in str(levels(LABELLED, labels=with_settings("labels", retention_ms=enough)))


def test_a_worker_that_reads_labels_needs_the_rights_for_it() -> None:
    denied = {**ALL, "labels": ["WRITE"], "labels.dlq": ["READ"]}
    findings = right_findings(LABELLED, denied, "driftline", ["READ"])
    assert [each.message for each in findings if each.level == "error"] == [
        "the login may not read topic labels",
        "the login may not write topic labels.dlq",
    ]
    assert [each.level for each in right_findings(CONFIG, denied, "driftline", ["READ"])] == ["ok"]


def test_compaction_is_an_error_where_records_share_a_key_and_a_warning_elsewhere() -> None:
    panes = levels(panes=with_settings("driftline.panes", cleanup_policy="compact"))
    assert panes["driftline.panes"][0] == "error"
    assert "its cleanup.policy is compact: records vanish before their time" in panes["driftline.panes"][1]
    assert levels(alerts=with_settings("driftline.alerts", cleanup_policy="compact"))["driftline.alerts"][0] == "error"
    assert levels(predictions=with_settings("predictions", cleanup_policy="compact"))["predictions"][0] == "warning"


def test_a_panes_topic_that_refuses_large_panes_is_an_error_and_other_differences_are_warnings() -> None:
    narrow = levels(panes=with_settings("driftline.panes", max_message_bytes="1048588"))
    assert narrow["topic"] == (
        "error",
        "topic driftline.panes takes records of 1048588 bytes at most: set its max.message.bytes to 16777216",
    )
    short = levels(predictions=replace(with_settings("predictions", retention_ms="3600000"), partitions=2))
    assert short == {
        "predictions": ("warning", "predictions has 2 partitions, not 4; is kept for 1 h, not kept for 168 h")
    }


def test_a_right_that_the_login_lacks_is_named_with_its_topic() -> None:
    denied = {**ALL, "driftline.panes": ["READ", "DESCRIBE"], "predictions": []}
    findings = list(right_findings(CONFIG, denied, "driftline", ["READ"]))
    assert [(each.level, each.message) for each in findings] == [
        ("error", "the login may not read topic predictions"),
        ("error", "the login may not write topic driftline.panes"),
    ]
    (group,) = right_findings(CONFIG, ALL, "driftline", [])
    assert group.message == "the login may not read group driftline"


def test_what_kafka_does_not_say_is_no_error() -> None:
    (finding,) = right_findings(CONFIG, dict.fromkeys(ALL), "driftline", None)
    assert (finding.level, finding.message) == (
        "ok",
        "Kafka does not say what the login may do with 7 of 7 topics and groups",
    )
    (granted,) = right_findings(CONFIG, ALL, "driftline", ["READ"])
    assert granted.message == "the login may read and write the topics, and join group driftline"
