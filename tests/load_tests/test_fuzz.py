"""The fuzzer notices what it is made to notice, and every target passes its own valid inputs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from load_tests.fuzz.__main__ import all_targets
from load_tests.fuzz.run import Fuzzer, fuzz
from load_tests.fuzz.target import Target, WrongError

ROOT = Path(__file__).parents[2]
kept: list[bytes] = []


def inputs(number: int) -> float:
    """The share of the work that `number` inputs are."""
    return number / 3000


def write(rng: random.Random) -> bytes:
    return b"number " + str(rng.randrange(100)).encode()


def parse(data: bytes) -> int:
    word, _, number = data.decode().partition(" ")
    if word != "number":
        raise ValueError(word)
    return int(number)


def target(also: Callable[[bytes], object] = bytes, refusals: tuple[type[Exception], ...] = (ValueError,)) -> Target:
    """A parser of numbers, and what else it does with each input."""

    def read(data: bytes) -> None:
        also(data)
        parse(data)

    return Target("numbers", write, read, refusals, seconds=0.5, growth=50.0)


def test_a_parser_that_raises_only_its_own_error_passes(tmp_path: Path) -> None:
    outcome = fuzz(target(), 1, inputs, tmp_path)
    assert outcome.faults == []
    assert outcome.accepted > 100
    assert outcome.refused > 100
    assert list(tmp_path.iterdir()) == []


def test_another_error_is_reported_once_with_its_place_and_the_input_that_repeats_it(tmp_path: Path) -> None:
    def index(data: bytes) -> None:
        _ = data[10_000] if data.startswith(b"m") else None

    found = fuzz(target(index), 1, inputs, tmp_path).faults
    ((what, path),) = found
    assert "tests/load_tests" not in what
    assert "IndexError: index out of range" in what
    with pytest.raises(IndexError):
        index(Path(path).read_bytes())


def test_a_value_that_differs_from_the_naive_reading_is_reported(tmp_path: Path) -> None:
    def compare(data: bytes) -> None:
        if data.endswith(b"7"):
            raise WrongError("7 is not 8")

    ((what, _),) = fuzz(target(compare), 1, inputs, tmp_path).faults
    assert what.endswith("WrongError: 7 is not 8")


def test_a_valid_input_that_is_refused_is_reported(tmp_path: Path) -> None:
    def refuse(data: bytes) -> None:
        if data == b"number 7":
            raise ValueError("not 7")

    ((what, path),) = fuzz(target(refuse), 1, inputs, tmp_path).faults
    assert what == "a valid input is refused: not 7"
    assert Path(path).read_bytes() == b"number 7"


def test_an_input_that_takes_too_long_ends_its_process_and_is_saved(tmp_path: Path) -> None:
    def wait(data: bytes) -> None:
        time.sleep(60 if data.endswith(b"\x00") else 0)

    ((what, path),) = fuzz(target(wait), 1, inputs, tmp_path).faults
    assert what == "an input took more than 0.5 s"
    assert Path(path).read_bytes().endswith(b"\x00")


def test_an_input_that_ends_the_process_is_saved(tmp_path: Path) -> None:
    def crash(data: bytes) -> None:
        if data.endswith(b"\x00"):
            os.kill(os.getpid(), signal.SIGKILL)

    ((what, path),) = fuzz(target(crash), 1, inputs, tmp_path).faults
    assert what == "an input ended the process, exit code -9"
    assert Path(path).read_bytes().endswith(b"\x00")


def test_an_input_that_takes_all_memory_is_saved_and_takes_none_from_others(tmp_path: Path) -> None:
    def allocate(data: bytes) -> None:
        if data.endswith(b"\x00"):
            bytearray(1 << 40)

    ((what, path),) = fuzz(target(allocate), 1, inputs, tmp_path).faults
    assert "MemoryError" in what
    assert Path(path).read_bytes().endswith(b"\x00")


def test_memory_that_grows_is_reported(tmp_path: Path) -> None:
    def keep(_: bytes) -> None:
        kept.append(b"x" * 150_000)  # more than a system reclaims of the forked process meanwhile

    assert any(what.startswith("memory grew by ") for what, _ in fuzz(target(keep), 1, inputs, tmp_path).faults)


def test_the_same_seed_writes_the_same_inputs(tmp_path: Path) -> None:
    def written(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        Fuzzer(target(seen.append), seed, tmp_path).run(lambda n: n / 200)
        return seen

    assert written(1) == written(1) != written(2)


@pytest.mark.parametrize("name", all_targets())
def test_a_target_accepts_its_valid_inputs_and_refuses_others_with_its_own_error(name: str, tmp_path: Path) -> None:
    outcome = fuzz(all_targets()[name], 3, lambda n: n / 60, tmp_path)
    assert outcome.faults == []


def test_a_run_prints_a_table_and_a_saved_input_can_be_read_again(tmp_path: Path) -> None:
    fuzzer = [sys.executable, "-m", "load_tests.fuzz", "--targets", "argu*"]
    shown = subprocess.run([*fuzzer, "--seconds", "0.5"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "argument " in shown
    assert "inputs for 1 targets" in shown
    (tmp_path / "saved").write_text("5m")
    again = subprocess.run(
        [*fuzzer, "--input", str(tmp_path / "saved")], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert again.stdout.startswith("argument: accepted")


def test_a_name_without_a_target_lists_those_there_are() -> None:
    command = [sys.executable, "-m", "load_tests.fuzz", "--targets", "nothing"]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert refused.returncode == 2
    assert "there are: message-native" in refused.stderr
