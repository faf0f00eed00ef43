"""The import contracts refuse what they are there to refuse: tried on copies of the project."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# Packages from this layer down are pure; those above it are the edge.
LAST_PURE_LAYER = "replay | paging | schemas"
Checker = Callable[[], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code and rules in another folder, links and all."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("driftline", "detectors", "stream"):
        shutil.copytree(ROOT / package, folder / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def check(folder: Path, tool: str, *arguments: str) -> str:
    """What a tool prints in a folder, after its exit code. The folder's `driftline` is what it sees."""
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def added(copy: Path) -> Iterator[Callable[[str, str], None]]:
    """Adds a module to the copy, or a line to one that is there, and takes it back after the test."""
    before: dict[Path, str | None] = {}

    def add(name: str, text: str) -> None:
        file = copy / name
        before[file] = file.read_text() if file.exists() else None
        file.parent.mkdir(exist_ok=True)
        file.write_text((before[file] or "") + text)

    yield add
    for file, text in before.items():
        if text is not None:
            file.write_text(text)
        else:
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("stream/events/upwards.py", "import driftline.stream.judge.judge\n", "one direction through stream/ BROKEN"),
        ("stream/relay/sideways.py", "import driftline.stream.worker.worker\n", "one direction through stream/ BROKEN"),
        ("stream/judge/clock.py", "import time\n", "no I/O library, no clock, no chance BROKEN"),
        ("stream/paging/sockets.py", "import aiohttp\n", "no I/O library, no clock, no chance BROKEN"),
        (
            "detectors/statistics/upwards.py",
            "import driftline.detectors.decision\n",
            "inside detectors/ BROKEN",
        ),
        ("detectors/summaries/files.py", "import pathlib\n", "detectors/ is numeric code"),
        ("detectors/online/stream.py", "import driftline.stream.events.event\n", "detectors/ is numeric code"),
        ("stream/attic/__init__.py", "", "attic"),
        ("detectors/cellar.py", "", "cellar"),
    ],
)
def test_a_module_in_the_wrong_room_is_refused(
    copy: Path, added: Callable[[str, str], None], module: str, text: str, broken: str
) -> None:
    added(module, text)
    told = check(copy, "lint-imports", "--no-cache", "--no-logo")
    assert told.startswith("1\n"), told
    assert broken in " ".join(told.split()), told


def test_the_project_itself_keeps_the_contracts(copy: Path) -> None:
    assert check(copy, "lint-imports", "--no-cache", "--no-logo").startswith("0\n")


@pytest.mark.parametrize("line", ["import stream.events.event\n", "from detectors.online import adwin\n"])
def test_a_second_way_of_importing_is_refused(copy: Path, added: Callable[[str, str], None], line: str) -> None:
    added("stream/events/second_way.py", line)
    assert "TID251" in check(copy, "ruff", "check", "--no-cache", "stream/events/second_way.py")


def test_every_package_is_placed_as_pure_or_as_edge() -> None:
    layers = CONTRACTS["layers"]["layers"]
    pure = {
        f"driftline.stream.{name.strip()}"
        for layer in layers[layers.index(LAST_PURE_LAYER) :]
        for name in layer.replace(":", "|").split("|")
    }
    assert set(CONTRACTS["pure"]["source_modules"]) == pure
    assert all(contract["exhaustive"] for contract in CONTRACTS.values() if contract["type"] == "layers")


def test_no_contract_names_a_module() -> None:
    """A list of modules is out of date with the next one; folders are the rule."""
    for contract in CONTRACTS.values():
        names = [*contract.get("source_modules", []), *contract.get("forbidden_modules", [])]
        own = [name.split(".") for name in names if name.startswith("driftline.")]
        assert all((ROOT.joinpath(*parts[1:])).is_dir() for parts in own)


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("file", sorted((ROOT / "detectors").rglob("*.py")), ids=lambda file: file.stem)
def test_detectors_import_numpy_and_the_standard_library_alone(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imported(file) if not name.startswith("driftline.detectors")}
    assert tops <= {*sys.stdlib_module_names, "numpy"}
