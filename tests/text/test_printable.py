"""Whatever traffic calls its models, signals and values: what people see is printable, on every way out."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from driftline.stream.alerts.explain import as_row
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import AlertError, read_alert, read_complete_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.cli import terminal
from driftline.stream.ops.logging import JsonFormatter, TextFormatter
from driftline.stream.paging.receivers import alertmanager
from driftline.stream.paging.receivers.registry import INTEGRATIONS
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.reports.alert import print_explanation, print_incidents
from driftline.stream.reports.replay import print_alert
from driftline.stream.text.printable import printable, printable_json, printable_lines
from tests.harness.any_alert import HOSTILE, TEXT, alerts, any_alerts
from tests.harness.topic_tools import driftline

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_safe(shown: str) -> bool:
    """Whether every line of a text is printable."""
    return all(line.isprintable() for line in shown.split("\n"))


def texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [*map(str, value), *(text for each in value.values() for text in texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


# --- the functions


@given(TEXT)
def test_a_printable_text_is_one_line_and_an_ordinary_one_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    assert printable_lines(text).count("\n") == text.count("\n")
    assert is_safe(printable_lines(text))


@given(st.dictionaries(TEXT, TEXT))
def test_printable_json_has_the_same_value(value: dict[str, str]) -> None:
    line = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(line) == value
    assert line.isprintable()


# --- terminals


@FUZZ
@given(any_alerts(), st.sampled_from([20, 80, 200]))
def test_every_alert_that_the_schema_allows_is_explained_and_listed(line: bytes, width: int) -> None:
    alert = read_alert(line)
    console = Console(file=io.StringIO(), width=width)
    print_explanation(console, alert, [alert], "one false alarm in 1,000,000 events")
    listed = ListedIncident.of(alert, [alert], "firing")
    print_incidents(console, [listed], NOW)
    assert is_safe(console.file.getvalue())  # type: ignore[attr-defined]
    assert json.dumps(as_row(listed, NOW), default=str)


@FUZZ
@given(alerts())
def test_every_alert_that_the_schema_allows_is_printed_by_a_replay(line: bytes) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_alert(console, msgspec.json.decode(line, type=IncidentAlert).data)
    assert is_safe(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_command_prints_the_terminal_stays_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for console in (terminal.out, terminal.err):
        console.print(Text(f"no event of model {text!s}, sorry"))
    assert all(is_safe(shown) for shown in capsys.readouterr())


def test_baselines_and_replays_of_hostile_traffic_are_printed_safely(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, names = "".join(HOSTILE), [f"{i}{text}" for i, text in enumerate(HOSTILE)]

    def event(i: int, shift: float) -> dict[str, Any]:
        numbers = dict.fromkeys(names, i * 7919 % 1000 / 1000 + shift)
        at = datetime.fromtimestamp(1_767_225_600 + i, UTC).isoformat()
        return {"id": str(i), "ts": at, "model": model, "features": {**numbers, "\u202ekind": HOSTILE[i % 9]}}

    reference, live = tmp_path / "reference.jsonl", tmp_path / "live.jsonl"
    reference.write_text("\n".join(json.dumps(event(i, 0)) for i in range(2000)))
    live.write_text("\n".join(json.dumps(event(i, i // 1000)) for i in range(2000)) + '\n{"id": "\\u001b[2J"}\n')
    baseline, alerts = tmp_path / "b.driftline", tmp_path / "alerts.jsonl"
    assert driftline("baseline", "build", reference, "--model", model, "-o", baseline) == 0
    assert driftline("baseline", "show", baseline) == 0
    assert driftline("replay", live, "-b", baseline, "--alerts", alerts) == 1
    (fired,) = (each for each in map(read_alert, alerts.read_bytes().splitlines()) if each.status == "firing")
    assert is_safe(fired.description)
    assert fired.title.isprintable()
    assert driftline("explain", fired.id, "--alerts", alerts) == 0
    assert driftline("explain", fired.id, "--alerts", alerts, "--json") == 0
    assert all(map(is_safe, capsys.readouterr()))


# --- logs


@given(TEXT)
def test_a_log_line_is_one_printable_line(text: str) -> None:
    record = logging.LogRecord("driftline", logging.INFO, "", 0, "%s: model %s", ("relay", text), None)
    assert TextFormatter("%(levelname)s %(message)s").format(record).isprintable()
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == f"relay: model {text}"


def test_the_traceback_of_a_hostile_error_is_printable() -> None:
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError as error:
        found = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("driftline", logging.INFO, "", 0, "it ends", None, found)
    assert is_safe(TextFormatter().format(record))
    assert "\\x1b[2J" in TextFormatter().format(record)


# --- pages


@FUZZ
@given(any_alerts())
def test_pages_are_printable_and_obey_no_markup(line: bytes) -> None:
    try:
        alert = read_complete_alert(line)
    except AlertError:
        return
    bodies = {
        name: json.loads(INTEGRATIONS[name].build_request(alert, line, Endpoint("http://pager.example"), NOW).body)
        for name in ("pagerduty", "slack")
    }
    bodies["alertmanager"] = list(alertmanager.updated_entries(alert, {}, NOW).values())
    for body in bodies.values():
        assert all(map(is_safe, texts(body)))
    message = bodies["slack"]
    shown = [message["text"], *(each["text"]["text"] for each in message["blocks"] if "text" in each)]
    links = {f"<{link.href}|" for link in alert.web_links()}
    for text in shown:
        for link in links:
            text = text.replace(link, "")  # noqa: PLW2901
        assert "<" not in text


def test_a_picture_of_a_hostile_alert_is_drawn(tmp_path: Path) -> None:
    plot = pytest.importorskip("driftline.stream.reports.plot").plot

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(alerts())
    def draw(line: bytes) -> None:
        plot(read_alert(line), tmp_path / "alert.png")

    draw()
