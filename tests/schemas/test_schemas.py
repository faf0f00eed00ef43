"""The published schemas: those of the code, valid, true of what is written and read, and false of what is not."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import structs

from driftline.stream.alerts.build import CONTENT_TYPE, encode_alert
from driftline.stream.alerts.read import key_of, read_complete_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.fields import duration_text
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.judge.incidents import Status
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import build_notification as page_message
from driftline.stream.paging.notifications import Notifications, RecordPosition
from driftline.stream.replay.pipeline import Pipeline
from driftline.stream.schemas.json_schema import Schema, alert_schema, event_schema, label_schema, schema_text
from tests.alerts.test_alerts import NAMES, message, step

DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = {"alert": alert_schema, "event": event_schema, "label": label_schema}
EPOCH = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def closed(schema: Schema) -> Schema:
    """The schema with nothing allowed beside what it names, as a reader of one version would have it."""
    if isinstance(schema, dict):
        inner = {name: closed(each) for name, each in schema.items()}
        return {**inner, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


ALERT = Draft202012Validator(alert_schema())
WHOLE_ALERT = Draft202012Validator(closed(alert_schema()))
EVENT = Draft202012Validator(event_schema())
LABEL = Draft202012Validator(label_schema())


def assert_alert(line: bytes) -> dict[str, Any]:
    """A message keeps the schema, says nothing that this does not name, is a CloudEvent, and a relay can read it."""
    event: dict[str, Any] = json.loads(line)
    WHOLE_ALERT.validate(event)
    assert read_complete_alert(line).incident_id == event["data"]["incident_id"]
    read = from_structured(KafkaMessage({"content-type": CONTENT_TYPE.encode()}, None, line), JSONFormat())
    assert read.get_attributes() == {
        **{name: value for name, value in event.items() if name != "data"},
        "time": datetime.fromisoformat(event["time"]),
    }
    assert read.get_data() == event["data"]
    assert read.get_subject() == event["data"]["alert_key"] == key_of(line).decode()
    assert_attributes(event)
    assert_documented(event["data"])
    return event


def assert_documented(data: dict[str, Any]) -> None:
    """What may become more is named in the schema, though it allows anything."""
    known, types = {}, alert_schema()["$defs"]
    for name, field in (types["AlertData"]["properties"] | types["SignalEvidence"]["properties"]).items():
        found = field.get("examples") or field.get("anyOf", [{}])[0].get("examples")
        known |= {name: found} if found else {}
    assert known.keys() == {"class", "resolution", "test", "code", "against"}
    for part in (data, *data["evidence"]["signals"]):
        assert all(part[name] in (*known[name], None) for name in known.keys() & part.keys())


def assert_attributes(event: dict[str, Any]) -> None:
    """The rules of CloudEvents 1.0.2 that the SDK leaves out: names, the text type, URI references, media types."""
    attributes = {name: value for name, value in event.items() if name != "data"}
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in attributes)
    # 3.1.1: no control characters, no noncharacters, no surrogates.
    for text in attributes.values():
        assert not re.search("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]", text)
        assert not any(ord(char) & 0xFFFE == 0xFFFE for char in text)
    assert re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})+", event["source"])
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", event["datacontenttype"])


# Published, valid, complete.


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_that_of_the_code_and_valid(name: str) -> None:
    schema = SCHEMAS[name]()
    published = (DOCS / f"{name}.schema.json").read_text("utf-8")
    write = f".venv/bin/driftline schema {name} > docs/{name}.schema.json"
    assert published == schema_text(schema), f"run: {write}"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_of_a_schema_is_described(name: str) -> None:
    found = list(described(SCHEMAS[name](), name))
    assert len(found) > 3
    assert [path for path, description in found if not description] == []


def described(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """(path, description) of every type and every field."""
    if "properties" in schema:
        yield path, schema["description"]
        yield from ((f"{path}.{name}", each.get("description", "")) for name, each in schema["properties"].items())
    for name, each in schema.get("$defs", {}).items():
        yield from described(each, name)


# Alerts.

FAULTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "shift": lambda row: {**row, "amount": row["amount"] + 3},
    "unit": lambda row: {**row, "amount": row["amount"] * 100},
    "stuck": lambda row: {**row, "amount": 1.0},
    "huge": lambda row: {**row, "amount": row["amount"] * 1e300},
    "missing": lambda row: {name: value for name, value in row.items() if name != "country"},
    "not a number": lambda row: {**row, "amount": math.nan},
    "infinite": lambda row: {**row, "amount": math.inf},
    "text": lambda row: {**row, "amount": "N/A"},
    "object": lambda row: {**row, "country": {"code": "de"}},
    "other categories": lambda row: {**row, "country": "at"},
    "unseen": lambda row: {**row, "country": "Ελλάς\n" * 20},
    "constant left": lambda row: {**row, "constant": "b"},
    "everything": lambda _: {},
}


def events(n: int, fault: str = "", first: int = 0, model: str = "fraud") -> list[bytes]:
    """n events, one a second; with a fault, the middle third has it."""
    rng = np.random.default_rng(first)
    rows = [
        {"amount": amount, "country": country, "new": new, "constant": "a", "geo": {"lat": lat}}
        for amount, country, new, lat in zip(
            rng.lognormal(size=n).tolist(),
            rng.choice(["de", "at", "ch"], n, p=[0.7, 0.2, 0.1]).tolist(),
            (rng.random(n) < 0.3).tolist(),
            rng.integers(0, 5, n).tolist(),
            strict=True,
        )
    ]
    for i in range(n // 3, 2 * n // 3) if fault else ():
        rows[i] = FAULTS[fault](rows[i])
    return [
        json.dumps(
            {"id": i, "ts": EPOCH + 1000 * (first + i), "model": model, "features": row, "score": rng.random()}
        ).encode()
        for i, row in enumerate(rows)
    ]


@cache
def baseline() -> Baseline:
    log = [parse_event(each) for each in events(3000, first=1_000_000)]
    return build_baseline(log, {"model": "fraud", "version": "4.2"}, BuildSettings(blocks=16))


def alerts(log: list[bytes], *baselines: Baseline, mode: Any = "live", **settings: Any) -> list[bytes]:
    """The alerts of a log, as they go to the alerts topic."""
    sections = {"panes": {"events": 50, "seconds": None}, "defaults": {"learn_events": 500, **settings}}
    pipeline = Pipeline(Config.model_validate(sections), {each.model: each for each in baselines}, mode=mode)
    sketcher = pipeline.sketcher(0, 0)
    runs = sketcher.consume(np.arange(len(log)), log).runs
    return [encode_alert(alert) for run in (*runs, sketcher.close(len(log))) for alert in pipeline.judge(run)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("page_per", ["model", "signal"])
def test_every_alert_of_a_replay_keeps_the_schema(fault: str, page_per: str) -> None:
    rules = {"page_per": page_per, "cooldown": "0s", "runbook": "https://wiki.example.com/fraud"}
    reported = [assert_alert(line)["data"] for line in alerts(events(2400, fault), baseline(), incidents=rules)]
    assert {"firing", "resolved"} <= {each["status"] for each in reported}


def test_so_do_those_of_learned_baselines_and_pasts_updates_and_other_modes() -> None:
    log = events(1500) + events(1500, "shift", 1500) + events(1500, "missing", 3000)
    lines = alerts(log, reference="past", mode="test") + alerts(log, mode="replay", incidents={"recovery": "24h"})
    reported = [assert_alert(line)["data"] for line in lines]
    assert {each["evidence"]["signals"][0]["against"] for each in reported} == {"baseline", "past"}
    assert {each["status"] for each in reported} == {"firing", "updated", "resolved"}
    assert {each["mode"] for each in reported} == {"test", "replay"}


@settings(max_examples=15)
@given(NAMES, NAMES, st.text(max_size=30), st.text(min_size=1, max_size=300))
def test_so_do_those_of_models_signals_and_values_with_any_names(model: str, name: str, old: str, new: str) -> None:
    assume(old != new)
    log = [
        orjson.dumps({"id": i, "ts": EPOCH + i, "model": model, "features": {name: old if i < 600 else new}})
        for i in range(900)
    ]
    reported = [assert_alert(line)["data"] for line in alerts(log)]
    assert [each["status"] for each in reported] == (["firing"] if len(name) <= 246 else [])


@given(NAMES, st.lists(NAMES, min_size=1, max_size=80, unique=True), st.sampled_from(Status), st.booleans())
@example("\0", ["\ufffe"], Status.FIRING, True)
@example("\n" * 300, ["x" * 9999], Status.UPDATED, True)
@example("m", [f"s{i}" for i in range(60)], Status.FIRING, False)
def test_so_do_those_of_any_step(model: str, signals: list[str], status: Status, alone: bool) -> None:
    drift = step(*signals, status=status)
    if alone:
        drift = structs.replace(drift, incident=structs.replace(drift.incident, scope=signals[0]))
    assert_alert(message(drift, model))


def test_so_do_the_alerts_that_a_relay_makes_of_several() -> None:
    rules = GroupingRules(group_wait=20, outage_models=5, outage_window=600, upstream={"m1": frozenset({"m0"})})
    for models, kind in ((["m0", "m1"], "downstream"), ([f"m{i}" for i in range(7)], "members")):
        firing = [message(step("features.amount", seq=1), model, emitted_at=EPOCH) for model in models]
        ended = [message(step(status=Status.RESOLVED, seq=2), each, emitted_at=EPOCH) for each in models]
        notifications = Notifications()
        for at, (lines, status) in enumerate(((firing, "firing"), (ended, "resolved"))):
            now = EPOCH / 1000 + 30 * at
            notifications = notifications.receive(
                [(line, RecordPosition("alerts", 0, i)) for i, line in enumerate(lines)], now
            )
            notifications = decide(notifications, rules, lambda _: False, now + rules.group_wait * (1 - at))
            (page,) = notifications.due(lambda _: False)
            raw = page_message(notifications, page, rules, now).raw
            event = assert_alert(raw)
            assert event["data"]["status"] == status
            assert len(event["data"]["evidence"][kind]) == len(models) - (kind == "downstream")
            notifications = notifications.mark_sent(page)


CHANGE = ("evidence", "signals", 0, "change")
OPTIONAL = {
    ("resolution",), ("commands",),  # an outage has none
    (*CHANGE, "before", "median"), (*CHANGE, "after", "median"), (*CHANGE, "rescaled"),  # nor a baseline of format 1
}  # fmt: skip


@cache
def one_alert() -> dict[str, Any]:
    event: dict[str, Any] = json.loads(alerts(events(2400, "unit"), baseline())[0])
    ALERT.validate(event)
    return event


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all fields of an alert; of a list, those of the first element; shares by name are no fields."""
    if isinstance(value, dict) and path[-1:] not in (("labels",), ("special",), ("values",)):
        for name, each in value.items():
            yield (*path, name)
            yield from places(each, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def changed(path: tuple[Any, ...], new: Any) -> dict[str, Any]:
    """The alert with another value at a place; without it, for Ellipsis."""
    event = copy.deepcopy(one_alert())
    at: Any = event
    for key in path[:-1]:
        at = at[key]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return event


def test_an_alert_without_any_of_its_fields_breaks_the_schema() -> None:
    paths = [path for path in places(one_alert()) if path[1:] not in OPTIONAL]
    assert len(paths) > 60
    assert [path for path in paths if ALERT.is_valid(changed(path, ...))] == []


def test_an_alert_with_a_field_of_another_type_breaks_the_schema() -> None:
    assert [path for path in places(one_alert()) if ALERT.is_valid(changed(path, [[True]]))] == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("specversion", "0.3"),
        ("type", "driftline.alert.v2"),
        ("datacontenttype", "text/plain"),
        ("id", ""),
        ("subject", "k" * 129),
        ("time", "2026-01-01 00:00"),
        ("data.alert_key", ""),
        ("data.alert_key", "k" * 129),
        ("data.seq", -1),
        ("data.seq", 1.5),
        ("data.status", "open"),
        ("data.severity", "fatal"),
        ("data.title", ""),
        ("data.title", "t" * 131),
        ("data.description", "d" * 3001),
        ("data.starts_at", None),
        ("data.starts_at", 0),
        ("data.ends_at", "never"),
        ("data.labels.model", 7),
        ("data.mode", "dream"),
        ("data.evidence.signals", [{}] * 51),
        ("data.evidence.signals.0.evidence_nats", None),
        ("data.evidence.signals.0.change.psi", None),
        ("data.evidence.signals.0.offsets.0.end", 0),
    ],
)
def test_an_alert_beyond_its_bounds_breaks_the_schema(path: str, wrong: Any) -> None:
    assert not ALERT.is_valid(changed(tuple(int(key) if key == "0" else key for key in path.split(".")), wrong))


