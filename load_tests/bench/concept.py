"""Concept drift in known streams: how soon labels say that a model is wrong, beside River's detectors on its errors.

    nice python -m load_tests.bench.concept                            5 seeds of all: some 15 minutes
    nice python -m load_tests.bench.concept --seeds 1 --streams SEA --json
    nice python -m load_tests.bench.concept --quick --seeds 1          short streams: a minute

A Hoeffding tree of River predicts each row of SEA (with 10 % of the labels wrong), STAGGER or Agrawal, then learns its
label. After 5,000 rows, 5,000 outcomes are the reference, and after 10,000 more the concept changes: at once
(`sudden`), for an ever larger part of the rows during 5,000 of them (`gradual`), or for 3,000 rows and, after 3,000 of
the first one, again (`recurring`). Driftline is its judge of outcomes, with panes of 50 events and one false page in
100,000 events allowed. Peers get the errors one by one, from the reference on, at their defaults and at settings that
raise fewer alarms; drops of the error that ADWIN finds do not count. An alarm in the 10,000 rows before the change is a
false one, and so is any in 25,000 rows without.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table
from river.datasets import synth
from river.drift import ADWIN
from river.drift.binary import DDM, EDDM, HDDMA, HDDMW
from river.tree import HoeffdingTreeClassifier

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.config.load import parse_config
from driftline.stream.events.parse import EventReader
from driftline.stream.judge.incidents import OUTCOMES, Status
from driftline.stream.replay.pipeline import Pipeline

_CONFIG = """
panes: {events: 50, seconds: null}
defaults: {clock: 50, false_alarms_per_event: 1.0e-5, outcomes: {labels: event}}
"""
_EPOCH, _STEP = 1_767_225_600_000, 1000


@dataclass(frozen=True)
class Lengths:
    """Rows: the model learns alone, the reference, before the change, and of what changes."""

    alone: int = 5000
    reference: int = 5000
    before: int = 10_000
    gradual: int = 5000
    recurring: int = 3000
    after: int = 15_000


QUICK = Lengths(3000, 1500, 1500, 1000, 1000, 3000)
# A stream by concept, before (0) and after the change (1), and by seed.
STREAMS: Mapping[str, Callable[[int, int], Any]] = {
    "SEA": lambda new, seed: synth.SEA(variant=(0, 3)[new], noise=0.1, seed=seed),
    "STAGGER": lambda new, seed: synth.STAGGER(classification_function=(0, 1)[new], seed=seed),
    "Agrawal": lambda new, seed: synth.Agrawal(classification_function=(0, 2)[new], seed=seed),
}
FORMS = ("sudden", "gradual", "recurring", "none")


class Outcome(NamedTuple):
    """A row that the model predicted: the chance of class 1 by the model, and the label."""

    score: float
    label: bool

    @property
    def error(self) -> bool:
        return (self.score > 0.5) != self.label


@dataclass(frozen=True)
class Found:
    """What a detector did. delays: rows from each change to the first alarm, None if none came while it lasted."""

    delays: Sequence[int | None]
    false: int


def changes(form: str, lengths: Lengths) -> list[range]:
    """The rows, from the end of the reference on, in which the concept is another one."""
    first, last = lengths.before, lengths.before + lengths.after
    if form == "recurring":
        return [range(at, at + lengths.recurring) for at in range(first, last, 2 * lengths.recurring)][:2]
    return [] if form == "none" else [range(first, last)]


def outcomes(stream: str, form: str, seed: int, lengths: Lengths) -> list[Outcome]:
    """The outcomes of a stream, the reference first."""
    rng, model = np.random.default_rng([seed, 31]), HoeffdingTreeClassifier()
    rows = [iter(STREAMS[stream](new, seed)) for new in (0, 1)]
    new, found = changes(form, lengths), list[Outcome]()
    known = lengths.alone + lengths.reference
    for i in range(-known, lengths.before + lengths.after):
        x, y = next(rows[_is_new(i, form, new, lengths, rng)])
        score = model.predict_proba_one(x).get(True, 0.5) if i >= -known + 1 else 0.5
        model.learn_one(x, bool(y))
        if i >= -lengths.reference:
            found.append(Outcome(float(score), bool(y)))
    return found


def _is_new(i: int, form: str, new: Sequence[range], lengths: Lengths, rng: np.random.Generator) -> bool:
    inside = any(i in each for each in new)
    return inside and (form != "gradual" or rng.random() < (i - lengths.before) / lengths.gradual)


# ---- detectors: each gives the rows, from the end of the reference on, at which it raises an alarm


def driftline(rows: Sequence[Outcome], lengths: Lengths) -> list[int]:
    """The alarms of Driftline's judge of outcomes: pages, and incidents that are open again."""
    log = [_message(i, each) for i, each in enumerate(rows)]
    reader = EventReader(extras=["label"])
    known = [event for each in log[: lengths.reference] for event in reader.read(each).events]
    baseline = replace(build_baseline(known, {"model": "m"}), outcomes=outcomes_of(known))
    pipeline = Pipeline(parse_config(_CONFIG), {"m": baseline}, keeps_history=True)
    sketcher, live = pipeline.sketcher(0, 0), log[lengths.reference :]
    alarms = list[int]()
    for run in (*sketcher.consume(np.arange(len(live)), live).runs, sketcher.close(len(live))):
        before = len(pipeline.steps)
        pipeline.judge(run)
        steps = (step for _, step in pipeline.steps[before:] if step.incident.scope == OUTCOMES)
        alarms += [run.end - 1 for step in steps if step.status is Status.FIRING or step.reopened]
    return alarms


