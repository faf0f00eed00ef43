"""The command line: what it prints, writes and exits with."""

from __future__ import annotations

import gzip
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.main import get_command

from driftline.stream.alerts.build import iso
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.cli.commands import LateCommand
from driftline.stream.cli.main import app
from load_tests.harness.oracle import EPOCH, interleave, messages
from tests.harness.command_line import CommandResult, Run

CALM = messages("fraud", 2000, first=10_000)
DRIFT = messages("fraud", 3000, drift=(1500, 3000))
CONFIG = "panes: {events: 100, seconds: null}\ndefaults: {learn_events: 700}\n"


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """The console script in this process, in a directory of its own that holds calm.jsonl, drift.jsonl and c.yaml."""
    write(tmp_path / "calm.jsonl", CALM)
    write(tmp_path / "drift.jsonl", DRIFT)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return run


@pytest.fixture
def built(run: Run) -> Run:
    """`run`, in a directory that also holds fraud.driftline."""
    assert run("baseline", "build", "calm.jsonl", "--model", "fraud").code == 0
    return run


def write(path: Path, log: Sequence[bytes]) -> Path:
    content = b"\n".join(log) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def words(text: str) -> str:
    """Printed text without the breaks of lines and boxes."""
    return " ".join(text.replace("│", " ").split())


def load(path: Path) -> Baseline:
    return decode_baseline(path.read_bytes())


def test_building_a_baseline_says_what_was_read_and_writes_it(run: Run, tmp_path: Path) -> None:
    result = run("baseline", "build", "calm.jsonl", "--model", "fraud", "--version", "4.2")
    assert result.code == 0
    assert words(result.out).startswith(
        "fraud.driftline: 2,000 events, 0 rejected; 3 signals (2 numeric, 1 categorical, 0 boolean, 0 constant) "
        "learning the day, 0 of 5: from 5 days of events on, signals that follow the time of day are compared with the "
        "same hours"
    )
    baseline = load(tmp_path / "fraud.driftline")
    assert (baseline.model, baseline.total.n, baseline.about["version"]) == ("fraud", 2000, "4.2")
    assert baseline.about["source"] == ["calm.jsonl"]
    assert iso(baseline.about["time_from"]) == iso(EPOCH + 10_000)


def test_a_text_whose_rare_values_are_counted_in_groups_is_one_signal(run: Run, tmp_path: Path) -> None:
    rows = [{"id": str(i), "ts": EPOCH + i, "model": "m", "features": {"shop": f"shop {i % 800}"}} for i in range(8000)]
    (tmp_path / "many.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    built = words(run("baseline", "build", "many.jsonl", "--model", "m").out)
    says = "1 signal (0 numeric, 1 categorical, 0 boolean, 0 constant), and groups of rare values of 1 text"
    assert f"8,000 events, 0 rejected; {says}" in built


def test_the_end_of_a_build_says_what_is_promised_what_history_would_have_paged_and_what_is_seen(run: Run) -> None:
    (Path("b.yaml")).write_text("defaults: {false_pages: 1 per month}")
    calm = words(run("baseline", "build", "calm.jsonl", "--model", "fraud", "-c", "b.yaml").out)
    assert "promised of fraud: false pages allowed in 30 days: 1 (data 0.9, absence 0.1); " in calm
    assert "its own history, each quarter against the others, in steps of 7 events: no page in " in calm
    assert "signal 1 hour 1 day 1 week missing, 1 day" in calm
    write(Path("part.jsonl"), messages("fraud", 4000, drift=(1400, 1700)))
    drifted = run("baseline", "build", "part.jsonl", "--model", "fraud", "-c", "b.yaml", "--json")
    found = orjson.loads(drifted.out)["calibration"]
    assert found["promise"]["pages"] == pytest.approx(1.0)
    assert {name for page in found["own_pages"] for name in page["signals"]} >= {"features.amount"}
    assert all(EPOCH <= page["since"] <= page["at"] <= EPOCH + 4000 for page in found["own_pages"])
    assert {each["signal"]: set(each) & {"shift", "share", "missing"} for each in found["seen"]} == {
        "features.amount": {"shift", "missing"},
        "features.country": {"share", "missing"},
        "score": {"shift", "missing"},
    }


def test_calibrate_says_the_same_of_a_file_and_of_every_baseline_of_a_configuration(built: Run) -> None:
    Path("two.yaml").write_text("models: {fraud: {baseline: fraud.driftline, baselines: {'2': fraud.driftline}}}")
    (of_file,) = orjson.loads(built("calibrate", "fraud.driftline", "--json").out)["models"]
    both = orjson.loads(built("calibrate", "two.yaml", "--json").out)["models"]
    assert both == [of_file, of_file]
    assert of_file["own_pages"] == []
    text = words(built("calibrate", "two.yaml").out)
    assert text.count("promised of fraud: ") == 2
    assert built("calibrate", "c.yaml").code == 2


def test_a_history_without_order_is_not_replayed_and_says_so(run: Run) -> None:
    built = words(run("baseline", "build", "calm.jsonl", "--model", "fraud", "--unordered").out)
    assert "what its own history would have paged is not known: the order of its events is not known" in built


def test_a_history_of_one_event_is_said_to_be_that(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "one.jsonl", CALM[:1])
    built = words(run("baseline", "build", "one.jsonl", "--model", "fraud").out)
    assert "what its own history would have paged is not known: one event is no history" in built
    assert "what is seen within a day is not known, as no times say how many events come a day" in built


def test_time_that_is_excluded_from_a_baseline_is_named_in_its_manifest(run: Run, tmp_path: Path) -> None:
    cut = f"{iso(EPOCH + 1500)}..{iso(EPOCH + 3000)}"
    built = run("baseline", "build", "drift.jsonl", "--model", "fraud", "--exclude", cut, "--json")
    assert orjson.loads(built.out)["calibration"]["own_pages"] == []
    baseline = load(tmp_path / "fraud.driftline")
    assert baseline.total.n == 1500
    assert baseline.about["excluded"] == [{"from": EPOCH + 1500, "to": EPOCH + 3000, "events": 1500}]
    for option, why in (("2026-01-01", "expected FROM..TO"), ("2026-01-02..2026-01-01", "ends before it begins")):
        assert why in words(run("baseline", "build", "calm.jsonl", "--model", "fraud", "--exclude", option).err)
    everything = run("baseline", "build", "calm.jsonl", "--model", "fraud", "--exclude", "2000-01-01..2099-01-01")
    assert "--exclude leaves no event" in words(everything.err)


def test_the_manifest_holds_the_given_facts(run: Run, tmp_path: Path) -> None:
    options = "--git-commit abc --training-snapshot s3://b/7 --hyperparameter depth=6 --hyperparameter lr=0.1 --seed 7"
    code = run("baseline", "build", "calm.jsonl", "--model", "fraud", "-o", "b.driftline", *options.split()).code
    assert code == 0
    about = load(tmp_path / "b.driftline").about
    given = {name: about[name] for name in ("git_commit", "training_snapshot", "hyperparameters", "seed")}
    assert given == {
        "git_commit": "abc",
        "training_snapshot": "s3://b/7",
        "hyperparameters": {"depth": "6", "lr": "0.1"},
        "seed": 7,
    }


def test_events_of_other_models_are_skipped_and_bad_lines_reported(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "mixed.jsonl", [*interleave(CALM, messages("churn", 2000)), b"{", b'{"id": 1}'])
    result = run("baseline", "build", "mixed.jsonl", "--model", "churn")
    assert "2,000 events, 2 rejected" in words(result.out)
    assert "rejected 1 × for not JSON, the first is record 4,001: not JSON" in words(result.err)
    assert "for ts, the first is record 4,002: ts: missing; the message has id" in words(result.err)
    refused = run("baseline", "build", "mixed.jsonl", "--model", "chrun")
    assert (refused.code, words(refused.err)[-64:]) == (
        2,
        "error: no event of model 'chrun'; the files hold churn, fraud",
    )


def test_kinds_bins_and_order_can_be_set(run: Run, tmp_path: Path) -> None:
    kinds = ("--kind", "score=categorical", "--kind", "features.amount=numeric")
    run("baseline", "build", "calm.jsonl", "--model", "fraud", *kinds, "--bins", "10", "--unordered")
    baseline = load(tmp_path / "fraud.driftline")
    assert {signal.name: signal.kind.value for signal in baseline.layout.signals}["score"] == "categorical"
    assert baseline.layout.signals[0].coder.size == 10
    assert len(baseline.blocks) == 1


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("score", "expected NAME=VALUE"),
        ("score=text", "use numeric, categorical or boolean"),
        ("features.amout=numeric", "no signal 'features.amout'; the events hold features.amount"),
    ],
)
def test_a_kind_that_makes_no_sense_is_refused(run: Run, tmp_path: Path, option: str, reason: str) -> None:
    result = run("baseline", "build", "calm.jsonl", "--model", "fraud", "--kind", option)
    assert result.code == 2
    assert reason in words(result.err)
    assert not (tmp_path / "fraud.driftline").exists()


def test_showing_a_baseline_prints_its_facts_and_every_signal(built: Run) -> None:
    shown = built("baseline", "show", "fraud.driftline")
    assert shown.code == 0
    for part in ("fraud", "2026-01-01T00:00:10.000Z", "amount", "country", "score", "numeric", "▂", "ch ", "at "):
        assert part in shown.out


def test_no_drift_is_0_and_drift_is_1_with_a_summary_and_a_file_of_alerts(built: Run, tmp_path: Path) -> None:
    calm = built("replay", "calm.jsonl", "-b", "fraud.driftline", "--alerts", "none.jsonl")
    assert (calm.code, calm.out.splitlines()[-1]) == (0, "no drift")
    assert (tmp_path / "none.jsonl").read_bytes() == b""
    found = built("replay", "drift.jsonl", "-b", "fraud.driftline", "--alerts", "found.jsonl", "-c", "c.yaml")
    assert (found.code, found.out.splitlines()[-1]) == (1, "1 incident, 0 resolved, 1 still open")
    for part in ("FIRING fraud", "features.amount mean", "since 2026-01-01T00:00", "events in"):
        assert part in words(found.out)
    (alert,) = lines(tmp_path / "found.jsonl")
    assert alert["specversion"] == "1.0"
    assert alert["type"] == "driftline.alert.v1"
    assert alert["data"]["mode"] == "replay"
    assert alert["id"] == alert["data"]["id"]
    assert alert["time"] == alert["data"]["emitted_at"]


