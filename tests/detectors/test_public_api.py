"""The Python that the documents show works as they say, and what the library exports is documented and typed."""

from __future__ import annotations

import doctest
import random
import re
from inspect import signature
from pathlib import Path
from types import FunctionType

import driftline
from driftline import detectors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "DETECTORS.md"
SCAN_PAGE = ROOT / "docs" / "SCAN.md"


def test_the_examples_of_the_detectors_page_run_as_shown() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 30
    assert result.failed == 0


def test_the_snippet_of_the_readme_finds_a_drift(capsys) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    draw = random.Random(1)
    training = [draw.gauss(0, 1) for _ in range(2000)]
    exec(snippet, {"training_values": training, "live_values": training[:500]})
    assert capsys.readouterr().out == ""
    exec(snippet, {"training_values": training, "live_values": [value + 1 for value in training[:500]]})
    assert set(capsys.readouterr().out.splitlines()) == {"drifted"}


def test_every_exported_name_stands_on_the_page_and_has_a_docstring_and_types() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.read_text().split("##")[0]))
    assert set(detectors.__all__) == named
    for name in detectors.__all__:
        exported = getattr(detectors, name)
        assert exported.__doc__
        if isinstance(exported, FunctionType):
            assert set(exported.__annotations__) == {*signature(exported).parameters, "return"}


def test_what_the_package_itself_exports_stands_on_the_page_of_the_detectors_or_of_scans() -> None:
    named = set(re.findall(r"`(?:driftline\.)?(\w+)`", PAGE.read_text() + SCAN_PAGE.read_text()))
    assert set(driftline.__all__) <= named
    for name in driftline.__all__:
        assert getattr(driftline, name).__doc__
