"""`driftline incidents` and `driftline explain` on a live deployment, and the commands in an alert."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.client import client_options
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from driftline.stream.state.values import DecidedAlert
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import baseline_of, interleave, messages
from tests.harness.brokers import Broker
from tests.harness.topic_tools import driftline, write_lines

# Events, one a second: the drift recovers some 200 after its end and is resolved 300 later.
COUNT, DRIFT, END = 1600, 600, 900
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose configuration is in the current directory, as the commands in an alert expect."""
    monkeypatch.chdir(tmp_path)
    sections = {
        # Its events are stamped with times long past: with a retention time, Kafka may remove them during a test.
        "topics": {"retention_hours": None},
        "panes": {"events": 50, "seconds": None},
        "defaults": {"incidents": {"runbook": "https://wiki.example/drift"}},
        "models": {
            "fraud": {"baseline": "fraud.driftline"},
            "learns": {"learn_events": 400},
            "past": {"baseline": "past.driftline", "reference": "past"},
        },
    }
    for model in ("fraud", "past"):
        (tmp_path / f"{model}.driftline").write_bytes(encode_baseline(baseline_of(model)))
    return deploy(tmp_path, broker, redis_server.address, sections)


def produce(here: Deployment, log: list[bytes]) -> None:
    """Send a log with the events' own times as timestamps, as a live producer does."""
    producer = KafkaProducer(**client_options(here.broker.kafka), linger_ms=5)
    for value in log:
        producer.send(here.config.topics.predictions, value, timestamp_ms=json.loads(value)["ts"])
    producer.flush()
    producer.close()


def run_worker(here: Deployment, log: list[bytes], alerts: int) -> list[dict[str, Any]]:
    """Run a worker over a log until there are at least that many alerts; returns them."""
    produce(here, log)
    with here.worker() as worker:
        worker.wait_for(lambda: len(here.alerts()) >= alerts)
        assert worker.stop() == 0
    return here.alerts()