def test_a_reader_of_today_takes_an_alert_with_new_fields() -> None:
    assert list(ALERT.iter_errors(changed(("data", "colour"), "red"))) == []
    assert not WHOLE_ALERT.is_valid(changed(("data", "colour"), "red"))


@pytest.mark.parametrize("name", ["class", "test", "code", "against"])
def test_a_reader_of_today_takes_values_of_a_finding_that_come_later(name: str) -> None:
    event = changed(("data", "evidence", "signals", 0, name), "of tomorrow")
    assert list(ALERT.iter_errors(event)) == []
    assert read_complete_alert(json.dumps(event).encode()).model == "fraud"


@pytest.mark.parametrize("name", ["class", "resolution"])
def test_a_reader_of_today_takes_values_of_an_alert_that_come_later(name: str) -> None:
    event = changed(("data", name), "of tomorrow")
    assert list(ALERT.iter_errors(event)) == []
    assert read_complete_alert(json.dumps(event).encode()).model == "fraud"


# Prediction events: the schema and the decoder, one against the other.

# What the decoder refuses and JSON Schema can't say; that of size and of depth are below.
UNSAID = {
    "a day that its month does not have": {"ts": "2026-02-30T00:00:00Z"},
    "the last hours before 1970": {"ts": "1969-12-31T23:59:59Z"},
    "with its offset, before 1970": {"ts": "1970-01-01T00:00:00+01:00"},
    "with its offset, after 9999": {"ts": "9999-12-31T23:30:00-01:00"},
    "a number that is none": {"ts": math.nan},
    "an id that is infinite": {"id": math.inf},
    "an id with half a character": {"id": "\ud800"},
    "a model with half a character": {"model": "\udfff"},
}
PLAIN: dict[str, Any] = {"id": "a", "ts": EPOCH, "model": "fraud", "score": 0.5}


