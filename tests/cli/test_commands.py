"""The list of commands: help is made of it, so it says what the commands themselves say, and imports none of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command, get_group

import driftline.stream.cli
from driftline.stream.cli.commands import COMMANDS, LateCommand
from driftline.stream.cli.main import app

# What commands import that help must not: each of these takes 20 ms to half a second.
HEAVY = {"aiokafka", "asyncio", "faust", "jinja2", "msgspec", "numpy", "pyarrow", "pydantic", "redis", "yaml"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_help_of_the_command_says(name: str) -> None:
    listed = get_command(app).commands[name]  # type: ignore[attr-defined]

    assert isinstance(listed, LateCommand)
    first, *_ = inspect.cleandoc(listed.load().help).split("\n\n")
    assert listed.help == " ".join(first.split())


def test_the_list_has_every_command_of_every_module() -> None:
    folder = Path(driftline.stream.cli.__path__[0])
    modules = [import_module(f"driftline.stream.cli.{path.stem}") for path in folder.glob("*.py")]

    found = {
        (name, module.__name__.rpartition(".")[2])
        for module in modules
        if hasattr(module, "app") and module.app is not app
        for name in get_group(module.app).commands
    }

    assert found == {(name, module) for name, (module, _) in COMMANDS.items()}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_command(option: str) -> None:
    program = (
        "import sys, driftline.stream.cli.main as cli\n"
        f"sys.argv = ['driftline', '{option}']\n"
        "try: cli.main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


def test_the_name_driftline_has_what_it_lists_and_nothing_else() -> None:
    assert [getattr(driftline, name).__name__ for name in driftline.__all__] == driftline.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Compare'"):
        driftline.Compare  # noqa: B018 # the access is what is tested
