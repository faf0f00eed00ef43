"""The outcomes of a baseline: made of rows with labels, kept in the file, and all other hashes as before."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import orjson
import pytest

from driftline.stream.baselines.baseline import BaselineError
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.events.decode import Decoder
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.coding import coding_from
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask, NumbersTask
from tests.harness.labelled import baseline_of, confusion, events, messages

LOG = messages(1000, seed=1)


def test_outcomes_are_kept_beside_what_was_there_whose_hashes_stay() -> None:
    plain, own = baseline_of(LOG, with_outcomes=False), baseline_of(LOG)
    again = decode_baseline(encode_baseline(own.with_derived()))
    assert again.content_hash == own.content_hash == plain.content_hash
    assert again.outcomes is not None
    assert own.outcomes is not None
    assert again.outcomes.hash == own.outcomes.hash
    task, direct = again.outcomes.coding.task, confusion(LOG)
    assert isinstance(task, BinaryTask)
    assert task.classes == ("fine", "fraud")
    table = task.confusion(again.outcomes.total)
    assert table.tolist() == [[direct[p, label] for label in task.classes] for p in task.classes]
    assert encode_baseline(again) == encode_baseline(own.with_derived())


def test_a_file_whose_outcomes_are_damaged_is_refused() -> None:
    content = encode_baseline(baseline_of(LOG).with_derived())
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data[:-1] + bytes([data[-1] ^ 1]) if name == "outcomes.npy" else data)
    with pytest.raises(BaselineError, match="outcomes"):
        decode_baseline(out.getvalue())


def of_the_first_version(content: bytes) -> bytes:
    """The file as it was when rows without a label were not counted."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            manifest = json.loads(old.read(name)) if name == "manifest.json" else None
            if manifest:
                manifest["outcomes"]["version"] = 1
            new.writestr(name, json.dumps(manifest) if manifest else old.read(name))
    return out.getvalue()


def test_outcomes_of_the_first_version_are_read_where_all_rows_have_a_label() -> None:
    log = messages(2000, seed=1)
    whole = baseline_of(log)
    read = decode_baseline(of_the_first_version(encode_baseline(whole)))
    assert whole.outcomes is not None
    assert read.outcomes is not None
    assert read.outcomes.hash == whole.outcomes.hash
    bare = [orjson.dumps({k: v for k, v in orjson.loads(each).items() if k != "label"}) for each in log[:9]]
    assert decode_baseline(of_the_first_version(encode_baseline(baseline_of([*bare, *log[9:]])))).outcomes is None


@pytest.mark.parametrize("facts", [
    {"task": "binary", "classes": ["a"], "scores": None, "is_confidence": False, "by_score": False},
    {"task": "binary", "classes": ["a", "a"], "scores": None, "is_confidence": False, "by_score": False},
    {"task": "multiclass", "classes": [*"abcdefghijklmnopqrstuvwxyzABCDEFGH"], "scores": None, "is_confidence": False,
     "by_score": False},
    {"task": "regression", "grid": [1.0], "unit": 0.0},
    {"task": "binary", "classes": ["a", "b"], "scores": [2.0, 1.0], "is_confidence": False, "by_score": False},
    {"task": "ranking"},
    {},
])  # fmt: skip
def test_a_coding_that_cannot_be_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        coding_from(facts)


def test_few_labels_and_labels_of_other_classes_are_said_and_none_are_none() -> None:
    assert outcomes_of(events([orjson.dumps(orjson.loads(each) | {"label": None}) for each in LOG])) is None
    with pytest.raises(OutcomesError, match="400 rows have a label"):
        outcomes_of(events(LOG[:400]))
    with pytest.raises(OutcomesError, match="no label is the name of a predicted class"):
        outcomes_of(events([orjson.dumps(orjson.loads(each) | {"label": "x"}) for each in LOG]))


def rows(prediction: list[object], label: list[object]) -> list[bytes]:
    base = map(orjson.loads, messages(len(label), seed=5))
    return [
        orjson.dumps(each | {"prediction": p, "label": y}) for each, p, y in zip(base, prediction, label, strict=True)
    ]


@pytest.mark.parametrize("spell", [lambda each: each, bool, lambda each: str(float(each)), lambda each: f"{each}"])
def test_classes_are_known_however_predictions_and_labels_spell_them(spell) -> None:  # type: ignore[no-untyped-def]
    """With a reference of labelled rows, and with the signals alone."""
    rng = np.random.default_rng(3)
    predicted, true = rng.integers(0, 2, 1000).tolist(), rng.integers(0, 2, 1000).tolist()
    log = rows([*predicted], [spell(each) for each in true])
    plain = build_baseline(events(log), {"model": "fraud"})
    for baseline in (plain, replace(plain, outcomes=outcomes_of(events(log)))):
        decoder = Decoder({"fraud": baseline.fields}, is_labelled=lambda _: True)
        table = baseline.count_outcomes(decoder.decode(log).known["fraud"])
        assert table is not None
        assert baseline.coding is not None
        assert (table.n, table.odd) == (1000, 0)
        expected = [
            [sum((p, y) == (i, j) for p, y in zip(predicted, true, strict=True)) for j in (0, 1)] for i in (0, 1)
        ]
        assert baseline.coding.task.confusion(table.row(baseline.coding.size)).tolist() == expected  # type: ignore[union-attr]


def test_many_classes_and_numbers_have_their_tables() -> None:
    rng = np.random.default_rng(4)
    classes = [f"c{each}" for each in rng.integers(0, 6, 800)]
    coding = outcomes_of(events(rows([*classes], [*classes[1:], "c0"]))).coding  # type: ignore[union-attr]
    assert isinstance(coding.task, ClassesTask)
    assert coding_from(json.loads(json.dumps(coding.facts))).name == coding.name
    values = rng.normal(size=800).round(4)
    known = outcomes_of(events(rows(values.tolist(), (values + rng.normal(0, 0.1, 800)).tolist())))
    assert known is not None
    assert isinstance(known.coding.task, NumbersTask)
    assert known.metrics()["mae", ""].value == pytest.approx(0.08, abs=0.01)
    assert coding_from(json.loads(json.dumps(known.coding.facts))).name == known.coding.name