def test_an_alert_that_a_file_does_not_hold_is_missed_in_that_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "alerts.jsonl").write_bytes(b'{"data": {"id": "0123456789abcdef"}}\n')
    result = run("explain", "0000dead", "--alerts", "alerts.jsonl")
    assert (result.code, words(result.err)) == (
        2, "error: alerts.jsonl: holds no alert and no incident 0000dead; its lines have the ids"
    )  # fmt: skip


@pytest.mark.usefixtures("built")
def test_the_same_input_gives_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        command = [sys.executable, "-m", "driftline", "replay", "drift.jsonl", "-b", "fraud.driftline"]
        environment = {**os.environ, "PYTHONHASHSEED": str(len(name) + ord(name[0]))}
        done = subprocess.run([*command, "--alerts", name], cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 1, done.stderr
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != b""


def test_files_are_read_in_order_and_standard_input_is_a_file(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", DRIFT[:1200])
    write(tmp_path / "b.jsonl", DRIFT[1200:])
    for number, sources in enumerate((["drift.jsonl"], ["a.jsonl.gz", "b.jsonl"], ["-"])):
        name = f"{number}.jsonl"
        assert built("replay", *sources, "-b", "fraud.driftline", "--alerts", name, stdin=b"\n".join(DRIFT)).code == 1
    assert (
        (tmp_path / "0.jsonl").read_bytes()
        == (tmp_path / "1.jsonl").read_bytes()
        == (tmp_path / "2.jsonl").read_bytes()
    )
    assert built("baseline", "build", "-", "--model", "fraud", "-o", "s", stdin=b"\n".join(CALM)).code == 0
    assert load(tmp_path / "s").content_hash == load(tmp_path / "fraud.driftline").content_hash


def test_without_a_baseline_one_is_learned_from_the_first_events_with_a_notice(run: Run) -> None:
    result = run("replay", "drift.jsonl", "-c", "c.yaml")
    assert result.code == 1
    assert "each model's is learned from its first 700 events" in words(result.err)
    assert "fraud: its baseline was learned from its first 700 events" in words(result.out)
    assert "judged 2,300 of 3,000 events (700 learned from)" in words(result.out)


def test_a_model_with_too_few_events_for_a_baseline_is_no_all_clear(run: Run) -> None:
    few = run("replay", "drift.jsonl")
    assert (few.code, few.out.splitlines()[-1]) == (2, "no verdict")
    for part in (
        "watched 0 signals of 0 models, judged 0 of 3,000 events (3,000 of models with too few events)",
        "too little was judged: 3,000 of 3,000 events belong to models without a verdict",
        '"fraud": its 3,000 events are too few to learn a baseline from, which takes 5,000 (learn_events)',
    ):
        assert part in words(few.out)


def test_a_baseline_of_a_model_that_no_event_names_is_no_all_clear(run: Run) -> None:
    for model in ("fraud", "churn"):
        write(Path(f"{model}.jsonl"), messages(model, 2000))
        assert run("baseline", "build", f"{model}.jsonl", "--model", model).code == 0
    both = ("-b", "churn.driftline", "-b", "fraud.driftline")
    result = run("replay", "calm.jsonl", *both)
    assert result.code == 2
    assert (
        'the baseline of model "churn" was not used: no event names that model; the models of the events are '
        "fraud (or use --model)"
    ) in words(result.out)
    assert "judged 2,000 of 2,000 events" in words(result.out), "the other model was judged all the same"
    found = run("replay", "drift.jsonl", *both)
    assert found.code == 1, "drift is drift, however little else was judged"
    assert "too little was judged" in found.out


def test_a_configured_model_without_a_verdict_is_no_all_clear(built: Run, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("models: {fraud: {baseline: fraud.driftline}, churn: {clock: 10}}")
    result = built("replay", "calm.jsonl", "-c", "two.yaml")
    assert result.code == 2
    assert 'model "churn" of the configuration has no verdict: no event names that model' in words(result.out)


def test_fewer_events_than_an_evaluation_takes_are_no_all_clear(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "few.jsonl", CALM[:30])
    result = built("replay", "few.jsonl", "-b", "fraud.driftline")
    assert result.code == 2
    assert "it has 30 events, fewer than the 50 of one evaluation (clock)" in words(result.out)
    write(tmp_path / "one.jsonl", CALM[:1])
    one = words(built("replay", "one.jsonl", "-b", "fraud.driftline").out)
    assert one.startswith("1 event in ")
    assert "it has 1 event, fewer than the 50" in one


def test_no_event_at_all_is_no_all_clear(built: Run) -> None:
    result = built("replay", "calm.jsonl", "-b", "fraud.driftline", "--from", "2030-01-01T00:00:00Z")
    assert result.code == 2
    assert "too little was judged: there was no message to read" in words(result.out)


def test_more_rejected_messages_than_allowed_are_no_all_clear(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "bad.jsonl", [*CALM, *[b"{"] * 50])
    result = built("replay", "bad.jsonl", "-b", "fraud.driftline")
    assert result.code == 2
    assert (
        "too little was judged: 50 of 2,050 messages (2.4 %) were rejected, and at most 1 % may be (--max-rejected); "
        "50 of them for not JSON, such as: not JSON: Expecting property name"
    ) in words(result.out)
    for allowed in ("3%", "0.03"):
        assert built("replay", "bad.jsonl", "-b", "fraud.driftline", "--max-rejected", allowed).code == 0
    for odd in ("3", "1", "-1%", "many"):
        refused = built("replay", "bad.jsonl", "-b", "fraud.driftline", "--max-rejected", odd)
        assert refused.code == 2
        assert "expected a percentage such as 5% or a share such as 0.05" in words(refused.err)


def test_events_that_are_all_rejected_are_no_all_clear(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "no_times.jsonl", [message.replace(b'"ts"', b'"timestamp"') for message in CALM])
    result = built("replay", "no_times.jsonl", "-b", "fraud.driftline")
    assert result.code == 2
    assert "2,000 of 2,000 messages (100 %) were rejected" in words(result.out)
    assert "2,000 × rejected for ts (the first is record 1)" in words(result.out)
    assert "such as: ts: missing; the message has id, timestamp, model," in words(result.out)
    assert words(result.out).count("ts: missing") == 1
    assert "did you mean `timestamp`? add `mapping: {ts: timestamp}`" in words(result.out)
    (tmp_path / "mapped.yaml").write_text("mapping: {ts: timestamp}")
    assert built("replay", "no_times.jsonl", "-b", "fraud.driftline", "-c", "mapped.yaml").code == 0, "so it says"


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "nowhere.csv"),
        ("replay", "calm.jsonl", "-b", "calm.jsonl"),
        ("replay", "calm.jsonl", "-c", "odd.yaml"),
        ("baseline", "show", "calm.jsonl"),
        ("inspect", "calm.jsonl", "-o", "nowhere/new.yaml"),
    ],
)
def test_a_command_that_fails_says_why_in_json_if_asked_for_json(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "odd.yaml").write_text("mapping: {zone: Mars/Base}")
    plain, result = run(*arguments), run(*arguments, "--json")
    assert plain.code == result.code == 2
    assert orjson.loads(result.out)["error"] in result.err