def refusal(event: Any) -> str | None:
    """Why the decoder refuses an event; None: it takes it."""
    try:
        parse_event(json.dumps(event).encode())
    except EventError as error:
        return str(error)
    return None


def test_the_schema_names_the_parts_of_the_native_shape() -> None:
    how_they_are_read = {"unit", "format", "zone", "nulls", "rows", "names", "names_at"}
    assert set(event_schema()["properties"]) == {each.name for each in fields(EventMapping)} - how_they_are_read


@pytest.mark.parametrize("rule", UNSAID)
def test_a_rule_that_the_schema_cannot_say_is_a_rule_of_the_decoder(rule: str) -> None:
    EVENT.validate(PLAIN | UNSAID[rule])
    assert refusal(PLAIN | UNSAID[rule])


def test_so_are_size_and_depth() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep}
    # Some thousand levels; the validator itself needs no more than the first.
    text = json.dumps(PLAIN | {"features": deep}).replace("{}", '{"a":' * 20_000 + "1" + "}" * 20_000)
    with pytest.raises(EventError, match="too deep"):
        parse_event(text.encode())
    large = PLAIN | {"features": {"text": "x" * (1 << 20)}}
    EVENT.validate(large)
    assert "too large" in (refusal(large) or "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
OFFSETS = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DATETIMES = st.datetimes(timezones=OFFSETS).map(datetime.isoformat)
TS_PATTERN = event_schema()["properties"]["ts"]["anyOf"][0]["pattern"]
BOUNDS = st.sampled_from([0, 10**8 - 1, 10**8, 10**8 + 0.5, 10**11, 10**14, 10**17, 10**20 - 1, 10**20, 1e300])
TIMES = (
    st.from_regex(re.compile(TS_PATTERN, re.ASCII), fullmatch=True)
    | DATETIMES
    | DATETIMES.flatmap(lambda text: st.integers(0, len(text) - 1).map(lambda i: text[:i] + text[i + 1 :]))
    | st.text("0123456789-T:Z+. ", max_size=30)
    | BOUNDS
    | st.floats(allow_nan=False)
    | JSON
)


def is_unsaid(event: Any) -> bool:
    """Whether one of the rules above may be broken, or the time has a form that only the decoder knows."""
    if not isinstance(event, dict):
        return False
    ts = event.get("ts")
    if isinstance(ts, str) and not re.fullmatch(TS_PATTERN, ts, re.ASCII):
        return True
    if isinstance(ts, str) and (match := re.match(r"(\d{4})-(\d\d)-(\d\d)", ts)):
        try:
            if not date(1970, 1, 1) < date(*map(int, match.groups())) < date(9999, 12, 31):
                return True
        except ValueError:
            return True
    return any(event.get(name) in (math.inf, -math.inf) for name in ("id", "model")) or any(
        re.search("[\ud800-\udfff]", str(event.get(name))) for name in ("id", "model")
    )


@settings(max_examples=600)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(max_size=5) | st.integers() | JSON,
            "ts": TIMES,
            "model": st.text(max_size=5) | JSON,
            "version": JSON,
            "features": st.dictionaries(st.text(max_size=5), JSON, max_size=3) | JSON,
            "prediction": JSON,
            "score": JSON,
            "tags": JSON,
        },
    )
    | JSON
)
def test_the_schema_takes_what_the_decoder_takes_and_refuses_what_it_refuses(event: Any) -> None:
    assume(not is_unsaid(event))
    assert EVENT.is_valid(event) == (refusal(event) is None)


