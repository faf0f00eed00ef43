"""What is said of the newest events on the predictions topic."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.checks.traffic import read_sample, traffic_findings
from driftline.stream.config.load import parse_config
from driftline.stream.events.mapping import Origin
from driftline.stream.events.parse import EventReader


def log(count: int = 100, model: str = "fraud", **features: object) -> list[bytes]:
    """Events of a model with a feature `amount`, and others."""
    return [
        orjson.dumps(
            {"id": str(i), "ts": 1_767_225_600_000 + i, "model": model, "features": {"amount": 7 * i % 50, **features}}
        )
        for i in range(count)
    ]


def baseline(messages: list[bytes], without: str = "") -> Baseline:
    reader = EventReader()
    events = [event for message in messages for event in reader.read(message).events]
    return build_baseline(events, {"model": "fraud"}, BuildSettings(selects=lambda name: name != without))


def findings(
    messages: list[bytes], text: str = "", baselines: Mapping[str, Baseline] | None = None
) -> list[tuple[str, str]]:
    config = parse_config(text)
    origins = [(message, Origin("predictions", 0, i)) for i, message in enumerate(messages)]
    sample = read_sample(origins, config)
    return [(each.level, each.message) for each in traffic_findings(config, baselines or {}, sample)]


def test_events_that_fit_are_ok() -> None:
    assert findings(log(), "models: {fraud: {}}", {"fraud": baseline(log())}) == [
        ("ok", "100 events in the newest 100 messages, none refused"),
        ("ok", "the events of fraud fit the configuration and its baselines"),
    ]


def test_an_empty_topic_is_a_warning() -> None:
    assert findings([]) == [("warning", "the predictions topic is empty")]


def test_refused_messages_are_a_warning_with_the_first_reason_and_an_error_if_nothing_is_read() -> None:
    some = findings([*log(90), *[b'{"ts": 1767225600000}'] * 10])
    message = "90 events in the newest 100 messages, 10 refused; 10 for id, such as: id: missing"
    assert some[0] == ("warning", message)
    (none,) = findings([b"\x00\x00\x00\x00\x01avro"] * 3)
    assert none[0] == "error"
    assert findings([*log(199), b"{"])[0][0] == "ok", "one in 200 is no reason to worry"


def test_signals_that_only_the_baseline_or_only_the_traffic_has_are_named() -> None:
    assert findings(log(city="x"), "models: {fraud: {}}", {"fraud": baseline(log(label=1))})[1:] == [
        ("warning", "model fraud: features.label is in the baseline, but never in 100 live events"),
        ("warning", "model fraud: features.city in its events, but not in its baseline, are not monitored"),
    ]


def test_a_signal_that_was_left_out_on_purpose_is_not_new() -> None:
    built = baseline(log(city="x"), without="features.city")
    assert findings(log(city="x"), "models: {fraud: {}}", {"fraud": built})[1][0] == "ok"


def test_names_in_the_configuration_are_compared_with_the_events() -> None:
    text = "models: {fruad: {}}\ndefaults: {signals: {exclude: [amount]}}"
    assert findings(log(), text)[1:] == [
        ("warning", "defaults.signals.exclude: `amount` matches no signal of model fraud"),
        ("warning", "models.fruad: no event names this model"),
        ("warning", "model fraud has no section in the configuration: the defaults hold"),
    ]
