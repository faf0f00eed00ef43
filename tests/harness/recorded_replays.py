"""The two replays that are recorded, as the command line makes them: of the demo's traffic, and of the shared data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.scenario import BLOCK, FAULTS, HISTORY, MODEL, RATE, Phase, Scenario, messages
from driftline.stream.events.parse import parse_event
from tests.harness.recorded_site import DRIFTLINE, RECORDINGS, SEVERITY

DEMO_BASELINE = "demo.driftline"
_SEED, _START_MS = 7, 1_767_225_600_000
# ms: of a block of the scenario, and between two events of its past.
_BLOCK_MS, _PAST_STEP_MS = 50, 30_000
# Of the scenario, without the last fault, which is younger than the recording.
_BLOCKS = 1080
# s of healthy traffic before the first fault, and between two, at the recording.
_BEFORE, _BETWEEN = 5.0, 4.0
# No command replays at another level than the newest.
_AT_LEVEL_2 = """
from driftline.stream.codec import levels
levels.NEWEST = 2
from driftline.stream.cli.main import main
main()
"""
# As `driftline demo` has it.
_DEMO = f"""\
defaults:
  false_alarms_per_event: 1e-8
  clock: 1000
  incidents:
    recovery: 1s
    cooldown: 0s
    severity: {json.dumps(SEVERITY)}
models:
  {MODEL}:
    baseline: {DEMO_BASELINE}
"""


def build_demo_baseline() -> bytes:
    """The file of the baseline of the demo's past."""
    first = _START_MS - HISTORY * _PAST_STEP_MS
    times = [first + i * _PAST_STEP_MS for i in range(HISTORY)]
    history = messages(Scenario(_SEED).history(), [f"past-{i}" for i in range(HISTORY)], times)
    about = {"model": MODEL, "version": "1", "source": ["history.jsonl"], "created_by": "driftline demo"}
    events = [parse_event(message) for message in history]
    return encode_baseline(build_baseline(events, about, BuildSettings(format_version=1)))


def replay_demo(folder: Path) -> list[bytes]:
    """The alerts of the demo's whole traffic against the recorded baseline, line by line."""
    events, config = folder / "demo.jsonl", folder / "driftline.yaml"
    events.write_bytes(b"".join(line + b"\n" for line in _demo_events()))
    config.write_text(_DEMO)
    (folder / DEMO_BASELINE).write_bytes((RECORDINGS / DEMO_BASELINE).read_bytes())
    return _replay(folder, str(events), "-c", str(config))


class _RecordedScenario(Scenario):
    """The scenario with the pauses that it had when it was recorded, so that the faults begin when they did."""

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        faults = [None, *(fault for each in FAULTS[:4] for fault in (each, None))]
        seconds = [_BEFORE, *(each for fault in FAULTS[:4] for each in (fault.seconds, _BETWEEN))]
        bounds = pairwise(accumulate((round(each * RATE) for each in seconds), initial=0))
        return tuple(Phase(fault, *bound) for fault, bound in zip(faults, bounds, strict=True))


def _demo_events() -> Iterator[bytes]:
    scenario = _RecordedScenario(_SEED)
    for number in range(_BLOCKS):
        names = [f"e-{number * BLOCK + i}" for i in range(BLOCK)]
        yield from messages(scenario.block(number), names, [_START_MS + number * _BLOCK_MS] * BLOCK)


def replay_electricity(data: Path, folder: Path) -> list[bytes]:
    """The alerts of the Electricity stream against a baseline of its first events, line by line."""
    baseline, train = folder / "electricity.driftline", data / "electricity_baseline.jsonl.gz"
    build = ("baseline", "build", str(train), "--model", "electricity", "--format", "1", "-o", str(baseline))
    assert _driftline(*build) == 0
    return _replay(folder, str(data / "electricity_live.jsonl.gz"), "--baseline", str(baseline))


def _replay(folder: Path, *arguments: str) -> list[bytes]:
    """The alerts of a replay as a group at the recording's format level decides them."""
    alerts = folder / "alerts.jsonl"
    command = [sys.executable, "-c", _AT_LEVEL_2, "replay", *arguments, "--alerts", str(alerts)]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]).returncode == 1
    return alerts.read_bytes().splitlines()


def _driftline(*arguments: str) -> int:
    """The exit code of a command."""
    return subprocess.run([*DRIFTLINE, *arguments], stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]).returncode