@settings(max_examples=300)
@given(TIMES)
def test_so_it_does_with_times(ts: Any) -> None:
    event = PLAIN | {"ts": ts}
    assume(not is_unsaid(event))
    assert EVENT.is_valid(event) == (refusal(event) is None)


@pytest.mark.parametrize("part", ["id", "ts", "model", "score"])
def test_an_event_without_a_part_that_it_needs_is_refused_by_both(part: str) -> None:
    for event in ({name: value for name, value in PLAIN.items() if name != part}, PLAIN | {part: None}):
        assert not EVENT.is_valid(event)
        assert refusal(event)


# Labels.


def test_a_label_names_its_event_and_the_truth() -> None:
    label = {"id": "a", "model": "fraud", "label": True, "ts": "2026-01-02T00:00:00Z"}
    LABEL.validate(label)
    for name in label:
        assert not LABEL.is_valid({key: value for key, value in label.items() if key != name})
        assert not LABEL.is_valid(label | {name: None})


# The page about alerts.


def documented() -> dict[str, Any]:
    """An alert about whole numbers without chance, so that it is the same everywhere: amounts become cents."""
    log = [
        orjson.dumps(
            {
                "id": i,
                "ts": EPOCH + 1000 * i,
                "model": "fraud",
                "features": {
                    "amount": (1 + i * 37 % 97) * (100 if i >= 1000 else 1),
                    "country": "de" if i % 3 else "at",
                },
            }
        )
        for i in range(1600)
    ]
    before = build_baseline([parse_event(each) for each in log[:970]], {"model": "fraud", "version": "4.2"})
    event: dict[str, Any] = rounded(json.loads(alerts(log, before, incidents={"runbook": RUNBOOK})[0]))
    return event


