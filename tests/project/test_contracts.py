"""The import contracts refuse what they are there to refuse: tried on a copy of the project."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# Packages from this layer down are pure; those above it are the edge.
LAST_PURE_LAYER = "checks"

# Modules that break a contract: its id, the file, what that holds, and what import-linter says under that contract.
# All are planted together, since each run of import-linter reads the whole project.
_UNPLACED = "The following modules are not listed as layers:"
FAULTS = [
    (
        "layers",
        "stream/events/upwards.py",
        "import driftline.stream.judge.judge\n",
        "driftline.stream.events.upwards -> driftline.stream.judge.judge",
    ),
    (
        "layers",
        "stream/relay/sideways.py",
        "import driftline.stream.worker.worker\n",
        "driftline.stream.relay.sideways -> driftline.stream.worker.worker",
    ),
    ("layers", "stream/attic/__init__.py", "", f"{_UNPLACED} - driftline.stream.attic"),
    ("pure", "stream/judge/seconds.py", "import time\n", "driftline.stream.judge.seconds -> time"),
    ("pure", "stream/paging/sockets.py", "import aiohttp\n", "driftline.stream.paging.sockets -> aiohttp"),
    (
        "core",
        "detectors/statistics/upwards.py",
        "import driftline.detectors.decision\n",
        "driftline.detectors.statistics.upwards -> driftline.detectors.decision",
    ),
    ("core", "detectors/cellar.py", "", f"{_UNPLACED} - driftline.detectors.cellar"),
    ("detectors", "detectors/summaries/files.py", "import pathlib\n", "driftline.detectors.summaries.files -> pathlib"),
    (
        "detectors",
        "detectors/online/stream.py",
        "import driftline.stream.events.event\n",
        "driftline.detectors.online.stream -> driftline.stream.events.event",
    ),
    ("cycles", "stream/events/circle.py", "import driftline.stream.judge.judge\n", "- .events -> .judge (2 imports)"),
]


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


@pytest.fixture(scope="module")
def broken(copy: Path) -> dict[str, str]:
    """What import-linter says of each broken contract, by its id, while all faults lie in the copy."""
    assert not [module for _, module, *_ in FAULTS if (copy / module).exists()]  # they are deleted afterwards
    for _, module, text, _ in FAULTS:
        (copy / module).parent.mkdir(exist_ok=True)
        (copy / module).write_text(text)
    said = check(copy, "lint-imports", "--no-cache", "--no-logo")
    for _, module, *_ in FAULTS:
        (copy / module).unlink()
    (copy / "stream" / "attic").rmdir()
    assert said.startswith("1\n"), said
    _, _, details = said.partition("Broken contracts")
    titles = {each["name"]: id_ for id_, each in CONTRACTS.items()}
    parts = re.split(rf"^({'|'.join(map(re.escape, titles))})$", details, flags=re.MULTILINE)[1:]
    return {titles[name]: " ".join(part.split()) for name, part in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize(("contract", "module", "expected"), [(each[0], each[1], each[3]) for each in FAULTS])
def test_a_module_in_the_wrong_package_breaks_its_contract(
    broken: dict[str, str], contract: str, module: str, expected: str
) -> None:
    assert expected in broken[contract], f"{module} is not refused"


def test_the_project_itself_keeps_the_contracts(copy: Path) -> None:
    assert check(copy, "lint-imports", "--no-cache", "--no-logo").startswith("0\n")


@pytest.mark.parametrize("folder", ["stream/events", "detectors", "tests", "load_tests", ".ci"])
@pytest.mark.parametrize("line", ["import stream.events.event\n", "from detectors.online import adwin\n"])
def test_a_second_way_of_importing_is_refused(folder: str, line: str) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache"]
    command = [*ruff, "--stdin-filename", f"{folder}/second_way.py", "-"]
    assert "TID251" in subprocess.run(command, cwd=ROOT, input=line, capture_output=True, text=True).stdout


def test_no_example_imports_a_second_way() -> None:
    """Linters do not read the code in docstrings and documents."""
    folders = ("stream", "detectors", "examples", "tests", "load_tests", ".ci", "docs", "deploy")
    files = [file for folder in folders for end in ("py", "md") for file in (ROOT / folder).rglob(f"*.{end}")]
    second_way = re.compile(r"^\s*(?:>>>|\.\.\.)?\s*(?:from|import) (?:stream|detectors)\b", re.MULTILINE)
    assert [str(file) for file in [ROOT / "README.md", *files] if second_way.search(file.read_text())] == []


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
