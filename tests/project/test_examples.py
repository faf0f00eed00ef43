"""The examples do what their pages say: each command is run as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.harness.topic_tools import driftline

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(page.parent.name for page in EXAMPLES.glob("*/README.md"))
_VERDICT = re.compile(r"The second command exits with (\d)(?: and names `(.+)`\.|: no drift\.)")
_MOST_BYTES = 200_000  # of an example's data, so that a clone stays small


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_commands_of_an_example_lead_to_the_verdict_that_its_page_names(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(EXAMPLES / folder, tmp_path / folder))
    page = Path("README.md").read_text()
    commands = re.findall(r"^driftline (.+)$", page, re.MULTILINE)
    verdict = _VERDICT.search(page)
    assert verdict is not None

    codes = [driftline(*shlex.split(command)) for command in commands]

    assert codes == [0, int(verdict[1])]
    assert (verdict[2] or "no drift") in capsys.readouterr().out


def test_every_example_is_listed_and_small() -> None:
    listed = re.findall(r"\]\((\w[\w-]*)/README\.md\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == FOLDERS
    assert [path.name for path in EXAMPLES.rglob("*") if path.is_file() and path.stat().st_size > _MOST_BYTES] == []


def test_the_data_of_the_examples_is_made_as_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from examples import make

    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()

    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert len(made) == len(FOLDERS)
    assert made == {name: (EXAMPLES / name).read_bytes() for name in made}


def test_the_readme_and_the_first_page_show_exactly_what_a_scan_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (EXAMPLES / "table" / "churn.csv").read_text().splitlines(keepends=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # in a pipe, lines are whole
    Path("before.csv").write_text("".join([header, *rows[:750]]))
    Path("after.csv").write_text("".join([header, *rows[750:]]))

    code = driftline("scan", "after.csv", "--reference", "before.csv")

    printed = capsys.readouterr().out
    assert (code, "1 of its 6 signals differs" in printed) == (1, True)
    for page in ("README.md", "docs/START.md"):
        assert f"```\n{printed}" in (EXAMPLES.parent / page).read_text(), page
