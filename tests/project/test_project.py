"""What holds for the project as a whole: imports, packaging, the commands a newcomer types."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Import names that differ from the names of what is installed.
DISTRIBUTIONS = {
    "backports": "backports-zstd",
    "compression": "backports-zstd",  # what Python 3.14 has of it
    "faust": "faust-streaming",
    "kafka": "kafka-python",
    "mode": "mode-streaming",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic",
    "recurring_ical_events": "recurring-ical-events",
    "yaml": "pyyaml",
}


def distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[._-]+", "-", name[0].lower())


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_what_the_packages_import_is_declared_and_not_only_for_developers() -> None:
    lines = [line for line in requires("driftline") or [] if 'extra == "dev"' not in line]
    imports = {
        name
        for package in ("detectors", "stream")
        for file in (ROOT / package).rglob("*.py")
        for name in imported(file)
    }
    third_party = imports - {*sys.stdlib_module_names, "driftline"}
    assert {DISTRIBUTIONS.get(name, name) for name in third_party} <= set(map(distribution, lines))


LOCKS = {path.stem: path.read_text() for path in ROOT.glob("requirements*.lock")}


def locked(lock: str) -> set[str]:
    """The lines that pin a package, as in "numpy==2.0 ; python_full_version >= '3.12'"."""
    return {line.removesuffix(" \\") for line in LOCKS[lock].splitlines() if "==" in line.partition(" ")[0]}


def test_the_locks_pin_every_requirement_with_hashes_and_name_no_address() -> None:
    everything = {distribution(each) for each in requires("driftline") or []}
    needed = {distribution(each) for each in PROJECT["project"]["dependencies"]}
    assert everything <= set(map(distribution, locked("requirements")))
    assert needed <= set(map(distribution, locked("requirements-run")))
    for lock in LOCKS.values():
        packages = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)[1:]
        assert all(re.fullmatch(r"(\S+==.*? \\\n)(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", each) for each in packages)
        assert not re.search(r"https?:|--index|--find-links| @ ", lock)


def test_the_image_and_the_builder_have_the_versions_that_the_tests_have() -> None:
    """Markers aside: they say for which Pythons a version is, and each lock says it in its own way."""
    versions = {each.partition(" ")[0] for each in locked("requirements")}
    for lock in ("requirements-run", "requirements-build"):
        assert {each.partition(" ")[0] for each in locked(lock)} <= versions


def test_the_page_on_an_index_has_no_link_that_leads_nowhere_there() -> None:
    """The files beside README.md are not on it."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata", "readme"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page, source = built.stdout, (ROOT / "README.md").read_text("utf-8")
    assert [each for each in re.findall(r"\]\(([^)]*)\)", page) if not each.startswith("https://")] == []
    assert re.findall(r"^#.*$", page, re.MULTILINE) == re.findall(r"^#.*$", source, re.MULTILINE)
    assert re.findall(r"```.*?```", page, re.DOTALL) == re.findall(r"```.*?```", source, re.DOTALL)
    assert not re.search(r"!\[|\(how|\(which|\(\)(?!`)", re.sub(r"```.*?```|`.*?`", "", page, flags=re.DOTALL))


def test_the_image_has_no_tools_of_developers() -> None:
    tools = {"hatchling", "mypy", "pytest", "ruff", "scipy", "uv"}
    assert tools <= set(map(distribution, locked("requirements")))
    assert not tools & set(map(distribution, locked("requirements-run")))


def dangerous(tree: ast.AST) -> Iterator[str]:
    """What could run foreign bytes: modules that unpickle, functions that evaluate, shells, YAML with tags."""
    modules, functions = {"dill", "marshal", "pickle", "shelve"}, {"eval", "exec", "system", "popen", "unsafe_load"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from (name for name in names if name.partition(".")[0] in modules)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            keywords = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if (name in functions and owner in ("", "os", "yaml")) or keywords.get("shell") == "True":
                yield ast.unparse(node)
            if keywords.get("allow_pickle") == "True" or (owner == "yaml" and name == "load"):
                yield ast.unparse(node)


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    found = {
        f"{file.relative_to(ROOT)}: {what}"
        for package in ("detectors", "stream")
        for file in (ROOT / package).rglob("*.py")
        for what in dangerous(ast.parse(file.read_text()))
    }
    assert found == set()
    for source in (
        "import pickle",
        "eval('1')",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "run('x', shell=True)",
    ):
        assert list(dangerous(ast.parse(source)))


def test_the_version_has_one_source() -> None:
    assert version("driftline") == PROJECT["project"]["version"]


def test_make_alone_lists_every_target() -> None:
    printed = subprocess.run(["make", "-s", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    targets = re.search(r"\.PHONY: (.+)", (ROOT / "Makefile").read_text())
    assert targets
    assert re.findall(r"^  make (\S+) ", printed, re.MULTILINE) == targets[1].split()


def test_make_install_explains_a_python_that_is_too_old(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    # A Python that says it is 3.10 and otherwise runs what it is given.
    old = tmp_path / "python3.10"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    make = subprocess.run(["make", "-C", tmp_path, "test", f"PYTHON={old}"], capture_output=True, text=True)
    assert make.returncode == 2
    assert "driftline needs Python 3.11 or newer; this is 3.10" in make.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"]).returncode == 0


def test_every_test_runs_in_a_make_target_and_ci_runs_them_all() -> None:
    targets = dict(
        re.findall(r'^(test[\w-]*): .*\n\t.* -m "?([\w ]+?)"? \$', (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    names = sorted({*re.findall(r"\w+", " ".join(targets.values()))} - {"and", "not"})
    for marks in itertools.product([False, True], repeat=len(names)):
        marked = dict(zip(names, marks, strict=True))
        assert any(eval(rule, marked.copy()) for rule in targets.values()), marked
    run = re.findall(r"^step tests (test.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert sorted(run) == sorted(targets) == ["test", "test-demo", "test-kafka", "test-slow"]