def test_a_constant_beside_arrays_is_no_all_clear(run: Run, tmp_path: Path) -> None:
    """Nothing that is watched says anything about the arrays, which hold all that varies."""
    rows = [
        orjson.loads(message) | {"features": {"source": "app", "embedding": [i, 2 * i]}}
        for i, message in enumerate(CALM)
    ]
    for row in rows:
        row.pop("score", None), row.pop("prediction", None)
    write(tmp_path / "arrays.jsonl", [orjson.dumps(row) for row in rows])
    assert run("baseline", "build", "arrays.jsonl", "--model", "fraud", "-o", "arrays.driftline").code == 0
    result = run("replay", "arrays.jsonl", "-b", "arrays.driftline")
    assert result.code == 2
    assert (
        'all that is watched of model "fraud" is constant in its baseline, and features.embedding would not be seen '
        "to drift"
    ) in words(result.out)
    (tmp_path / "chosen.yaml").write_text("defaults: {signals: {exclude: [features.embedding]}}")
    assert run("replay", "arrays.jsonl", "-b", "arrays.driftline", "-c", "chosen.yaml").code == 0, "so it says"


def test_from_and_to_cut_the_log(built: Run) -> None:
    drift = iso(EPOCH + 1500)
    before = built("replay", "drift.jsonl", "-b", "fraud.driftline", "--to", drift)
    assert (before.code, before.out.splitlines()[0].split(" in ")[0]) == (0, "1,500 events")
    after = built("replay", "drift.jsonl", "-b", "fraud.driftline", "--from", drift, "--to", iso(EPOCH + 2500))
    assert (after.code, words(after.out).split(" events in ")[0].split()[-1]) == (1, "1,000")


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_an_invalid_time_is_refused(built: Run, option: str) -> None:
    result = built("replay", "drift.jsonl", "-b", "fraud.driftline", option, "yesterday")
    assert result.code == 2
    assert f"{option}: expected RFC 3339 such as 2026-01-31T00:00:00Z, got 'yesterday'" in words(result.err)


def test_bad_messages_are_counted_and_the_replay_continues(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "bad.jsonl", [*DRIFT, b"{", DRIFT[0].replace(b'"amount":', b'"amount":"N/A","was":')])
    result = built("replay", "bad.jsonl", "-b", "fraud.driftline")
    assert result.code == 1
    assert "1 × rejected for not JSON, such as: not JSON" in words(result.out)
    assert "1 × features.amount counted as invalid, such as: features.amount: expected number, got 'N/A'" in words(
        result.out
    )