def run(capsys: Printed, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output without the breaks of lines, and standard error."""
    code = driftline(*arguments)
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), " ".join(printed.err.split())


def signals(alert: dict[str, Any]) -> set[str]:
    return {each["signal"] for each in alert["data"]["evidence"]["signals"]}


# The commands in an alert


def test_the_commands_of_an_alert_can_be_run_as_they_are(here: Deployment, tmp_path: Path, capsys: Printed) -> None:
    """With a baseline file, a learned baseline and the past, the replay shows the drift that the alert reports."""
    log = interleave(
        *(messages(model, COUNT, drift=(DRIFT, COUNT), step=1000) for model in ("fraud", "learns", "past"))
    )
    alerts = run_worker(here, log, 4)  # a model compared with its past recovers once the drift is part of it
    fired = {each["data"]["component"]: each for each in alerts if each["data"]["status"] == "firing"}
    assert fired.keys() == {"fraud", "learns", "past"}
    for model, alert in fired.items():
        explain, replay = (shlex.split(command)[1:] for command in alert["data"]["commands"])
        assert ("--from" in replay) == (model == "fraud")
        code, printed, _ = run(capsys, *explain)
        assert code == 0
        assert f"FIRING {model}" in printed
        assert "https://wiki.example/drift" in printed

        found = tmp_path / "again.jsonl"
        assert run(capsys, *replay, "--alerts", found)[0] == 1
        again = [json.loads(line) for line in found.read_bytes().splitlines()]
        mine = [each for each in again if each["data"]["component"] == model]
        assert mine[0]["data"]["status"] == "firing"
        assert signals(mine[0]) >= signals(alert)
        assert abs(since(mine[0]) - since(alert)) <= 100_000, "the drift begins within 100 events, of one a second"
        if model != "fraud":
            assert mine[0]["data"]["starts_at"] == alert["data"]["starts_at"]


def since(alert: dict[str, Any]) -> float:
    return 1000 * time.mktime(time.strptime(alert["data"]["starts_at"][:19], "%Y-%m-%dT%H:%M:%S"))


# Incidents


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_an_incident_is_listed_while_it_is_open_and_among_past_ones_afterwards(
    here: Deployment, capsys: Printed
) -> None:
    incidents = ("incidents", "-c", here.path)
    code, printed, errors = run(capsys, *incidents)
    assert (code, printed) == (0, "no open incidents")
    assert f"no worker of the group {here.config.worker.group} has judged anything" in errors
    log = messages("fraud", COUNT, drift=(DRIFT, END), step=1000)
    (fired,) = (each["data"] for each in run_worker(here, log[:END], 1))
    code, printed, _ = run(capsys, *incidents)
    assert code == 1
    for part in ("open fraud", "firing", "warning", "2026-01-01 00:", "amount mean", fired["id"], fired["incident_id"]):
        assert part in printed
    assert run(capsys, *incidents, "--model", "churn") == (0, "no open incidents", "")

    (_, over) = (each["data"] for each in run_worker(here, log[END:], 2))
    assert run(capsys, *incidents) == (0, "no open incidents fraud: 1 page in 30 days", "")
    code, printed, _ = run(capsys, *incidents, "--past")
    assert code == 0
    assert "resolved fraud" in printed
    assert "recovered" in printed
    code, printed, _ = run(capsys, *incidents, "--past", "--json")
    row = json.loads(printed)
    assert {name: row[name] for name in ("state", "resolution", "model", "alert_id", "incident_id")} == {
        "state": "resolved",
        "resolution": "recovered",
        "model": "fraud",
        "alert_id": over["id"],
        "incident_id": fired["incident_id"],
    }
    assert [each["signal"] for each in row["signals"]] == ["features.amount"]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_recovering_incident_is_listed_as_recovering(here: Deployment, capsys: Printed) -> None:
    log = messages("fraud", END + 300, drift=(DRIFT, END), step=1000)
    produce(here, log)
    with here.worker() as worker:
        worker.wait_for(lambda: here.sealed() == {0: END + 300})

        def listed() -> list[tuple[str, str]]:
            rows = map(json.loads, run(capsys, "incidents", "-c", here.path, "--json")[1].splitlines())
            return [(row["model"], row["phase"]) for row in rows]

        worker.wait_for(lambda: listed() == [("fraud", "recovering")])
        assert "recovering" in run(capsys, "incidents", "-c", here.path)[1]


# An alert


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_an_alert_is_explained_from_redis_and_without_it_from_the_topic(
    here: Deployment, tmp_path: Path, capsys: Printed
) -> None:
    log = messages("fraud", COUNT, drift=(DRIFT, END), step=1000)
    fired, over = (each["data"] for each in run_worker(here, log, 2))
    explain = ("explain", "-c", here.path)
    outputs = [run(capsys, *explain, name) for name in (fired["id"], fired["id"][:6])]
    code, printed, errors = outputs[0]
    assert outputs[0] == outputs[1]
    assert (code, errors) == (0, "")
    assert "at most one false alarm in 1,000,000 events" in printed
    assert "RESOLVED fraud" in run(capsys, *explain, fired["incident_id"])[1], "an incident's newest alert"
    png = tmp_path / "a.png"
    assert run(capsys, *explain, fired["id"], "--png", png)[2] == f"{png}: signals drawn: 1"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert driftline(*explain, fired["id"], "--json") == 0
    assert json.loads(capsys.readouterr().out) == here.alerts()[0]

    with here.store as client:
        client.delete(*client.scan_iter(match="*:told"))
    assert run(capsys, *explain, fired["id"]) == outputs[0], "the alerts topic has them all"
    config = json.loads(here.path.read_text())
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(json.dumps(config | {"worker": config["worker"] | {"group": "nobody"}}))
    assert run(capsys, "explain", over["id"], "-c", elsewhere)[0] == 0
    code, _, errors = run(capsys, *explain, "0000dead")
    assert code == 2
    assert "no alert and no incident 0000dead; list the newest with: driftline incidents --past" in errors


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_what_is_said_of_a_page_is_shown_with_its_incident(here: Deployment, capsys: Printed) -> None:
    (fired,) = (each["data"] for each in run_worker(here, messages("fraud", 900, drift=(DRIFT, 900), step=1000), 1))
    feedback = ("feedback", fired["id"][:8], "-c", here.path, "--by", "ann")
    code, printed, _ = run(capsys, *feedback, "--false", "--comment", "a release")
    assert (code, printed) == (0, f"incident {fired['incident_id']} of fraud: false page")
    assert "false page" in run(capsys, "incidents", "-c", here.path)[1]
    listed = json.loads(run(capsys, "incidents", "-c", here.path, "--json")[1])
    assert listed["feedback"] == {"real": False, "by": "ann", "comment": "a release"}
    assert (listed["model_pages"]["pages"], listed["model_pages"]["false"]) == (1, 1)
    assert (
        "fraud: 1 page in 30 days; of these, 0 are said to be real, 1 false"
        in run(capsys, "incidents", "-c", here.path)[1]
    )
    assert "1,000 characters" in run(capsys, "feedback", "--help")[1]
    assert run(capsys, *feedback, "--real", "--comment", "caf\udce9")[0] == 0
    assert "real page" in run(capsys, "incidents", "-c", here.path)[1]
    assert run(capsys, "feedback", "0000dead", "--real", "-c", here.path)[0] == 2
    code, _, errors = run(capsys, *feedback)
    assert code == 2
    assert "--real" in errors


def test_a_file_of_alerts_is_explained_without_any_server(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "live.jsonl", messages("fraud", COUNT, drift=(DRIFT, END), step=1000))
    (tmp_path / "fraud.driftline").write_bytes(encode_baseline(baseline_of("fraud")))
    (tmp_path / "nowhere.yaml").write_text("kafka: {bootstrap: '127.0.0.1:1'}\nredis: {url: 'redis://127.0.0.1:1/0'}\n")
    assert run(capsys, "replay", "live.jsonl", "-b", "fraud.driftline", "--alerts", "alerts.jsonl")[0] == 1
    fired, over = (json.loads(line)["data"] for line in Path("alerts.jsonl").read_bytes().splitlines())
    code, printed, _ = run(capsys, "explain", fired["id"], "--alerts", "alerts.jsonl", "-c", "nowhere.yaml")
    assert code == 0
    assert "FIRING fraud" in printed
    assert "no longer drifting" in printed, "in the history of the incident"
    assert "RESOLVED" in run(capsys, "explain", over["id"], "--alerts", "alerts.jsonl")[1]
    assert run(capsys, "explain", fired["id"], "--alerts", "missing.jsonl")[2] == "error: missing.jsonl: no such file"


@pytest.mark.parametrize("wanted", ["abc", "", "a b c d", "../etc", "x" * 200])
def test_a_text_that_is_no_id_is_refused(wanted: str, capsys: Printed) -> None:
    code, _, errors = run(capsys, "explain", wanted)
    assert code == 2
    assert "expected an id such as" in errors


def test_a_png_without_matplotlib_says_what_to_install(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "driftline.stream.reports.plot", raising=False)
    for name in ("matplotlib", *(each for each in sys.modules if each.startswith("matplotlib."))):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, errors = run(capsys, "explain", "0123456789abcdef", "--png", tmp_path / "a.png")
    assert (code, errors) == (2, "error: --png needs matplotlib; install it with: pip install 'driftline[plot]'")


def test_listing_incidents_fails_if_redis_does_not_answer(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "nowhere.yaml"
    path.write_text("redis: {url: 'redis://127.0.0.1:1/0'}\n")
    code, _, errors = run(capsys, "incidents", "-c", path)
    assert code == 2
    assert "Redis does not answer" in errors


def test_an_alert_of_a_newer_version_is_an_error_and_no_empty_list(
    redis_server: Server, tmp_path: Path, capsys: Printed
) -> None:
    async def newer() -> None:
        client = connect(Redis(url=f"redis://{redis_server.address}"))
        judge = await Store(client, tmp_path.name).claim_judge("driftline.panes", 0)
        await judge.commit(1, {}, [DecidedAlert(b'{"data": {"id": 5}}', "i")])
        await client.aclose()

    asyncio.run(newer())
    path = tmp_path / "driftline.yaml"
    path.write_text(
        json.dumps({"redis": {"url": f"redis://{redis_server.address}"}, "worker": {"group": tmp_path.name}})
    )
    code, _, errors = run(capsys, "incidents", "-c", path)
    assert code == 2
    assert "this version cannot read an alert in Redis" in errors
