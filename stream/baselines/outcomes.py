"""What a baseline knows of outcomes: how right the model was in rows with labels, block by block in the order of time.

Without such rows, the signals say how outcomes are coded, and the first outcomes that come are what later ones are
compared with. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.classes import MOST_CLASSES, ClassesLayout
from driftline.detectors.outcomes.compare import Comparison
from driftline.detectors.outcomes.metrics import Metrics
from driftline.detectors.outcomes.scores import Scores
from driftline.detectors.outcomes.table import OutcomeTable, rows
from driftline.detectors.summaries.codes import Categories, Grid, Kind
from driftline.detectors.summaries.layout import Signal
from driftline.stream.baselines.encoding import COUNTS, array_file, canonical_json, counts_file, read_array
from driftline.stream.events.columns import LABEL, LABEL_FIELD, Field, tabulate
from driftline.stream.events.event import Event
from driftline.stream.outcomes.choose import OutcomesError, choose
from driftline.stream.outcomes.coding import Coding, coding_from
from driftline.stream.outcomes.rows import Rows, as_class
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask, NumbersTask

#: The file of the tables of its blocks.
OUTCOMES_FILE: Final = "outcomes.npy"
#: Labelled rows that a reference needs: a rate is then known to 4 points.
LEAST: Final = 500
# Raised whenever the same rows give other tables; a file of another version is not used. 2: with rows without a label.
_VERSION: Final = 2
# Blocks at most, and rows of a block at least: as `driftline performance` has them.
_BLOCKS, _BLOCK_ROWS = 256, 20
_FIELDS = Field("prediction", numeric=False, whole=True), Field("score", numeric=True)


@dataclass(frozen=True, eq=False)
class OutcomeReference:
    """Outcomes that others are compared with. blocks: their tables (B, C), in the order of time."""

    coding: Coding
    blocks: IntArray

    @classmethod
    def of_tables(cls, coding: Coding, tables: Sequence[OutcomeTable]) -> OutcomeReference:
        """The reference that live tables make."""
        return cls(coding, rows(tables, coding.size))

    @cached_property
    def comparison(self) -> Comparison:
        """What compares windows with it."""
        return Comparison.of(self.coding.task.tally(self.blocks.astype(np.int64)), self.coding.task.boundaries)

    @cached_property
    def total(self) -> IntArray:
        """The table (C,) of all its outcomes."""
        return np.asarray(self.blocks.sum(0, dtype=np.int64))

    @cached_property
    def n(self) -> int:
        """Outcomes."""
        return round(float(self.coding.task.tally(self.total).n.sum()))

    def metrics(self) -> Metrics:
        """Its metrics, with intervals that account for its own dependence."""
        return self.coding.task.metrics(self.total, self.effect(self.n))

    def effect(self, n: int) -> float:
        """How many of n outcomes that follow each other say as much as one independent one."""
        return float(self.comparison.effect(n)[0])

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of all that decides what is found: outcomes with the same one are judged alike."""
        return hashlib.sha256(canonical_json(self.coding.facts) + self.file()).hexdigest()

    def file(self) -> bytes:
        """The .npy file of the blocks."""
        if isinstance(self.coding.task, NumbersTask):
            return array_file(self.blocks, "<i8")
        return counts_file(self.blocks)

    def manifest(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"version": _VERSION, "rows": self.n, "coding": self.coding.facts, "hash": self.hash}


def outcomes_from(facts: Mapping[str, Any], file: bytes, events: int) -> OutcomeReference | None:
    """The outcomes in a file, of which the manifest states `facts`; None if they are of another version.

    events: of the baseline.

    Raises ValueError, KeyError or TypeError if they are damaged.
    """
    # The first version did not count rows without a label: where all have one, it is the second.
    if facts["version"] not in (1, _VERSION) or (facts["version"] == 1 and facts["rows"] != events):
        return None
    coding, blocks = coding_from(facts["coding"]), read_array(file, *COUNTS, "<i8")
    found = OutcomeReference(coding, blocks)
    if blocks.shape[1:] != (coding.size,) or not len(blocks) or facts["hash"] != found.hash:
        raise ValueError("the outcomes do not match their hash")
    return found


def outcomes_of(events: Sequence[Event]) -> OutcomeReference | None:
    """The outcomes of the events with a label (`Event.extras`), and the others as what they are; None without a label.

    Raises OutcomesError if the labels cannot be compared with the predictions, or are too few.
    """
    rows = sorted(events, key=lambda each: each.ts)
    places = [place for place, each in enumerate(rows) if each.extras.get(LABEL) is not None]
    if not places:
        return None
    if len(places) < LEAST:
        raise OutcomesError(f"{len(places):,} rows have a label, and a reference of outcomes takes {LEAST}")
    columns = tabulate(_FIELDS, [(place, rows[place]) for place in places], [LABEL_FIELD])
    found = Rows(columns.ids, columns.ts, columns.texts[0], columns.numeric[:, 0], columns.extras[LABEL])
    chosen = choose(found, np.ones(len(found), bool))
    coding = Coding.lean(chosen.task, chosen.is_confidence, chosen.by_score)
    fields = [replace(_FIELDS[0], numeric=isinstance(coding.task, NumbersTask)), _FIELDS[1]]
    columns = tabulate(fields, list(enumerate(rows)), [LABEL_FIELD])
    blocks = min(len(places) // _BLOCK_ROWS, _BLOCKS)
    ends = [0, *(places[len(places) * each // blocks] for each in range(1, blocks)), len(rows)]
    parts = (columns.slice(*ends[i : i + 2]) for i in range(blocks))
    tables = [table for each in parts if (table := coding.count(each, fields)) is not None]
    return OutcomeReference.of_tables(coding, tables)


def coding_of_signals(signals: Sequence[Signal]) -> Coding | None:
    """How outcomes are coded where no labels are known; None if the prediction has no classes.

    A regression needs labels, which say how large its errors are.
    """
    by_name = {each.name: each for each in signals}
    classes, score = _classes(by_name.get("prediction")), by_name.get("score")
    scores = Scores(score.coder if score and isinstance(score.coder, Grid) else None, probabilities=False)
    if len(classes) == 2:
        return Coding(BinaryTask(BinaryLayout(scores), (classes[0], classes[1])))
    if 2 < len(classes) <= MOST_CLASSES:
        return Coding(ClassesTask(ClassesLayout(len(classes), scores), classes))
    return None


def _classes(prediction: Signal | None) -> tuple[str, ...]:
    """The classes that a signal knows, sorted."""
    if prediction is None or prediction.kind is Kind.CONSTANT:
        return ()
    if isinstance(prediction.coder, Categories):
        return tuple(sorted(map(str, prediction.coder.values)))
    below, atoms = prediction.coder.cuts[::2], prediction.coder.cuts[1::2]
    if len(below) != len(atoms) or (np.nextafter(atoms, -np.inf) != below).any():
        return ()  # values between its cuts have codes, too
    return tuple(as_class(repr(each)) or "" for each in atoms.tolist())