def test_a_table_without_a_model_column_uses_the_given_model(built: Run, tmp_path: Path) -> None:
    rows = [orjson.loads(message) for message in DRIFT]
    table = ["ts,amount,country,score"]
    table += [
        f"{iso(row['ts'])},{row['features']['amount']},{row['features']['country']},{row['score']}" for row in rows
    ]
    (tmp_path / "drift.csv").write_text("\n".join(table))
    assert built("replay", "drift.csv", "-b", "fraud.driftline", "--model", "fraud").code == 1
    nameless = built("replay", "drift.csv", "-b", "fraud.driftline")
    assert "3,000 of them for model, such as: model: missing; the message has" in words(nameless.out)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("replay none.jsonl -b fraud.driftline", ["none.jsonl", "no such file"]),
        ("replay drift.jsonl -b none.driftline", ["none.driftline: No such file", "`driftline baseline build`"]),
        ("replay drift.jsonl -b calm.jsonl", ["calm.jsonl: damaged baseline", "rebuild it"]),
        ("replay drift.jsonl -b fraud.driftline --alerts no/such/folder", ["no folder no/such; make it first"]),
        ("inspect train.jsonl -o no/such/file", ["no folder no/such; make it first"]),
        ("replay drift.jsonl -c none.yaml", ["none.yaml", "does not exist"]),
        ("replay drift.jsonl -c bad.yaml", ["bad.yaml:1", "learn_evnts", "learn_events"]),
        ("replay drift.jsonl -c latin.yaml", ["latin.yaml: byte 3: not UTF-8", "save the file as UTF-8"]),
        ("replay fraud.driftline", ["fraud.driftline", "zip archive"]),
        ("baseline build empty.jsonl --model fraud", ["empty.jsonl", "leave it out"]),
        ("baseline build calm.jsonl --model fraud -o no/such/folder", ["no folder no/such; make it first"]),
        ("baseline show none.driftline", ["none.driftline: No such file"]),
        ("baseline show [b].driftline", ["[b].driftline: No such file"]),
        ("check latin.yaml", ["latin.yaml: byte 3: not UTF-8"]),
        ("baseline build calm.jsonl", ["--model"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_a_command_that_cannot_run_is_2_and_names_the_file_and_the_reason(
    built: Run, tmp_path: Path, arguments: str, parts: list[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("defaults: {learn_evnts: 700}\n")
    (tmp_path / "latin.yaml").write_bytes(b"# \xfcber\n")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    result = built(*arguments.split())
    assert result.code == 2
    assert "Traceback" not in result.err
    for part in parts:
        assert part in words(result.err)


def test_rejected_events_are_shown_before_a_build_without_events_fails(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "no_times.jsonl", [message.replace(b'"ts"', b'"time"') for message in CALM[:50]])
    result = run("baseline", "build", "no_times.jsonl", "--model", "fraud")
    assert result.code == 2
    assert "rejected 50 × for ts, the first is record 1: ts: missing; the message has id, time" in words(result.err)
    assert "did you mean `time`? add `mapping: {ts: time}`" in words(result.err)
    assert "no event has a time; `driftline inspect FILE -o driftline.yaml` finds it" in words(result.err)


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        (CONFIG, 0, ["good.yaml: ok"]),
        ("", 0, ["warning", "all defaults hold"]),
        ("panes: {events: 0}", 1, ["good.yaml:1:17", "error", "panes.events", "^"]),
        ("kafka: [", 1, ["good.yaml:1", "error"]),
    ],
)
def test_check_is_0_for_a_valid_configuration_and_1_with_line_column_and_caret(
    run: Run, tmp_path: Path, text: str, code: int, parts: list[str]
) -> None:
    (tmp_path / "good.yaml").write_text(text)
    result = run("check", "good.yaml")
    assert result.code == code
    for part in parts:
        assert part in result.out


def test_check_says_what_is_promised_of_each_model_by_the_traffic_of_its_baseline(built: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "defaults: {false_pages: 1 per month}\n"
        "budgets: [{models: ['eu-*'], false_pages: 1 per quarter, among: 4}]\n"
        "models: {fraud: {baseline: fraud.driftline, signals: {rules: {score: {min_distance: 0.05}}}}, "
        "rate: {false_alarms_per_event: 1.0e-7}}"
    )
    checked = built("check", "c.yaml").out
    least = "the least change that pages is a distance of 0.001 or a share of 0.0001"
    assert f"{least}, of score a distance of 0.05 or a share of 0.0001" in checked
    assert checked.count(f"{least}\n") == 3
    assert "fraud: false pages allowed in 30 days: 1 (data 0.9, absence 0.1); " in checked
    assert " per event of its data, at " in checked
    assert "rate: one false alarm in 10,000,000 events of its data; absence 0.1 in 30 days" in checked
    assert "any other of eu-*: false pages allowed in 30 days: 0.082 (data 0.074, absence 0.0082)" in checked
    assert "any other model: false pages allowed in 30 days: 1 (data 0.9, absence 0.1)" in checked


def test_check_and_calibrate_say_of_which_signals_the_rate_is_proven_and_where_it_may_not_hold(
    built: Run, tmp_path: Path
) -> None:
    text = "models: {fraud: {baseline: fraud.driftline, signals: {rules: {score: {guarantee: proven}}}}}"
    (tmp_path / "c.yaml").write_text(text)
    assert "; proven of score, if events are independent\n" in built("check", "c.yaml").out
    assert orjson.loads(built("check", "c.yaml", "--json").out)["promises"][0]["proven"] == "score"
    assert "; proven of score, if events are independent" in words(built("calibrate", "c.yaml").out)
    unordered = ("baseline", "build", "calm.jsonl", "--model", "fraud", "--unordered")
    assert built(*unordered).code == 0
    for command in ("check", "calibrate"):
        found = built(command, "c.yaml")
        assert "whether events of score depend on each other is not known" in words(found.out + found.err)


def test_priorities_are_shown_as_shares_of_the_false_pages_by_check_and_calibrate(built: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "models: {fraud: {baseline: fraud.driftline, signals: {rules: {score: {priority: high}}}}}"
    )
    text = words(built("check", "c.yaml").out)
    shown = re.findall(r"(\S+): priority (\S+), ([0-9.]+) % of the false pages of the data, alarms from", text)
    assert [(name, priority) for name, priority, _ in shown] == [
        ("score", "high"), ("features.amount", "normal"), ("features.country", "normal"),
    ]  # fmt: skip
    parts = [float(part) for *_, part in shown]
    assert parts[0] == pytest.approx(10 * parts[1], rel=0.05)
    by_check = orjson.loads(built("check", "c.yaml", "--json").out)["shares"]["fraud"]
    (found,) = orjson.loads(built("calibrate", "c.yaml", "--json").out)["models"]
    assert by_check == found["shares"]
    assert sum(each["share"] for each in by_check) == pytest.approx(1.0)
    assert f"score: priority high, {shown[0][2]} % of the false pages" in words(built("calibrate", "c.yaml").out)


def test_baseline_paths_are_relative_to_the_configuration_file(built: Run, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text("models: {fraud: {baseline: ../fraud.driftline}}")
    result = built("replay", "drift.jsonl", "-c", "etc/c.yaml")
    assert result.code == 1
    assert "is learned" not in result.err


def test_settings_without_effect_are_said_by_every_command_that_knows_the_signals(built: Run, tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("models: {fraud: {baseline: fraud.driftline, signals: {exclude: [amount]}}}")
    glob = "models.fraud.signals.exclude: `amount` matches no signal of model fraud"
    for command in ("replay calm.jsonl -c typo.yaml", "baseline build calm.jsonl --model fraud -c typo.yaml"):
        result = built(*command.split())
        assert result.code == 0
        assert f"warning: {glob}; did you mean `features.amount`?" in result.err
    checked = built("check", "typo.yaml")
    assert checked.code == 0
    assert f"warning: {glob}" in checked.out


def test_a_signal_left_out_of_a_baseline_is_no_typo_when_the_same_configuration_is_used(built: Run) -> None:
    Path("c.yaml").write_text("models: {fraud: {baseline: fraud.driftline, signals: {exclude: ['*.amount']}}}")
    assert built("baseline", "build", "calm.jsonl", "--model", "fraud", "-c", "c.yaml").code == 0
    assert "warning" not in built("replay", "calm.jsonl", "-c", "c.yaml").err


def test_globs_that_select_no_signal_are_said_where_a_baseline_would_be_learned(run: Run) -> None:
    Path("c.yaml").write_text("defaults: {learn_events: 700, signals: {include: [amount]}}")
    result = run("replay", "calm.jsonl", "-c", "c.yaml")
    assert "no baseline can be learned from its events: `signals` selects none of the signals" in result.err
    assert "defaults.signals.include: `amount` matches no signal of model fraud" in result.err


def test_check_finds_baseline_files_that_are_absent_damaged_or_of_another_model(built: Run, tmp_path: Path) -> None:
    def check(baseline: str, model: str = "fraud") -> CommandResult:
        (tmp_path / "c.yaml").write_text(f"models:\n  {model}:\n    baseline: {baseline}\n")
        return built("check", "c.yaml")

    (tmp_path / "damaged.driftline").write_bytes(b"PK")
    assert check("fraud.driftline").code == 0
    absent = check("none.driftline")
    assert absent.code == 0
    assert "warning: models.fraud.baseline: none.driftline: No such file or directory; `driftline" in absent.out
    assert "--> c.yaml:3:5" in absent.out
    damaged = check("damaged.driftline")
    assert damaged.code == 1
    assert "error: models.fraud.baseline: damaged.driftline: damaged baseline" in damaged.out
    assert "is the baseline of 'fraud', but `models.churn.baseline` names it" in check("fraud.driftline", "churn").out


def test_a_given_baseline_in_place_of_the_configured_one_is_said_and_two_are_refused(built: Run) -> None:
    Path("c.yaml").write_text("models: {fraud: {baseline: none.driftline}}")
    result = built("replay", "calm.jsonl", "-c", "c.yaml", "-b", "fraud.driftline")
    assert result.code == 0
    assert "warning: models.fraud.baseline is not used: another baseline of this model is given" in result.err
    assert built("baseline", "build", "calm.jsonl", "--model", "fraud", "--version", "2", "-o", "two").code == 0
    refused = built("replay", "calm.jsonl", "-b", "fraud.driftline", "-b", "two")
    assert refused.code == 2
    assert "two baselines of model 'fraud': fraud.driftline (no version) and two (version 2)" in refused.err


def test_help_and_version_are_0(run: Run) -> None:
    assert run("--version").out.strip() == "0.1.0"
    assert "replay" in run("--help").out


def test_no_help_text_breaks_a_line_within_a_sentence() -> None:
    """typer joins the lines of the first paragraph, and prints all others as they stand in the source."""
    waiting = [get_command(app)]
    for each in waiting:
        command = each.load() if isinstance(each, LateCommand) else each
        waiting += getattr(command, "commands", {}).values()
        _, *further = inspect.cleandoc(command.help or "").split("\n\n")
        assert [each for each in further if "\n" in each] == [], command.name
    assert len(waiting) > 20


def test_a_table_without_times_makes_a_baseline_with_unordered(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"{i / 7},{'de' if i % 3 else 'fr'}\n" for i in range(200))
    (tmp_path / "training.csv").write_text("amount,country\n" + rows)
    refused = run("baseline", "build", "training.csv", "--model", "m")
    assert refused.code == 2
    assert "--unordered" in refused.err
    built = run("baseline", "build", "training.csv", "--model", "m", "--unordered")
    assert built.code == 0
    assert "200 events, 0 rejected; 2 signals" in words(built.out)
    assert "until 15,000 live events have shown how they depend on each other, 20 count for one" in words(
        built.out + built.err
    )
    (tmp_path / "driftline.yaml").write_text("models: {m: {baseline: m.driftline}}")
    for command in (("check", "driftline.yaml"), ("doctor", "-c", "driftline.yaml")):
        found = run(*command)
        assert "its baseline has no order in time" in words(found.out + found.err)


def test_a_doubt_of_a_baseline_is_said_once_and_names_the_version(run: Run, tmp_path: Path) -> None:
    for version in ("4.2", "5.0"):
        build = ("baseline", "build", "calm.jsonl", "--model", "fraud", "--unordered", "-o", f"{version}.driftline")
        assert words(run(*build).out).count("no order in time is known") == 1
    (tmp_path / "d.yaml").write_text("models: {fraud: {baselines: {4.2: 4.2.driftline, 5.0: 5.0.driftline}}}")
    found = words(run("doctor", "-c", "d.yaml").out)
    assert [found.count(f"model fraud {each}: its baseline has no order in time") for each in ("4.2", "5.0")] == [1, 1]


def test_what_a_table_is_not_read_for_is_said(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"{i};{i % 7};{i % 100} %\n" for i in range(600))
    write(tmp_path / "t.csv", [f";amount;share\n{rows}".encode()])
    done = run("baseline", "build", "t.csv", "--model", "m", "--unordered")
    assert done.code == 0
    assert "column 1: is left out" in words(done.err)
    assert "share: 600 cells such as '0 %' are read as text" in words(done.err)


def test_a_decimal_comma_is_refused_until_the_configuration_says_what_it_is(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "t.csv", [b"amount;x\n", *(f"{i % 7},5;{i % 9}".encode() for i in range(600))])
    build = ("baseline", "build", "t.csv", "--model", "m", "--unordered")
    refused = run(*build)
    assert refused.code == 2
    assert "t.csv: line 3: column 'amount': '0,5' looks like a number with a decimal comma" in words(refused.err)
    (tmp_path / "driftline.yaml").write_text("files: {decimal: ','}")
    assert "2 signals (2 numeric" in words(run(*build, "-c", "driftline.yaml").out)


def test_a_new_field_is_named_also_when_nothing_drifts(built: Run, tmp_path: Path) -> None:
    rows = [orjson.loads(message) for message in CALM]
    for row in rows[1000:]:
        row["features"]["[b]device"] = "ios"
    for row in rows:
        row["features"]["vector"] = [1, 2]
    write(tmp_path / "new.jsonl", list(map(orjson.dumps, rows)))
    result = built("replay", "new.jsonl", "-b", "fraud.driftline")
    assert result.code == 0
    for part in (
        "watched 3 signals of 1 model, judged 2,000 of 2,000 events not watched: "
        "fraud features.[b]device: new since the baseline; build a baseline that knows it. In ",
        "fraud features.vector: an array; only single values are watched",
    ):
        assert part in words(result.out)


def test_many_unwatched_fields_are_printed_in_short_and_are_all_in_json(built: Run, tmp_path: Path) -> None:
    rows = [orjson.loads(message) for message in CALM]
    for row in rows:
        row["features"] |= {f"extra_{i}": i for i in range(30)}
    write(tmp_path / "wide.jsonl", list(map(orjson.dumps, rows)))
    assert "and 20 more; --json has all" in built("replay", "wide.jsonl", "-b", "fraud.driftline").out
    document = orjson.loads(built("replay", "wide.jsonl", "-b", "fraud.driftline", "--json").out)
    assert [each["field"] for each in document["unwatched"]] == sorted(f"features.extra_{i}" for i in range(30))
    assert {each["why"] for each in document["unwatched"]} == {"new"}


def test_json_is_one_document_and_nothing_else(built: Run, tmp_path: Path) -> None:
    write(tmp_path / "bad.jsonl", [*DRIFT, b"{"])
    found = built("replay", "bad.jsonl", "-b", "fraud.driftline", "--json", "--alerts", "a.jsonl")
    document = orjson.loads(found.out)
    assert (found.code, document["verdict"], document["shortfalls"]) == (1, "drift", [])
    assert document["events"] == {
        "read": 3001, "rejected": 1, "judged": 3000, "not_due": 0, "learned_from": 0, "too_few": 0, "dropped": 0,
    }  # fmt: skip
    assert [(each["reason"], each["count"]) for each in document["rejected"]] == [("not JSON", 1)]
    assert document["models"]["fraud"]["watched"] == ["features.amount", "score", "features.country"]
    ((incident,), (alert,)) = document["incidents"], lines(tmp_path / "a.jsonl")
    assert (incident["state"], incident["incident_id"]) == ("open", alert["data"]["incident_id"])
    calm = built("replay", "calm.jsonl", "-b", "fraud.driftline", "--json")
    assert (calm.code, orjson.loads(calm.out)["verdict"]) == (0, "no-drift")
    few = built("replay", "calm.jsonl", "--json")
    document = orjson.loads(few.out)
    assert (few.code, document["verdict"], document["events"]["too_few"]) == (2, "too-little", 2000)
    assert "too few to learn a baseline from" in document["shortfalls"][0]


def test_a_build_from_mostly_rejected_messages_writes_nothing(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "bad.jsonl", [*CALM, *[b"{"] * 50])
    refused = run("baseline", "build", "bad.jsonl", "--model", "fraud")
    assert refused.code == 2
    assert "50 of 2,050 messages (2.4 %) were rejected, and at most 1 % may be (--max-rejected)" in words(refused.err)
    assert not (tmp_path / "fraud.driftline").exists()
    assert run("baseline", "build", "bad.jsonl", "--model", "fraud", "--max-rejected", "5%").code == 0


def test_a_build_names_the_columns_that_get_no_signal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("defaults: {signals: {exclude: ['features.coun*']}}")
    rows = [orjson.loads(message) for message in CALM]
    for number, row in enumerate(rows):
        row["features"] |= {"empty": None, "request": f"r{number}", "vector": [1]}
    write(tmp_path / "wide.jsonl", list(map(orjson.dumps, rows)))
    printed = words(run("baseline", "build", "wide.jsonl", "--model", "fraud", "-c", "c.yaml").out)
    for part in (
        "fraud features.country: excluded by signals.exclude: features.coun*",
        "fraud features.empty: null in all 2,000 events of the baseline",
        "fraud features.request: looks like an identifier",
        "fraud features.vector: an array; only single values are watched",
    ):
        assert part in printed
    document = orjson.loads(run("baseline", "build", "wide.jsonl", "--model", "fraud", "-c", "c.yaml", "--json").out)
    assert document["unwatched"]["features.empty"] == "null"
    assert (document["file"], document["rejected_by_reason"]) == ("fraud.driftline", [])
    shown = orjson.loads(run("baseline", "show", "fraud.driftline", "--json").out)
    assert (shown["rows"], shown["unwatched"]) == (2000, document["unwatched"])
    kept = run(
        "baseline", "build", "wide.jsonl", "--model", "fraud", "--kind", "features.request=categorical", "--json"
    )
    assert "features.request" not in orjson.loads(kept.out)["unwatched"]


def test_a_baseline_that_is_too_small_to_see_a_shift_of_one_sigma_is_warned_about(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "tiny.jsonl", CALM[:20])
    built = run("baseline", "build", "tiny.jsonl", "--model", "fraud")
    assert built.code == 0
    assert "a baseline of so few events (20) cannot show a shift of 1 σ, however long it lasts" in words(built.err)
    assert "warning" not in run("baseline", "build", "calm.jsonl", "--model", "fraud").err


@pytest.mark.parametrize("option", ["--from", "--to-topic"])
def test_a_replay_of_panes_begins_where_the_topic_does(run: Run, option: str) -> None:
    refused = run("replay", "kafka://driftline.panes", "--from-panes", option, "offset:3")
    assert refused.code == 2
    assert "neither --to-topic nor --from" in refused.words


def test_a_replay_says_that_a_given_baseline_is_too_small(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "few.jsonl", messages("fraud", 20))
    assert run("baseline", "build", "few.jsonl", "--model", "fraud").code == 0
    replayed = run("replay", "calm.jsonl", "-c", "c.yaml", "-b", "fraud.driftline")
    assert "model fraud: a baseline of so few events (20) cannot show a shift of 1 σ" in words(replayed.err)


def test_a_command_whose_standard_error_is_closed_does_its_work() -> None:
    command = "import driftline.stream.cli.main as cli; cli.main()"
    line = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", command, "--version"]
    done = subprocess.run(line, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout.strip()) == (0, b"0.1.0")


def test_a_process_that_a_native_library_ends_says_where_it_was() -> None:
    crash = (
        "import os, sys, driftline.stream.cli.main as cli; sys.argv = ['driftline', '--version']\n"
        "try: cli.main()\n"
        "finally: os.kill(os.getpid(), 11)\n"
    )
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True)
    assert done.returncode == -11
    assert 'File "<string>", line 3' in done.stderr
