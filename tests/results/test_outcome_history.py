"""Outcomes over time: the same whoever has counted them, and what pages say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.baselines.outcomes import OutcomeReference
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.codec.timeline import (
    OUTCOME,
    StoredTimeline,
    all_parts,
    pack_stretch,
    read_span,
    stored_timeline,
    wanted_names,
)
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import HOUR_MS, OutcomeEra, Stretch, Timeline
from driftline.stream.judge.waiting import Counts
from driftline.stream.outcomes.sentences import figure_text
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.replay.pipeline import LogBatch, Pipeline
from driftline.stream.replay.run import replay
from driftline.stream.replay.verdict import Outcome, Verdict, decide
from driftline.stream.reports.page import outcome_history as pages
from driftline.stream.reports.page.page import Report, render, replay_page
from driftline.stream.results.outcome_history import Band, OutcomeHistory, outcome_history, replayed_history
from driftline.stream.results.overview import ModelView, Overview
from driftline.stream.scan.tables import NO_TIME
from tests.harness.labelled import EPOCH, baseline_of, configured, messages, ran

# Events, 20 s apart: 33 hours, in the last 12 of which labels are near to a coin.
COUNT, STEP, WORSE = 6000, 20_000, 4000
FLOORS = ", floors: {accuracy: 0.7, recall: 0.3, auc: 0.6}"


def log(count: int = COUNT) -> list[bytes]:
    rows = map(orjson.loads, messages(count, concept=lambda i: 0.9 if i >= WORSE else 0.0))
    return [orjson.dumps(row | {"ts": EPOCH + STEP * i}) for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    known = baseline_of(messages(4000, seed=9))
    return ran(log(), configured(FLOORS), known)


def timeline_of(state: ModelState) -> Timeline:
    assert state.outcomes is not None
    assert state.outcomes.timeline is not None
    return state.outcomes.timeline


def history_of(pipeline: Pipeline, more: str = FLOORS, **options: object) -> OutcomeHistory:
    config = configured(more).for_model("fraud")
    found = replayed_history(timeline_of(pipeline.states["fraud"]), config, [], None)
    assert found is not None
    return replace(found, **options)


def test_each_hour_has_the_outcomes_of_its_predictions(pipeline: Pipeline) -> None:
    found = history_of(pipeline)
    rights = np.zeros(COUNT * STEP // HOUR_MS + 1)
    for i, row in enumerate(map(orjson.loads, log())):
        rights[STEP * i // HOUR_MS] += row["label"] == row["prediction"]
    assert found.each == HOUR_MS
    assert sum(each.labelled for each in found.points) == COUNT
    by_hour = {(each.start - EPOCH) // HOUR_MS: each for each in found.points}
    assert [*by_hour] == [*range(len(rights))]
    # A pane of 50 events counts in the hour of its middle, so that a few are in the hour beside theirs.
    right = [(each.metrics["accuracy", ""].value or 0) * each.labelled for each in by_hour.values()]
    assert np.abs(np.cumsum(right) - np.cumsum(rights)).max() < 50


def test_a_worker_that_starts_again_after_every_pane_stores_what_a_replay_keeps() -> None:
    known, config, rows = baseline_of(messages(4000, seed=9)), configured(FLOORS), log(2500)
    monitor, sketcher = ran(rows[:50], config, known).monitors["fraud"], ran((), config, known).sketcher(0, 0)
    runs = [*sketcher.consume(np.arange(len(rows)), rows).runs, sketcher.close(len(rows))]
    parts, closed = dict[str, bytes](), dict[str, bytes]()
    state, before = ModelState(), None
    whole = ModelState()
    for run in runs:
        for pane in run.panes.values():
            whole, _ = monitor.judge(whole, pane)
            state, _ = monitor.judge(state, pane)
            delta = state_delta(before, state)
            for held, each in ((parts, delta), (closed, delta.timelines)):
                held.update(each.write)
                for name in each.delete:
                    held.pop(name, None)
            state = before = restore_state(parts, None)
    once = state_delta(None, whole)
    assert (parts, closed) == (once.write, once.timelines.write)

    span, chosen, kept = (
        read_span(parts[f"{OUTCOME}timeline"]),
        config.for_model("fraud"),
        all_parts(timeline_of(whole)),
    )
    every = {name.removeprefix(OUTCOME): part for name, part in (parts | closed).items() if name.startswith(OUTCOME)}
    for kind, length in (("hour", HOUR_MS), ("day", 24 * HOUR_MS)):
        names = wanted_names(span, kind, 0)
        live, replayed = (
            outcome_history(stored_timeline({name: of[name] for name in names if name in of}), kind, length, chosen)
            for of in (every, kept)
        )
        assert live is not None
        assert replayed is not None
        assert live.points == replayed.points
        assert sum(each.labelled for each in live.points) == len(rows)


def test_what_was_compared_with_another_reference_is_kept_and_not_mixed_in(pipeline: Pipeline) -> None:
    other = baseline_of(messages(4000, seed=11))
    renewed = replace(pipeline.monitors["fraud"], given=other, _judges={})
    more = ran(log(6050)[COUNT:], configured(FLOORS), other)
    table = next(iter(timeline_of(more.states["fraud"]).hours)).content
    at = EPOCH + STEP * COUNT
    pane = Pane(other.sketch_events(()), at, at, (Range(0, COUNT, COUNT + 50),), outcomes=(("", table),))
    after, _ = renewed.judge(pipeline.states["fraud"], pane)
    found = replayed_history(timeline_of(after), configured(FLOORS).for_model("fraud"), [], None)
    assert found is not None
    assert sum(each.labelled for each in found.points) == table.n
    assert any(name.startswith("hour") and name.endswith(":0") for name in timeline_of(after).unstored)


ROOM = 2**62


@pytest.mark.parametrize(
    ("n", "cells"),
    [
        (5, [[10**6], [5]]),  # beyond the layout
        (5, [[1887], [5]]),  # the first one beyond it
        (5, [[0, 1], [-50, 3]]),
        (10**9, [[0], [5]]),  # outcomes without a cell
        (5, [[0, 3], [ROOM, ROOM]]),
        (ROOM, [[1000], [ROOM]]),
        (ROOM, [[1200], [ROOM]]),
    ],
)
def test_a_stored_table_that_its_coding_cannot_have_made_is_refused(
    pipeline: Pipeline, n: int, cells: list[list[int]]
) -> None:
    stored, config = stored_of(pipeline), configured(FLOORS).for_model("fraud")
    era = history_of(pipeline).era
    assert era.coding.size == 1887
    part = pack_stretch((Stretch(0, OutcomeTable(era.coding.name, n, 0, np.array(cells))),))
    # Twice in one hour, so that they are added.
    first = stored.stretches[0]._replace(part=part)
    with pytest.raises(FormatError, match="table"):
        outcome_history(stored._replace(stretches=[first, first, *stored.stretches[1:]]), "hour", HOUR_MS, config)


def test_a_reference_that_its_coding_cannot_have_made_is_refused(pipeline: Pipeline) -> None:
    stored, config = stored_of(pipeline), configured(FLOORS).for_model("fraud")
    coding, reference = (era := history_of(pipeline).era).coding, era.reference
    assert reference is not None
    for blocks in (-reference.blocks, 0 * reference.blocks):
        timeline = timeline_of(pipeline.states["fraud"])
        damaged = OutcomeEra(coding, OutcomeReference(coding, blocks))
        layouts = stored_timeline(all_parts(structs.replace(timeline, unstored={"layout:0": damaged}))).layouts
        with pytest.raises(FormatError):
            outcome_history(stored._replace(layouts=layouts), "hour", HOUR_MS, config)


anything = st.integers(-(2**62), 2**62).filter(bool)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(st.dictionaries(st.integers(0, 1886), st.integers(1, 50) | anything, min_size=1, max_size=9), st.booleans())
def test_tables_of_any_numbers_are_refused_or_drawn(pipeline: Pipeline, cells: dict[int, int], fits: bool) -> None:
    stored, config, coding = stored_of(pipeline), configured(FLOORS).for_model("fraud"), history_of(pipeline).era.coding
    row = np.zeros(coding.size, np.int64)
    row[[*cells]] = [*cells.values()]
    n = max(int(coding.task.tally(row).n.sum()), 1) if fits else 7
    part = pack_stretch((Stretch(0, OutcomeTable.of(coding.name, n, 0, row)),))
    damaged = [stored.stretches[0]._replace(part=part), *stored.stretches]
    try:
        found = outcome_history(stored._replace(stretches=damaged), "hour", HOUR_MS, config)
    except FormatError:
        return
    assert found is not None
    assert pages.headline(found)
    assert pages.pictures(found)
    assert pages.lines(found)


def stored_of(pipeline: Pipeline) -> StoredTimeline:
    return stored_timeline(all_parts(timeline_of(pipeline.states["fraud"])))


def test_the_page_says_how_right_the_model_is_and_what_was_to_be_expected(pipeline: Pipeline) -> None:
    found = history_of(pipeline)
    said = re.fullmatch(
        r"Accuracy is (\d+\.\d) % \(.* to .*\) in the newest [\d,]+ outcomes\. "
        r"In the reference it was (\d+\.\d) %, and (\d+\.\d) % for predictions like the newest ones\.",
        pages.headline(found),
    )
    assert said
    now, usual, expected = map(float, said.groups())
    assert now < usual - 15
    assert abs(expected - usual) < 3, "the scores are as they were, so the mix explains nothing"


def test_charts_show_the_interval_the_reference_floors_and_incidents(pipeline: Pipeline) -> None:
    bands = [Band(EPOCH + STEP * WORSE, None), Band(EPOCH - 10 * HOUR_MS, EPOCH - 9 * HOUR_MS)]
    first, *others = pages.pictures(history_of(pipeline, bands=bands))
    assert [first.name, *(each.name for each in others)] == ["Accuracy", "Recall of fraud", "AUC"]
    assert first.chart.count('class="drift"') == 1, "the incident that was over before is not in the picture"
    for part in ('class="nine"', 'class="median"', 'class="expected"', 'class="ref"', 'class="floor"'):
        assert part in first.chart
    assert 'class="expected"' not in others[0].chart
    assert 'class="floor"' not in pages.pictures(history_of(pipeline, "", bands=[]))[0].chart


def test_where_no_outcome_is_known_the_line_is_broken(pipeline: Pipeline) -> None:
    found = history_of(pipeline)
    numbers = [*found.tables]
    gaps = {number: each for number, each in found.tables.items() if number not in (numbers[5], numbers[20])}
    whole, broken = (pages.pictures(each)[0].chart for each in (found, replace(found, tables=gaps)))
    assert (whole.count('class="median"'), broken.count('class="median"')) == (1, 3)
    assert (whole.count('class="nine"'), broken.count('class="expected"')) == (1, 3)
    alone = {number: found.tables[number] for number in (numbers[0], numbers[2])}
    assert pages.pictures(replace(found, tables=alone))[0].chart.count('class="median"') == 2, (
        "each is as wide as it is"
    )


def with_unlabelled(found: OutcomeHistory, count: Mapping[int, int]) -> OutcomeHistory:
    """The history with more predictions, which have no label, in stretches by their number."""
    coding, tables = found.era.coding, dict(found.tables)
    for number, more in count.items():
        row = np.zeros(coding.size, np.int64)
        row[0] = more
        bare = OutcomeTable.of(coding.name, 0, 0, row)
        tables[number] = tables[number] + bare if number in tables else bare
    return replace(found, tables=dict(sorted(tables.items())))


def test_stretches_that_have_no_labels_are_shown_as_such(pipeline: Pipeline) -> None:
    found = history_of(pipeline)
    assert pages.labelled_chart(found) is None, "all have a label"
    bare = with_unlabelled(found, {max(found.tables) + 1: 400})
    assert [each.share for each in bare.coverage] == [1.0] * len(found.points) + [0.0]
    assert len(bare.points) == len(found.points)
    assert "100 % at first, 0 % at the end" in (pages.labelled_chart(bare) or "")
    assert bare.labelled_share == COUNT / (COUNT + 400)


def test_the_share_with_a_label_and_what_became_of_labels_are_counted(pipeline: Pipeline) -> None:
    found = history_of(pipeline)
    assert [(each.name, each.value) for each in pages.facts(found)] == [("Labelled", "100 %")]
    half = with_unlabelled(found, {number: table.n for number, table in found.tables.items()})
    labels = Counts(joined=6000, unlabelled=6000, late=12, unmatched=3)
    facts = {each.name: each.value for each in pages.facts(replace(half, labels=labels))}
    weighted, known = half.newest.weighted, half.newest.metrics["accuracy", ""]
    assert weighted is not None
    assert facts.pop("Accuracy of all") == figure_text("accuracy", weighted) != figure_text("accuracy", known)
    assert facts == {
        "Labelled": "50 %",
        "Labels joined": "6,000",
        "Labels too late": "12",
        "Labels of unknown ids": "3",
    }
    newest, *_ = pages.lines(half)
    assert (newest.share, len(newest.figures)) == ("50 %", 3)


def test_a_replay_reports_it_with_the_incident_and_without_labels_nothing() -> None:
    known = baseline_of(messages(4000, seed=9))
    rows = log()

    def report(config: str) -> str:
        made = replay(configured(config), [known], {0: [_batch(rows)]}, lambda _: None, keeps_history=True)
        return replay_page(made, decide(made, configured(config), [known], 0.01), configured(config), "x", "driftline")

    page = report(FLOORS)
    section = page[page.index('id="right"') : page.index('id="unchecked"')]
    assert "In the reference it was" in section
    assert 'class="drift"' in section
    assert page == report(FLOORS)
    assert "<dt>Labelled</dt><dd>100 %" in section, "the replay has counted the predictions"
    top = page[: page.index('<section class="model"')].replace("\xa0", " ")
    now = re.search(
        r"<h1>Accuracy is worse: ([\d.]+ %) in its newest [\d,]+ outcomes, in the reference [\d.]+ %\. fraud ", top
    )
    found = re.search(r'▲</span> open</span>.*?<a href="#right">(.*?)</a></p>\s*<p class="w">(.*?)</p>', top, re.DOTALL)
    assert found is not None
    assert now is not None
    assert re.fullmatch(rf"Accuracy [\d.]+ % → {now[1]} in its newest [\d,]+ outcomes\.", found[1]), "of the same rows"
    assert re.match(
        r"since 1 Jan 2026 .* as it was found: [\d.]+ → [\d.]+ % \(-[\d.]+ points: .* by concept drift\); ", found[2]
    )
    assert "; recall " in found[2]


ACCURACY_FELL = ("accuracy", "75.1 → 52.0 % (-23.1 points: -0.1 by the mix of scores, -23.0 by concept drift)")
RECALL_IS_LOW = ("recall@fraud", "12.4 %, below its floor of 30 %")


def test_the_heading_says_what_the_open_incident_is_about_and_worse_of_that_alone(pipeline: Pipeline) -> None:
    def said(*bands: Band, **more: object) -> str:
        return pages.is_now(history_of(pipeline, bands=bands, **more), "m")

    over = Band(0, HOUR_MS, (ACCURACY_FELL,))
    assert said() == said(over) == ""
    assert said(over, Band(0, None, (RECALL_IS_LOW, ("auc", "0.52, below its floor of 0.6")))) == (
        "An incident of recall of fraud is open in m: 12.4 %, below its floor of 30 %, as it was found."
    )
    worse = said(Band(0, None, (ACCURACY_FELL, RECALL_IS_LOW)))
    assert re.fullmatch(
        r"Accuracy of m is worse: [\d.]+ % in its newest 1,\d+ outcomes, in the reference [\d.]+ %\.", worse
    )
    first = dict([*history_of(pipeline).tables.items()][:20])
    assert said(Band(0, None, (ACCURACY_FELL,)), tables=first) == (
        "An incident of accuracy is open in m: 75.1 → 52.0 %, as it was found."
    ), "it is as right again as it was"


def test_a_report_of_many_models_names_a_few_and_shows_what_is_open_first(pipeline: Pipeline) -> None:
    rows = log(1000)
    made = replay(configured(FLOORS), [baseline_of(messages(4000, seed=9))], {0: [_batch(rows)]}, lambda _: None)
    empty = Report("", "", "", Overview(), made, decide(made, configured(FLOORS), []), [], "", configured("").defaults)
    ended = history_of(pipeline, bands=[Band(0, HOUR_MS, (ACCURACY_FELL,))] * 9)
    worse = history_of(pipeline, bands=[Band(0, None, (ACCURACY_FELL,))])
    report = replace(empty, histories={"a": ended} | {f"m{i}": worse for i in range(300)})
    assert len(re.findall(r"Accuracy of m\d is worse", report.headline)) == 4
    assert "Incidents of outcomes are open in 296 more models." in report.headline
    assert len(report.headline) < 600
    assert [each.is_open for _, each in report.falls] == [True] * 300 + [False] * 9
    assert "and 301 more incidents of outcomes</a>" in render(report)
    few = replace(empty, histories={"a": worse, "b": ended})
    assert "more" not in few.headline
    calm = Overview(tuple(ModelView(each, "", baseline_of(messages(4000, seed=9)), True, (), ()) for each in "abc"))
    clear = replace(few, overview=calm, verdict=Verdict(Outcome.NO_DRIFT)).headline
    assert clear.endswith("No signal of 3 models has changed."), "a model that is worse has changed"
    assert "and 2 more incidents of outcomes</a>" in render(few)


def _batch(rows: list[bytes]) -> LogBatch:
    return LogBatch(np.arange(len(rows)), rows, np.full(len(rows), NO_TIME, np.int64))