def _message(i: int, row: Outcome) -> bytes:
    names = ("no", "yes")
    event = {"id": str(i), "ts": _EPOCH + _STEP * i, "model": "m", "score": round(row.score, 4)}
    return orjson.dumps(event | {"prediction": names[row.score > 0.5], "label": names[row.label]})


PEERS: Mapping[str, Callable[[], Any]] = {
    "DDM": DDM,
    "EDDM": EDDM,
    "HDDM_A": HDDMA,
    "HDDM_W": HDDMW,
    "ADWIN": ADWIN,
    "DDM, 4 σ": lambda: DDM(drift_threshold=4.0),
    "HDDM_A, 1e-6": lambda: HDDMA(drift_confidence=1e-6, warning_confidence=1e-5),
    "HDDM_W, 1e-6": lambda: HDDMW(drift_confidence=1e-6, warning_confidence=1e-5),
    "ADWIN, 1e-6": lambda: ADWIN(delta=1e-6),  # type: ignore[no-untyped-call]  # it is Cython
}


def peer(name: str, rows: Sequence[Outcome], lengths: Lengths) -> list[int]:
    """The alarms of a detector of River."""
    detector, alarms = PEERS[name](), list[int]()
    for i, row in enumerate(rows, -lengths.reference):
        before = detector.estimation if isinstance(detector, ADWIN) else 0.0
        detector.update(row.error)
        rises = not isinstance(detector, ADWIN) or detector.estimation > before
        if detector.drift_detected and rises and i >= 0:
            alarms.append(i)
    return alarms


def found(alarms: Sequence[int], new: Sequence[range], lengths: Lengths) -> Found:
    """How alarms hit the changes."""
    delays = [next((at - each.start for at in alarms if at in each), None) for each in new]
    quiet = new[0].start if new else lengths.before + lengths.after
    return Found(delays, sum(at < quiet for at in alarms))


def compared(stream: str, form: str, seed: int, lengths: Lengths) -> dict[str, Found]:
    """What all detectors do on one stream."""
    rows, new = outcomes(stream, form, seed, lengths), changes(form, lengths)
    alarms = {"Driftline": driftline(rows, lengths)} | {name: peer(name, rows, lengths) for name in PEERS}
    return {name: found(own, new, lengths) for name, own in alarms.items()}


def report(seeds: Sequence[int], streams: Sequence[str], lengths: Lengths) -> Iterator[dict[str, Any]]:
    """One row for each stream, form and detector."""
    for stream in streams:
        for form in FORMS:
            runs = [compared(stream, form, seed, lengths) for seed in seeds]
            for name in runs[0]:
                own = [each[name] for each in runs]
                delays = [delay for each in own for delay in each.delays]
                known = [each for each in delays if each is not None]
                yield {
                    "stream": stream,
                    "form": form,
                    "detector": name,
                    "delay": statistics.median(known) if known else None,
                    "missed": delays.count(None),
                    "changes": len(delays),
                    "false": sum(each.false for each in own),
                }


def _table(rows: Sequence[dict[str, Any]], lengths: Lengths, seeds: int) -> Table:
    table = Table(title=f"rows to an alarm, median of {seeds} seeds (missed); false alarms")
    names = list(dict.fromkeys(row["detector"] for row in rows))
    for column in ("stream", "change", *names):
        table.add_column(column)
    cells = {(row["stream"], row["form"], row["detector"]): row for row in rows}
    for stream, form in dict.fromkeys((row["stream"], row["form"]) for row in rows):
        own = [cells[stream, form, name] for name in names]
        table.add_row(stream, form, *map(_cell, own))
    table.caption = (
        f"false alarms: in {lengths.before:,} rows before each change, or {lengths.before + lengths.after:,}"
    )
    return table


def _cell(row: Mapping[str, Any]) -> str:
    if not row["changes"]:
        return f"{row['false']}"
    delay = "–" if row["delay"] is None else f"{row['delay']:,.0f}"
    missed = f" ({row['missed']})" if row["missed"] else ""
    return f"{delay}{missed}; {row['false']}"


def main() -> int:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each stream (default 5)")
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS), help="which (default all)")
    parser.add_argument("--quick", action="store_true", help="short streams")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row instead of a table")
    given = parser.parse_args()
    lengths, rows = QUICK if given.quick else Lengths(), list[dict[str, Any]]()
    for row in report(range(1, given.seeds + 1), given.streams, lengths):
        rows.append(row)
        print(json.dumps(row), file=sys.stdout if given.json else sys.stderr, flush=True)
    if not given.json:
        Console().print(_table(rows, lengths, given.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
