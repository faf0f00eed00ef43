"""The notebooks of examples/: executed as they stand, kept without output, and shown on the documentation site."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))
# What the outputs of each must hold; a page is shown in a frame that nothing leaves.
SHOWN = {
    "compare": ["iframe sandbox srcdoc", "tenure months", "is lower: a typical value is now"],
    "detectors": ["value 1087: the last 512 have mean 0.13", "away from the reference", "WindowedKS(alpha=1e-06"],
    "replay": ["iframe sandbox srcdoc", "FIRING churn", "features.tenure months", "image/png"],
}


def test_every_notebook_is_listed_and_kept_without_output() -> None:
    assert sorted(SHOWN) == NOTEBOOKS
    page = (EXAMPLES / "README.md").read_text()
    for name in NOTEBOOKS:
        assert f"]({name}.ipynb)" in page
        for cell in read(name).cells:
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None


def test_what_is_installed_for_a_notebook_is_this_checkout_with_extras_that_there_are() -> None:
    extras = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    texts = [*(path.read_text() for path in EXAMPLES.glob("*.ipynb")), (EXAMPLES / "README.md").read_text()]
    installed = [line for text in texts for line in re.findall(r"`pip install ([^`]*)`", text)]
    assert len(installed) == 3
    for line in installed:
        first = line.split()[0].strip("'")
        assert re.fullmatch(r"\.\.(\[\w+\])?", first), line  # no package index has it yet
        assert set(re.findall(r"\[(\w+)\]", first)) <= extras.keys()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    ran = NotebookClient(read(name), timeout=300, resources={"metadata": {"path": str(folder)}}).execute()

    outputs = "\n".join(map(str, (output for cell in ran.cells for output in cell.get("outputs", []))))
    for text in SHOWN[name]:
        assert text in outputs


def read(name: str) -> Any:
    """A notebook, checked against the format's schema."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook
