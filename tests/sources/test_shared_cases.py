"""Files as people reported them: each is read, or refused with a remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driftline.stream.config.files import FileOptions
from driftline.stream.events.parse import EventReader
from driftline.stream.sources.inputs import InputError
from tests.sources.reading import messages, noted

pytestmark = pytest.mark.shared

READ = {
    "csv-dialects/cr.csv": 400,
    "csv-dialects/crlf_bom.csv": 400,
    "csv-dialects/index.csv": 50,
    "csv-dialects/quoted.csv": 400,
    "csv-dialects/tab.csv": 400,
    "csv-dialects/tab.tsv": 400,
    "csv-dialects/utf16.csv": 400,
    "stdin-csv/live.csv": 6000,
    "jsonl-dialects/array.json": 400,
    "jsonl-dialects/crlf.jsonl": 400,
    "jsonl-dialects/nan.jsonl": 400,
    "jsonl-dialects/pretty.json": 400,
    "parquet-types/date.parquet": 400,
    "parquet-types/jsonstring.parquet": 400,
    "parquet-types/naive.parquet": 400,
    "parquet-types/one.parquet": 1,
    "parquet-types/seconds.parquet": 400,
    "parquet-types/struct.parquet": 400,
    "parquet-types/types.parquet": 400,
    "parquet-types/unnamed.parquet": 400,
    "time-odd/live.jsonl.gz": 12_100,
}
REFUSED = {
    "csv-dialects/latin1.csv": "line 4: not UTF-8; save the file as UTF-8, or name its encoding",
    "parquet-types/zero.parquet": "holds no events; leave it out",
}


@pytest.fixture
def cases(shared_data: Path) -> Path:
    return shared_data.parent / "cases"


def events_in(path: Path, options: FileOptions | None = None) -> int:
    reader = EventReader()
    return sum(len(reader.read(each, None).events) for each in messages(path, options=options or FileOptions()))


@pytest.mark.parametrize("name", READ)
def test_every_row_is_an_event(cases: Path, name: str) -> None:
    assert events_in(cases / name) == READ[name]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_with_a_remedy(cases: Path, name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        messages(cases / name)


def test_latin_1_is_read_if_it_is_named(cases: Path) -> None:
    assert events_in(cases / "csv-dialects/latin1.csv", FileOptions(encoding="latin-1")) == 400


def test_no_case_is_forgotten(cases: Path) -> None:
    folders = ("csv-dialects", "stdin-csv", "jsonl-dialects", "parquet-types", "time-odd")
    files = {f"{folder}/{each.name}" for folder in folders for each in (cases / folder).iterdir()}
    assert {each for each in files if not each.endswith((".md", ".py"))} == READ.keys() | REFUSED.keys()


def test_what_is_left_out_or_converted_is_noted(cases: Path) -> None:
    assert noted(cases / "parquet-types/types.parquet").keys() == {
        "birth", "took", "seen_at", "blob", "nothing", "nothing_f",
    }  # fmt: skip
    assert noted(cases / "csv-dialects/quoted.csv").keys() == {"thousand"}


def test_csv_is_read_from_standard_input(cases: Path) -> None:
    script = (
        "from driftline.stream.sources.files import read_messages; print(sum(len(e) for e in read_messages(['-'])))"
    )
    with (cases / "stdin-csv/live.csv").open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=-1) as cat:
        done = subprocess.run([sys.executable, "-c", script], stdin=cat.stdout, capture_output=True, text=True)
    assert done.stdout == "6000\n", done.stderr
