"""The configuration: what it accepts, and which diagnostics it gives where for what it does not accept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from driftline.stream.config.diagnostics import ConfigError, Diagnostic, hide_secrets, render_diagnostics
from driftline.stream.config.fields import Window
from driftline.stream.config.load import check_config, config_schema, config_schema_text, parse_config
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.config.yaml import read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "driftline.example.yaml").read_text("utf-8")
SCHEMA = config_schema()


class Case(NamedTuple):
    """A configuration with one fault: its line and column, the text underlined, message and help."""

    text: str
    place: str
    underlined: str
    message: str
    help: str


def refused(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(ConfigError) as raised:
        parse_config(text)
    return raised.value.diagnostics


def fields(section: dict[str, Any] = SCHEMA) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """(path, schema) of every section and field."""
    for name, written in section.get("properties", {}).items():
        field = SCHEMA["$defs"].get(written.get("$ref", "").rpartition("/")[2], {}) | written
        yield (name,), field
        yield from (((name, *path), each) for path, each in fields(field))


# Faults that an editor finds, too, by the published schema.
BROKEN_VALUES = [
    Case("panes:\n  event: 5", "2:3", "event", "unknown field 'event' in panes", "did you mean `events`?"),
    Case("modles: {}", "1:1", "modles", "unknown field 'modles' in the configuration", "did you mean `models`?"),
    Case("xyzzy: {}", "1:1", "xyzzy",
         "unknown field 'xyzzy' in the configuration", "known here: version, kafka, redis"),
    Case("learn_events: 600", "1:1", "learn_events", "unknown field 'learn_events'", "it belongs under `defaults`"),
    Case("models:\n  fraud v2: {basline: x}", "2:14", "basline",
         "unknown field 'basline' in models['fraud v2']", "`baseline`"),
    Case("version: 2", "1:10", "2", "version: expected 1, got 2", "this Driftline reads 1"),
    Case("panes: {events: 0}", "1:17", "0",
         "panes.events: expected a whole number from 1 to 1000000, got 0", "Default: 250"),
    Case("panes: {events: 1000001}", "1:17", "1000001", "expected a whole number from 1 to 1000000", "Over a million"),
    Case("panes: {events: 1_000}", "1:17", "1_000", "got the text '1_000'", "write `1000`"),
    Case("panes: {events: '5'}", "1:17", "'5'", "got the text '5'", "write `5`"),
    Case("panes: {events: true}", "1:17", "true",
         "expected a whole number from 1 to 1000000, got true", "Default: 250"),
    Case("panes: {events: 2.5}", "1:17", "2.5", "expected a whole number from 1 to 1000000, got 2.5", "Default: 250"),
    Case("panes: {seconds: 0.05}", "1:18", "0.05",
         "expected a number from 0.1 to 3600, or null, got 0.05", "Under 0.1 s"),
    Case("panes: {seconds: 1:30}", "1:18", "1:30", "or null, got the text '1:30'", "Seconds of event time"),
    Case("panes:\nversion: 1", "1:7", "", "panes: expected a mapping, got nothing", "remove the key, or write `{}`"),
    Case("panes:\n  events:5", "2:3", "events:5", "panes: expected a mapping, got the text", "a space is missing"),
    Case("defaults: {false_alarms_per_event: 0}", "1:36", "0",
         "expected a number above 0, at most 0.01, got 0", "1e-6 is one"),
    Case("defaults: {clock: 0}", "1:19", "0",
         "defaults.clock: expected a whole number from 1 to 1000000", "Default: 50"),
    Case("defaults: {learn_events: 99}", "1:26", "99", "from 100 to 100000, got 99", "its quantiles mean nothing"),
    Case("kafka: {idempotent: 1}", "1:21", "1", "kafka.idempotent: expected true or false, got 1", "Default: true"),
    Case("kafka: {idempotent: True-ish}", "1:21", "True-ish",
         "expected true or false, got the text 'True-ish'", "did you mean `true`?"),
    Case("kafka: {idempotent: fals}", "1:21", "fals", "expected true or false", "did you mean `false`?"),
    Case("defaults: {reference: no}", "1:23", "no",
         "expected baseline or past, got the text 'no'", "compared with"),
    Case("defaults: {reference: Past}", "1:23", "Past", "expected baseline or past", "did you mean `past`?"),
    Case("defaults: {baseline: 12}", "1:22", "12", "defaults.baseline: expected a text that is not empty", "in quotes"),
    Case("defaults: {baselines: {'': a.driftline}}", "1:24", "''",
         "defaults.baselines: expected keys of 1 to 200 characters, got the text ''", "Paths of the baseline files"),
    Case("models: {a: {baselines: {'5': {'[key]': 1}}}}", "1:31", "{'[key]': 1}",
         "models.a.baselines.5: expected a text that is not empty, got a mapping", ""),
    Case("defaults: {outcomes: {labels: event, floors: {recal: 0.8}}}", "1:47", "recal",
         "defaults.outcomes.floors: there is no floor of 'recal': expected accuracy, auc,", "What is good enough"),
    Case("defaults: {outcomes: {labels: event, floors: {recall: 0}}}", "1:55", "0",
         "defaults.outcomes.floors.recall: expected a number above 0, got 0", ""),
    Case("defaults: {windows: 1h}", "1:21", "1h",
         "defaults.windows: expected a list, got the text '1h'", "write `[1h]`"),
    Case("defaults: {windows: [1h, 1 week]}", "1:26", "1 week", "defaults.windows[1]: expected a window such as", ""),
    Case("defaults: {windows: [5000]}", "1:22", "5000",
         'such as "5000 events", "90s", "15m", "1h" or "7d", got 5000', ""),
    Case("defaults: {signals: {include: []}}", "1:31", "[]",
         "signals.include: expected a list that is not empty", "Globs"),
    Case("models: {a: {kinds: {f: categorial}}}", "1:25", "categorial",
         "expected one of numeric, cat", "`categorical`"),
    Case("models: [a]", "1:9", "[a]", "models: expected a mapping, got a list", "by the model's name"),
    Case("kafka: {bootstrap: host}", "1:20", "host",
         "expected a text such as `localhost:9092`", "Brokers to start from"),
    Case("kafka: {bootstrap: 'h:70000'}", "1:20", "'h:70000'", "got the text 'h:70000'", "host:port"),
    Case("kafka: {security_protocol: sasl}", "1:28", "sasl", "expected one of PLAINTEXT, SSL,", "did you mean `SSL`?"),
    Case("kafka: {password: s3}", "1:9", "password",
         "unknown field 'password' in kafka", "did you mean `password_env`?"),
    Case("redis: {url: 'http://h'}", "1:14", "'http://h'",
         "redis.url: expected a text such as `redis://", "redis+sentinel://"),
    Case("topics: {alerts: a/b}", "1:18", "a/b",
         "expected a text such as `predictions`, got the text 'a/b'", "alerts are written"),
    Case("mapping: {id: a..b}", "1:15", "a..b", "mapping.id: expected a text such as `request.id`", "The event's id"),
    Case("worker: {http: 6066}", "1:16", "6066", "expected a text such as `127.0.0.1:6066`, got 6066", "in quotes"),
    Case("relay: {http: 6067}", "1:15", "6067", "expected a text such as `127.0.0.1:6066`, got 6067", "in quotes"),
    Case("relay: {grouping: {outage_models: 1}}", "1:35", "1",
         "relay.grouping.outage_models: expected a whole number from 2 to 10000, or null, got 1", "chance"),
    Case("relay: {slack: {min_severity: warn}}", "1:31", "warn",
         "expected one of critical, error, warning, info, got the text 'warn'", "did you mean `warning`?"),
    Case("models: {a: {depends_on: b}}", "1:26", "b", "models.a.depends_on: expected a list", "write `[b]`"),
    Case("worker: {log: jsn}", "1:15", "jsn",
         "worker.log: expected text or json, got the text 'jsn'", "did you mean `json`?"),
    Case("[1, 2]", "1:1", "[1, 2]", "the configuration: expected a mapping, got a list", "the empty file is valid"),
    Case("id,ts,score\n1,2026-01-01,0.5", "1:1", "i",
         "the configuration: expected a mapping, got the text", "if it holds events, `driftline inspect FILE`"),
]  # fmt: skip

# Faults that no schema can express: between fields, or of size.
BROKEN_RULES = [
    Case("defaults: {clock: 1e3}", "1:19", "1e3",
         "expected a whole number from 1 to 1000000, got 1000.0", "write `1000`"),
    Case("panes: {seconds: .nan}", "1:18", ".nan", "expected a number from 0.1 to 3600, or null, got NaN", "Seconds"),
    Case("defaults: {windows: [0 events]}", "1:22", "0 events", "of 1 to 1000000000 events, or of 1s to 366d, got", ""),
    Case("defaults: {windows: [400d]}", "1:22", "400d", "of 1 to 1000000000 events, or of 1s to 366d, got", ""),
    Case("kafka:\n  username: me\n  security_protocol: SASL_SSL", "3:22", "SASL_SSL",
         "SASL_SSL needs sasl_mechanism and password_env too", "SSL encrypts, SASL logs in"),
    Case("kafka: {username: me}", "1:19", "me", "username: has no effect, PLAINTEXT does not log in", "Name to log in"),
    Case("kafka: {ca_file: x}", "1:18", "x", "ca_file: has no effect, PLAINTEXT does not encrypt", "PEM"),
    Case("redis: {ca_file: x}", "1:18", "x", "ca_file: has no effect, only rediss:// encrypts", "PEM"),
    Case("redis:\n  password_env: P\n  url: redis://:s3@h", "2:17", "P",
         "has no effect, the URL has a password", "Name of"),
    Case("topics: {labels: predictions}", "1:18", "predictions",
         "labels: predictions is the topic of predictions", "read"),
    Case("topics: {alerts: labels.dlq}", "1:18", "labels.dlq", "alerts: labels.dlq is the topic of labels", "written"),
    Case("mapping: {id: a, model: a.b}", "1:25", "a.b", "mapping.model: the path 'a.b' lies inside that of id", "name"),
    Case("schemas: {registry: 'http://r', folder: s}", "1:41", "s",
         "schemas.folder: has no effect, the schemas come from the registry", "<id>.avsc"),
    Case("schemas: {folder: s, username: me}", "1:32", "me", "username: has no effect without `registry`", "log in"),
    Case("schemas: {registry: 'http://r', username: me}", "1:43", "me", "username: needs password_env too", "log in"),
    Case("schemas: {registry: 'http://r', password_env: P}", "1:47", "P", "password_env: needs username too", "Name"),
    Case("schemas: {registry: 'http://r', ca_file: x}", "1:42", "x", "ca_file: has no effect, only https://", "PEM"),
    Case("defaults: {depends_on: [a]}", "1:24", "[a]",
         "defaults.depends_on: belongs under a model", "Models whose output this one uses"),
    Case("models:\n  a: {depends_on: [x, a]}", "2:19", "[x, a]",
         "models.a.depends_on: goes in a circle: a → a", "need no section"),
    Case("models:\n  a:\n    depends_on: [b]\n  b: {depends_on: [c]}\n  c: {depends_on: [a]}", "3:17", "[b]",
         "models.a.depends_on: goes in a circle: a → b → c → a", "Models"),
    Case("defaults: {reference: past, signals: {rules: {score: {guarantee: proven}}}}", "1:23", "past",
         "defaults.reference: leaves `guarantee: proven` of score no baseline to bet against", "What live traffic"),
    Case("models: {a: {reference: past}}\ndefaults: {signals: {rules: {score: {guarantee: proven}}}}", "1:25", "past",
         "models.a.reference: leaves `guarantee: proven` of score no baseline to bet against", "What live traffic"),
    Case("defaults: {reference: past, signals: {rules: {'features.[ab]': {guarantee: proven}}}}", "1:23", "past",
         "defaults.reference: leaves `guarantee: proven` of features.[ab] no baseline to bet against", "What live"),
    Case("relay: {grouping: {group_wait: 32d}}", "1:32", "32d", "expected a duration of at most 31d", "How long a new"),
    Case("defaults: {false_pages: 1 per month, false_alarms_per_event: 1.0e-6}", "1:25", "1 per month",
         "defaults.false_pages: takes the place of false_alarms_per_event: keep one of the two", "False pages of"),
    Case("models: {a: {false_pages: 1 a month}}", "1:27", "1 a month",
         'such as "1 per month", per day, week, month, quarter or year, got', "False pages of a model"),
    Case("defaults: {false_pages: 11 per day}", "1:25", "11 per day",
         "expected a number of pages from 1 per 100 years to 10 per day, got", "False pages of a model"),
    Case("budgets: [{models: ['a*'], false_pages: 1 per day}]", "1:11", "{models: ['a*'], false_pages: 1 per day}",
         "budgets[0]: how many models 'a*' matches is not known: say with `among` how", "False pages that a group"),
    Case("budgets: [{models: [fraud, 'eu-*'], false_pages: 1 per month}]\nmodels: {eu-a: {}}", "1:11",
         "{models: [fraud, 'eu-*'], false_pages: 1 per month}",
         "budgets[0]: how many models 'eu-*' matches is not known: say with `among` how many", "False pages that a"),
    Case("budgets: [{models: [a], false_pages: 1 per day}]\nmodels: {a: {false_pages: 1 per week}}", "1:11",
         "{models: [a], false_pages: 1 per day}", "budgets[0]: no model belongs to this group: each states its own or",
         "False pages that a group"),
    Case("budgets: [{models: [a, b], false_pages: 1 per day, among: 1}]", "1:59", "1",
         "budgets[0].among: the configuration names 2 models of this group", "How many models"),
    Case("worker: {session_seconds: 60}", "1:27", "60", "must be less than half of watchdog_seconds, 120", "heartbeat"),
    Case("worker: {watchdog_seconds: 20}", "1:28", "20", "must be more than twice session_seconds, 10", "rebalance"),
]  # fmt: skip

BROKEN_YAML = [
    Case("kafka:\n\tbootstrap: x", "2:1", "\t", "a tab stands where YAML allows only spaces", "indent with spaces"),
    Case("panes: {}\npanes: {}", "2:1", "panes", "`panes` is written twice, first on line 1", "keep one of the two"),
    Case("kafka:\n   a: 1\n  b: 2", "3:3", "b",
         "the indentation does not fit", "keys of one section start in the same"),
    Case("kafka:\n  a: 1\n   b: 2", "3:5", ":", "a `:` where no key can stand", "check the indentation"),
    Case("a: b: c", "1:5", ":", "a `:` where no key can stand", "quote the text"),
    Case("panes: {}\nevents 5\nworker: {}", "2:1", "e",
         "this line is neither `key: value` nor `- item`", "colon missing"),
    Case('a: "b\nc: d', "1:4", '"', "this quote is never closed", "add the closing quote"),
    Case("a: [b, c\nd: e", "1:4", "[", "this bracket is never closed", "add the bracket or comma"),
    Case("a: [*]", "1:5", "*", "`*` stands for an alias here", "quote a text that starts with `*`"),
    Case("a: *b", "1:4", "*", "`*` stands for an alias here, and has no anchor", "quote a text that starts with `*`"),
    Case("a: &x 1\nb: &x 2", "2:4", "&", "this anchor is defined twice", "another name"),
    Case("a: @b", "1:4", "@", "this character cannot start a value", "put the value in quotes"),
    Case(r'a: "\q"', "1:6", "q", "a backslash that starts no escape", "single quotes"),
    Case("a: 1\n---\nb: 2", "2:1", "-", "a second document starts here", "one file holds one configuration"),
    Case("redis: !!python/name:os.system x", "1:8", "!!python/name:os.system x",
         "python/name:os.system' is not", "quotes"),
    Case("<<: {}", "1:1", "<<", "merge keys are not supported", "put what models share under `defaults`"),
    Case("? [a]\n: b", "1:3", "[a]", "a key must be a text", ""),
    Case(r'models: {"\ud800": {}}', "1:10", r'"\ud800"', "this key is not valid text", ""),
    Case(r'kafka: {username: "\ud800"}', "1:19", r'"\ud800"', "this cannot be read as str", ""),
    Case(r'kafka: "\Uffffffff"', "1:11", "f", "this is not a valid character or version number", ""),
    Case("version: " + "9" * 5000, "1:10", "9" * 5000, "this cannot be read as int: it is too long", ""),
    Case("panes: {}\nkafka: a\0b", "2:9", "\0", "the character U+0000 cannot stand in a YAML file", "as an escape"),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_VALUES + BROKEN_RULES + BROKEN_YAML, ids=lambda case: case.text[:40])
def test_a_fault_is_reported_at_its_place_in_plain_words(case: Case) -> None:
    (diagnostic,) = refused(case.text)
    span, line = diagnostic.span, re.split("\n", case.text)[diagnostic.span.line - 1]
    assert f"{span.line}:{span.column}" == case.place
    assert line[span.column - 1 :][: span.length] == case.underlined
    assert case.message in diagnostic.message
    assert case.help in diagnostic.help
    assert bool(case.help) == bool(diagnostic.help)
    assert "(" not in diagnostic.message, "a function, type or tuple of the implementation"


@pytest.mark.parametrize("case", BROKEN_VALUES, ids=lambda case: case.text[:40])
def test_the_published_schema_refuses_the_fault_too(case: Case) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(read_yaml(case.text, "").data)


def test_all_faults_are_reported_at_once_in_the_order_of_the_text() -> None:
    text = "worker: {log: x}\npanes:\n  events: 0\n  seconds: no\nversion: 3\nversion: 1\nnosuch: 1"
    assert [diagnostic.span.line for diagnostic in refused(text)] == [1, 3, 4, 5, 6, 7]


def test_diagnostics_are_rendered_as_by_a_compiler() -> None:
    text = "\n" * 8 + "panes: {events: 0}\nworker: {log: jsn}"
    assert render_diagnostics(check_config(text, "prod.yaml")) == "\n".join(
        [
            "error: panes.events: expected a whole number from 1 to 1000000, got 0",
            " --> prod.yaml:9:17",
            "  |",
            "9 | panes: {events: 0}",
            "  |                 ^",
            "  = help: Events of one model after which a pane ends. Fewer find drift sooner, but cost more; 1",
            "          judges every event. With 250, a shift of 0.5 σ is found within 350; a topic of 50,000",
            "          events a second needs 1000. Over a million, a pane takes seconds to sketch, and again",
            "          after a crash. Default: 250.",
            "",
            "error: worker.log: expected text or json, got the text 'jsn'",
            "  --> prod.yaml:10:15",
            "   |",
            "10 | worker: {log: jsn}",
            "   |               ^^^",
            "   = help: did you mean `json`?",
        ]
    )


@pytest.mark.parametrize(
    ("text", "source", "caret"),
    [
        ('{models: {"\tm": {x: 1}}}', '{models: {"\tm": {x: 1}}}', " " * 11 + "\t" + " " * 5 + "^"),
        ("{models: {模型: {x: 1}}}", "{models: {模型: {x: 1}}}", " " * 17 + "^"),  # two columns a character
        ("{模型: 1}", "{模型: 1}", " ^^^^"),
        ("{'\u202ex': 1}", "{'?x': 1}", " ^^^^"),  # text that runs backwards would hide what is meant
    ],
)
def test_the_caret_is_under_its_column_whatever_precedes_it(text: str, source: str, caret: str) -> None:
    assert render_diagnostics(refused(text)).split("\n")[3:5] == [f"1 | {source}", f"  | {caret}"]


def test_the_text_of_a_config_error_renders_its_diagnostics() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config("panes: {events: 0}", "a.yaml")
    assert (
        str(raised.value)
        == render_diagnostics(raised.value)
        == render_diagnostics(check_config("panes: {events: 0}", "a.yaml"))
    )


# --- scalars that YAML 1.1 reads differently


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("true", True), ("FALSE", False),
        ("1e-6", 1e-6), ("1.e3", 1000.0), (".5", 0.5), ("-1E+2", -100.0), ("-.inf", float("-inf")),
        ("0123", 123), ("0o17", 15), ("0xff", 255), ("+7", 7), ("1_000", "1_000"), ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"), ("~", None), ("", None), ("null", None), ("'null'", "null"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(written: str, read: object) -> None:
    document = read_yaml(f"key: {written}", "")
    assert (document.data, document.diagnostics) == ({"key": read}, [])
    assert type(document.data["key"]) is type(read)


def test_keys_are_text_so_a_model_may_be_called_no_or_007() -> None:
    config = parse_config("models: {no: {}, 007: {}, null: {}, 1.0: {}}")
    assert list(config.models) == ["no", "007", "null", "1.0"]


@pytest.mark.parametrize("text", ["", "\ufeff", "# nothing\n", "---\n", "{}", "\ufeffversion: 1", "version: 1\r\n"])
def test_an_absent_field_has_its_default(text: str) -> None:
    assert parse_config(text) == Config()


def test_health_and_metrics_are_open_to_this_machine_alone() -> None:
    config = parse_config("")
    assert {each.http.rpartition(":")[0] for each in (config.worker, config.relay)} == {"127.0.0.1"}


def test_an_alias_is_resolved_but_cannot_expand_the_file_without_limit() -> None:
    config = parse_config("models:\n  a: &risk {clock: 7}\n  b: *risk\n")
    assert config.models["a"] == config.models["b"] == ModelConfig(clock=7)
    laughs = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(12))
    endless = "a: &a [*a, *a]"
    for text in (laughs, endless, "[" * 10_000, "{a: " * 10_000, "- " * 10_000):
        started = time.process_time()
        (diagnostic,) = refused(text)
        assert "levels of nesting" in diagnostic.message or "over 100000 values" in diagnostic.message
        assert time.process_time() - started < 5  # seconds; a billion values would take an hour


# --- secrets


@pytest.mark.parametrize(
    "text",
    [
        "redis: {url: 'rediss//:hunter2@host'}",
        "redis:\n  url: redis://user:hunter2@host/zero",
        "redis:\n  url: redis://:my hunter2@host",
        "redis: {url: redis://:hunter2@host, password_env: PW}",
        "redis: {url: redis://:hunter2@host, port: 1}",
        "redis: {url: redis://:hunter2@host, url: redis://:hunter2@host}",
        "redis: {url: 'redis://:hunter2@host}",
        "kafka: {password: hunter2}",
        "kafka:\n  sasl_password : 'hunter2",
        "kafka: {password_env: hunter2!}",
        "kafka: {bootstrap: 'kafka://me:hunter2@host:9092'}",
        "relay: {pagerduty: {routing_key: hunter2}}",
        "relay: {pagerduty: {routing_key_env: hunter2}}",
        "relay:\n  slack:\n    webhook_url_env: https://hooks.example/hunter2",
        "relay: {webhook: {authorization_env: Bearer hunter2}}",
        "kafka:\n  'kafka://me:hunter2@host': 1",
    ],
)
def test_no_message_shows_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text)
    assert "hunter2" not in f"{raised.value} {raised.value!r} {raised.value.diagnostics}"
    assert raised.value.__cause__ is raised.value.__context__ is None


@given(st.text(max_size=60))
def test_hiding_secrets_keeps_the_columns(text: str) -> None:
    assert len(hide_secrets(text)) == len(text)


def test_a_valid_password_is_kept_and_not_printed() -> None:
    config = parse_config("redis: {url: 'redis+sentinel://me:hunter2@a:26379,b/mymaster/0'}")
    assert config.redis.url == "redis+sentinel://me:hunter2@a:26379,b/mymaster/0"
    assert config.redacted().redis.url == "redis+sentinel://***@a:26379,b/mymaster/0"
    assert "hunter2" not in f"{config!r} {config} {config.redacted().model_dump_json()}"
    assert Config().redacted() == Config()


# --- valid values


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost", "redis://localhost:6379", "rediss://:p%40w@h.example:6380/15", "redis://[::1]:6379/0",
        "redis+sentinel://a:26379,b:26379,c/mymaster", "rediss+sentinel://u:p@a/m/3", "redis+cluster://a:6379,b:6379",
    ],
)  # fmt: skip
def test_a_redis_url_is_accepted(url: str) -> None:
    assert parse_config(f"redis: {{url: '{url}'}}").redis.url == url


@pytest.mark.parametrize(
    "url", ["localhost:6379", "redis://", "redis://a,b", "redis+sentinel://a:26379", "redis+cluster://", "redis://h/db"]
)
def test_a_url_that_is_not_of_redis_is_refused(url: str) -> None:
    assert refused(f"redis: {{url: '{url}'}}")[0].message.startswith("redis.url: expected a text such as")


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("5000 events", Window(events=5000)), ("1 event", Window(events=1)), ("90s", Window(seconds=90)),
        ("1.5m", Window(seconds=90)), ("15 m", Window(seconds=900)), ("1h", Window(seconds=3600)),
        ("7d", Window(seconds=604_800)),
    ],
)  # fmt: skip
def test_a_window_is_a_number_of_events_or_a_duration(text: str, window: Window) -> None:
    assert parse_config(f"defaults: {{windows: ['{text}']}}").defaults.windows == (window,)


@given(st.integers(1, 10**9).map(lambda n: Window(events=n)) | st.integers(1, 10**7).map(lambda n: Window(seconds=n)))
def test_a_window_is_parsed_back_from_its_text(window: Window) -> None:
    assert Window.parse(str(window)) == window
    assert ModelConfig.model_validate_json(ModelConfig(windows=(window,)).model_dump_json()).windows == (window,)


def test_a_model_differs_from_the_defaults_only_in_the_fields_it_sets() -> None:
    config = parse_config(
        """
        defaults:
          learn_events: 900
          baseline: shared.driftline
          signals: {include: ["features.*"], exclude: [features.id]}
          kinds: {features.zip: categorical}
        models:
          fraud:
            baseline: null
            signals: {exclude: []}
            kinds: {features.plan: categorical}
        """
    )
    fraud = config.for_model("fraud")
    assert (fraud.learn_events, fraud.baseline) == (900, None)
    assert (fraud.signals.include, fraud.signals.exclude) == (("features.*",), ())
    assert fraud.kinds == {"features.zip": "categorical", "features.plan": "categorical"}
    assert config.for_model("another") == config.defaults


def test_of_several_rules_that_fit_a_signal_each_field_is_that_of_the_last_one_that_states_it() -> None:
    config = parse_config("""
        defaults: {signals: {rules: {"*": {min_share: 0.01, min_distance: 0.02}, "*.amount": {min_distance: 0.05}}}}
        models: {fraud: {signals: {rules: {"features.*": {min_share: 0.03}}}}}
    """)
    amount, age = (config.for_model("fraud").signals.rule(f"features.{each}") for each in ("amount", "age"))
    assert (amount.min_share, amount.min_distance) == (0.03, 0.05)
    assert (age.min_share, age.min_distance) == (0.03, 0.02)
    score = config.for_model("churn").signals.rule("score")
    assert (score.min_share, score.min_distance) == (0.01, 0.02)


def test_signals_are_selected_by_globs_and_exclusion_wins() -> None:
    signals = parse_config(
        "defaults: {signals: {include: ['features.*', score], exclude: ['*_Debug']}}"
    ).defaults.signals
    names = ["features.a", "features.a.b", "features.a_Debug", "features.a_debug", "score", "scores", "prediction"]
    assert [name for name in names if signals.selects(name)] == [
        "features.a",
        "features.a.b",
        "features.a_debug",
        "score",
    ]


# --- valid, but hardly meant


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("# nothing", "1:1", "the file is empty: all defaults hold"),
        ("models: {fraud : {}, 'fraud v2': {}}", "1:22", "the name of a model is empty or contains white space"),
        ("models:\n  '': {}", "2:3", "the name of a model is empty or contains white space"),
        ("defaults: {learn_events: 499}", "1:12", "defaults: 499 events make a poor baseline"),
        (
            "models: {a: {learn_events: 900, baseline: x}}",
            "1:14",
            "models.a: learn_events has no effect beside a baseline",
        ),
        ("defaults:\n  signals: {exclude: ['*']}", "2:13", "defaults: `*` excludes every signal"),
        ("defaults: {windows: [1h, 60m]}", "1:12", "defaults: a window is given twice"),
    ],
)
def test_check_warns_of_values_that_are_hardly_meant(text: str, place: str, message: str) -> None:
    parse_config(text)
    (diagnostic,) = check_config(text)
    assert (diagnostic.severity, diagnostic.message) == ("warning", message)
    assert f"{diagnostic.span.line}:{diagnostic.span.column}" == place


def test_check_reports_errors_before_it_warns() -> None:
    assert {diagnostic.severity for diagnostic in check_config("models: {'a b': {}}\nversion: 2")} == {"error"}


# --- published documents


def test_the_published_schema_is_up_to_date() -> None:
    published = (ROOT / "docs/driftline.schema.json").read_text("utf-8")
    write = "from driftline.stream.config.load import config_schema_text; print(config_schema_text(), end='')"
    assert published == config_schema_text(), f'run: .venv/bin/python -c "{write}" > docs/driftline.schema.json'
    Draft202012Validator.check_schema(json.loads(published))


def test_every_field_is_described_and_every_number_bounded() -> None:
    for path, field in fields():
        assert field.get("description"), path
        for kind in [field, *field.get("anyOf", [])]:
            if kind.get("type") in ("integer", "number") and "const" not in kind:
                assert kind.keys() & {"minimum", "exclusiveMinimum"}, path
                assert "maximum" in kind, path


def test_the_example_is_valid_and_names_every_field() -> None:
    Draft202012Validator(SCHEMA).validate(read_yaml(EXAMPLE, "").data)
    assert check_config(EXAMPLE) == []
    written = read_yaml(EXAMPLE, "").values
    assert [path for path, _ in fields() if path not in written] == []


def test_the_example_shows_the_defaults() -> None:
    assert parse_config(EXAMPLE).model_copy(update={"models": {}}) == Config()


# --- nothing but ConfigError, whatever the text

WORDS = st.sampled_from(
    [*"{}[]:,-?&*!|>'\"%@`# \n\t\\", ": ", "- ", "\n  ", "<<", "~", "!!int ", "1e9", ".nan", "&a ", "*a"]
)
KEYS = st.sampled_from(
    ["kafka", "redis", "url", "panes", "defaults", "models", "windows", "signals", "kinds", "1h", "worker"]
)


def check_outcome(text: str) -> None:
    """Fails if reading the text ends in anything but a Config, or a ConfigError that says something printable."""
    try:
        outcome: Config | str = parse_config(text)
    except ConfigError as error:
        outcome = str(error)
    assert isinstance(outcome, Config) or outcome.encode()


@settings(max_examples=300)
@given(st.text())
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    check_outcome(text)


@settings(max_examples=500)
@given(st.lists(WORDS | KEYS | st.text(max_size=3), max_size=30).map("".join))
def test_any_near_yaml_is_a_config_or_a_config_error(text: str) -> None:
    check_outcome(text)


@settings(max_examples=60)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 12), WORDS | KEYS | st.characters())
def test_any_slip_in_the_example_is_a_config_or_a_config_error(start: int, length: int, typed: str) -> None:
    check_outcome(EXAMPLE[:start] + typed + EXAMPLE[start + length :])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=300)
@example(path=("defaults", "baselines"), value={"": None})
@example(path=("models", "a"), value={"baselines": {"[key]": None, "": "[key]"}})
@given(st.sampled_from([path for path, _ in fields()]), VALUES)
def test_any_value_of_any_field_is_a_config_or_a_config_error(path: tuple[str, ...], value: Any) -> None:
    for name in reversed(path):
        value = {name: value}
    check_outcome(json.dumps(value))
