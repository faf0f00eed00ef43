"""Habits of all commands: --json and --quiet wherever a command ends, nothing but text in a pipe, and no jargon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from driftline.stream.cli.commands import COMMANDS, UNTIL_STOPPED, LateCommand
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.client import client_options
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import messages
from tests.harness.brokers import Broker
from tests.harness.command_line import Run

FRAMES = set("│─╭╮╰╯━┃╺╸\x1b\r")


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its words."""
    for name, (module, says) in COMMANDS.items():
        command = LateCommand(name, module, says).load()
        own = getattr(command, "commands", {})
        if not own or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {each}", below) for each, below in own.items())


LEAVES = dict(leaves())


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_command_that_ends_has_json_and_quiet(name: str) -> None:
    options = {option for each in LEAVES[name].params for option in each.opts}
    assert ({"--json", "--quiet"} <= options) == (name not in UNTIL_STOPPED)


@pytest.mark.parametrize("name", ["", *sorted(LEAVES)])
def test_help_and_errors_in_a_pipe_have_no_frames(name: str, run: Run) -> None:
    said, mistaken = run(*name.split(), "--help"), run(*name.split(), "--no-such-option")
    assert (said.code, mistaken.code) == (0, 2)
    assert "Usage: " in said.out
    assert "--no-such-option" in mistaken.err
    assert FRAMES.isdisjoint(said.out + mistaken.err)


@pytest.mark.parametrize("name", ["no-such-command", *sorted(LEAVES)])
def test_a_mistake_on_the_command_line_is_json_for_who_asked_for_it(name: str, run: Run) -> None:
    mistaken = run(*name.split(), "--json", "--no-such-option")
    assert mistaken.code == 2
    [document] = parsed(mistaken.out)
    assert document.keys() == {"error"}
    assert document["error"] in " ".join(mistaken.err.split())


# What each command gets; {c} is the option of the configuration. Not here: `demo`, which takes minutes.
ARGUMENTS = {
    "topics create": "{c}",
    "topics show": "{c}",
    "check": "driftline.yaml",
    "inspect": "live.jsonl",
    "produce": "live.jsonl --topic {topic} {c}",
    "baseline build": "past.jsonl --model fraud -o fraud.driftline",
    "baseline show": "fraud.driftline",
    "baseline accept": "3f9a21c47be0d512 {c}",
    "calibrate": "fraud.driftline",
    "scan": "live.jsonl --reference past.jsonl",
    "performance": "live.jsonl --label features.country",
    "replay": "live.jsonl --baseline fraud.driftline",
    "schema": "asyncapi {c}",
    "doctor": "{c}",
    "incidents": "{c}",
    "explain": "3f9a21c47be0d512 {c}",
    "feedback": "3f9a21c47be0d512 --real {c}",
    "models": "{c}",
    "models forget": "nobody {c}",
    "silence add": "--match model=fraud --comment backfill --for 2h {c}",
    "silence list": "{c}",
    "silence end": "nobody {c}",
    "resume": "{c}",
    "upgrade": "{c}",
    "upgrade finish": "{c}",
    "top": "{c}",
}
# "offset" is a word of Kafka's, which only `resume` needs: it says where workers go on in a log.
JARGON = ("nats", "PSI", "Jensen", "Kolmogorov", "Wasserstein")


def test_every_command_is_run_below() -> None:
    assert {*ARGUMENTS, "demo", *UNTIL_STOPPED} == LEAVES.keys()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_what_is_printed_is_json_or_plain_text(
    broker: Broker, redis_server: Server, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    here = deploy(tmp_path, broker, redis_server.address, {"panes": {"events": 50}})
    write_logs(here)
    words = {"c": f"-c {here.path.name}", "topic": here.config.topics.predictions}
    for name, text in ARGUMENTS.items():
        arguments = (*name.split(), *text.format(**words).split())

        plain = run(*arguments)
        assert FRAMES.isdisjoint(plain.out + plain.err), name
        assert not [line for line in plain.out.splitlines() if line != line.rstrip()], name
        # The schemas describe the fields of JSON.
        assert name == "schema" or not [each for each in JARGON if each in plain.out + plain.err], name

        found = run(*arguments, "--json", "--quiet")
        documents = parsed(found.out)
        assert documents or (found.out, found.code) == ("", 0), (name, found)
        assert ("error" in documents[0] if documents else False) == (found.code == 2 and "error:" in found.err), name


def test_the_evidence_is_shown_to_who_asks_for_it(run: Run, tmp_path: Path) -> None:
    write_files(tmp_path)
    assert run("baseline", "build", "past.jsonl", "--model", "fraud", "-o", "b").code == 0
    arguments = ("replay", "live.jsonl", "--baseline", "b")
    plain, verbose = run(*arguments), run(*arguments, "--verbose")
    assert plain.code == verbose.code == 1
    assert "nats" not in plain.out
    assert "nats; PSI" in verbose.out


def write_files(folder: Path) -> list[bytes]:
    """past.jsonl, and live.jsonl, in which one feature drifts; returns the messages of the latter."""
    live = messages("fraud", 1000, 1500, drift=(1700, 2500), step=1000)
    (folder / "past.jsonl").write_bytes(b"\n".join(messages("fraud", 1500, step=1000)))
    (folder / "live.jsonl").write_bytes(b"\n".join(live))
    return live


def write_logs(here: Deployment) -> None:
    """The files, and the first events on the topic."""
    live = write_files(here.path.parent)
    producer = KafkaProducer(**client_options(here.broker.kafka))
    for value in live[:100]:
        producer.send(here.config.topics.predictions, value)
    producer.close()


def parsed(text: str) -> list[Any]:
    """One document, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]