RUNBOOK = "https://wiki.example.com/fraud"


def rounded(value: Any) -> Any:
    """JSON with numbers of six digits: the last ones are those of the machine's logarithm."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def test_the_example_in_the_documentation_is_a_real_alert() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", (DOCS / "ALERTS.md").read_text("utf-8"), re.DOTALL)
    assert json.loads(block) == documented()
    assert_alert(block.encode())


def test_the_table_of_severities_in_the_documentation_holds_the_defaults() -> None:
    text = (DOCS / "ALERTS.md").read_text("utf-8")
    for rule in Config().defaults.incidents.severity:
        assert f"| {rule.of or 'any'} | {rule.effect:g} | {rule.severity} |" in text
    for name in ("hold", "recovery", "cooldown"):
        assert f"`{name}` ({duration_text(getattr(Config().defaults.incidents, name))})" in text


def test_the_settings_that_the_documentation_suggests_are_valid() -> None:
    text = (DOCS / "ALERTS.md").read_text("utf-8")
    calendar, budgets, proven, rules, severities = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(parse_config(calendar).defaults.calendar.closed) == 2
    assert str(parse_config(budgets).for_model("eu-new").false_pages) == "0.05 per week"
    assert parse_config(proven).for_model("fraud").signals.bet_on == "features.amount"
    signals = parse_config(rules).defaults.signals
    assert (signals.rule("features.amount").min_distance, signals.rule("score").min_share) == (0.02, 0.001)
    assert len(parse_config(severities).defaults.incidents.severity) == 3
