"""docs/START.md, the half with Kafka: its commands as they stand, on a broker and a Redis at other addresses."""

from __future__ import annotations

import gzip
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from driftline.stream.demo.servers import Server
from load_tests.harness.oracle import messages
from tests.harness.brokers import Broker
from tests.harness.command_line import Run, console_script

PAGE = (Path(__file__).parents[2] / "docs" / "START.md").read_text().partition("## Ten minutes with Kafka")[2]
COMMANDS = [
    line.partition("   #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
# Exit codes of those that end. doctor warns of a single replica, replay has too few events for an all-clear.
CODES = {
    "inspect": {0}, "check": {0}, "topics": {0}, "doctor": {0, 1}, "replay": {2}, "baseline": {0}, "calibrate": {0},
}  # fmt: skip
# What those that run until stopped log, once they have begun.
LOGS = {"worker": "health and metrics on", "serve": "pages on", "relay": "health and metrics on"}
_PATIENCE = 90.0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return console_script(monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_each_command_of_the_ten_minutes_does_what_it_should(broker: Broker, redis_server: Server, run: Run) -> None:
    [settings] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    own = settings.replace('"localhost:9092"', f'"{broker.server.address}", idempotent: false')
    Path("driftline.yaml").write_text(own.replace("localhost:6379", redis_server.address))
    Path("training.jsonl.gz").write_bytes(gzip.compress(b"\n".join(messages("fraud", 2000, step=1000))))
    assert run("topics", "create", "predictions", "-c", "driftline.yaml").code == 0
    assert run("produce", "training.jsonl.gz", "--topic", "predictions", "-c", "driftline.yaml").code == 0
    assert {shlex.split(each)[1] for each in COMMANDS} == {*CODES, *LOGS}

    for command in COMMANDS:
        program, name, *arguments = shlex.split(command)
        assert program == "driftline"
        if name in LOGS:
            begin_and_stop([name, *arguments], LOGS[name])
            continue
        if name == "calibrate":  # "once it stands under `models`"
            with Path("mapped.yaml").open("a") as mapped:
                mapped.write("\nmodels: {fraud: {baseline: fraud.driftline}}\n")
        found = run(name, *arguments)
        assert found.code in CODES[name], (command, found)


def begin_and_stop(arguments: list[str], says: str) -> None:
    """Run a process until it has logged that it serves, and stop it as a service manager does."""
    log = Path(f"{arguments[0]}.log")
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "driftline", *arguments], stdout=file, stderr=file)
    try:
        until = time.monotonic() + _PATIENCE
        while says not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(_PATIENCE) == 0, log.read_text()


def test_the_first_answer_takes_two_commands_and_a_hundred_words_of_the_readme() -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text()
    before, scan, _ = page.partition("driftline scan june.csv")
    assert scan
    assert len(before.split()) <= 100
    assert re.findall(r"^(?:pip|make|driftline) .*", before, re.MULTILINE) == [
        "pip install .            # into an environment of your own; '.[parquet]' reads Parquet, '.[plot]' draws"
    ]
