"""Groups of rare values: a value without a category is counted by its hash, and seen once it becomes common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import TEXT, Categories, Kind, Special
from driftline.detectors.summaries.groups import group_categories
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.stream.baselines.accept import accept
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.categories import GROUPS
from driftline.stream.baselines.file import decode_baseline, encode_baseline, manifest
from driftline.stream.baselines.unseen import never_seen
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import Signals
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Finding
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.results.figures import choose_figure

ROWS = 10_000
SHOP, RARE = "features.shop", "features.shop (rare)"
NEW = "a shop that nobody knew"


def shops(n: int, seed: int, most: int = 1000) -> list[Any]:
    """A thousand shops by Zipf's law."""
    shares = np.arange(1, most + 1) ** -0.9
    return [f"shop {each}" for each in np.random.default_rng(seed).choice(most, n, p=shares / shares.sum()).tolist()]


def events(texts: Sequence[Any], **others: Sequence[Any]) -> list[Event]:
    return [
        Event(
            str(i), 10**12 + i, "m", None, {SHOP: text, **{f"features.{name}": own[i] for name, own in others.items()}}
        )
        for i, text in enumerate(texts)
    ]


@cache
def built(format_version: int = 3) -> Baseline:
    settings = BuildSettings(format_version=format_version)
    return build_baseline(events(shops(ROWS, 1)), {"model": "m"}, settings).with_derived()


def found_in(baseline: Baseline, texts: Sequence[Any]) -> list[Finding]:
    """What the judge finds in these values, in panes of 250."""
    monitor, state, findings = Monitor("m", ModelConfig(), baseline, **monitor_settings()), ModelState(), []
    for at in range(0, len(texts), 250):
        sketch = baseline.sketch_events(events(texts[at : at + 250]))
        ts = 10**12 + ROWS + at
        state, steps = monitor.judge(state, Pane(sketch, ts, ts + 249, (Range(0, at, at + 250),)))
        findings += [each for step in steps for each in step.findings]
    return findings


def mixed(texts: Sequence[Any], share: float, value: Any = NEW) -> list[Any]:
    """These values, but for a share of them."""
    other = np.random.default_rng(8).random(len(texts)) < share
    return [value if each else text for each, text in zip(other, texts, strict=True)]


@given(st.lists(st.none() | st.text(max_size=3) | st.sampled_from(["DE", "FR", "é" * TEXT + "x", "\ud800"])))
def test_a_value_has_its_category_or_else_the_group_of_its_hash(texts: list[str | None]) -> None:
    known = Categories(("DE", "FR"))
    layout = Layout.of([
        Signal("x", Kind.CATEGORICAL, known, numeric=False),
        Signal("x (rare)", Kind.CATEGORICAL, group_categories(5), numeric=False, groups_of="x"),
    ])  # fmt: skip
    columns = layout.encode(np.empty((len(texts), 0)), [texts])
    for text, (_, group) in zip(texts, columns.tolist(), strict=True):
        if text is None:
            assert group == layout.special_column(1, Special.MISSING)
        elif text in known.values:
            assert group == layout.starts[1]
        else:
            own = text[:TEXT].encode("utf-8", "surrogatepass")
            assert group == layout.starts[1] + 1 + crc32(own) % 5


def test_the_groups_of_a_text_add_up_to_what_it_has_unseen_in_each_block() -> None:
    baseline, layout = built(), built().layout
    assert [each.name for each in layout.signals] == [SHOP, RARE]
    unseen = layout.special_column(0, Special.UNSEEN)
    first = layout.starts[1] + 1
    assert (baseline.blocks[:, first : first + GROUPS].sum(1) == baseline.blocks[:, unseen]).all()
    live = baseline.sketch_events(events([*shops(1000, 2), None, {}, 7.5]))
    assert live.counts[first : first + GROUPS].sum() == live.counts[unseen]
    for special in (Special.MISSING, Special.INVALID):
        assert [live.counts[layout.special_column(s, special)] for s in (0, 1)] == [1, 1]


def test_a_new_value_is_seen_by_its_group_and_the_headline_says_which() -> None:
    live = mixed(shops(4000, 3), 0.05)
    assert not found_in(built(2), live)
    found = found_in(built(), live)
    assert {each.signal for each in found} == {RARE}
    group = f"group {crc32(NEW.encode()) % GROUPS + 1} of {GROUPS}"
    assert found[0].change.headline.startswith(f"rare values of {group}: ")
    figure = choose_figure(built().layout, found[0].test, built().total, built().sketch_events(events(live)))
    assert figure.value == group
    assert not found_in(built(), shops(4000, 3))


def test_a_rise_of_unseen_values_in_all_groups_is_found_in_the_text_at_most_a_pane_later() -> None:
    """The tests of groups share the false pages of the model."""
    live = [f"{each}!" if i % 5 == 0 else each for i, each in enumerate(shops(4000, 3))]
    first = [next(each.events for each in found_in(built(v), live) if each.signal == SHOP) for v in (2, 3)]
    assert first[1] <= first[0] + 250


def test_known_values_are_named_together() -> None:
    found = {each.signal: each for each in found_in(built(), mixed(shops(2000, 3), 0.5, "shop 0"))}
    assert found[SHOP].change.headline.startswith("unseen values ")
    assert found[RARE].change.headline.startswith("known values ")


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        (shops(ROWS, 1, most=40), {}),
        (shops(1010, 1), {}),
        (shops(ROWS, 1), {"format_version": 2}),
        (shops(ROWS, 1), {"apart": False}),
        (shops(ROWS, 1), {"selects": Signals(exclude=("* (rare)",)).selects}),
    ],
    ids=["few values", "too few rows", "format 2", "not apart", "excluded"],
)
def test_a_text_has_no_groups(texts: list[str], settings: dict[str, Any]) -> None:
    assert build_baseline(events(texts), {"model": "m"}, BuildSettings(**settings)).names == {SHOP}


def test_a_field_keeps_the_name_that_groups_would_have() -> None:
    baseline = build_baseline(events(shops(ROWS, 1), **{"shop (rare)": [1.5, 2.5] * (ROWS // 2)}), {"model": "m"})
    assert [(each.name, each.groups_of) for each in baseline.layout.signals] == [(RARE, None), (SHOP, None)]


def test_groups_go_with_their_text_and_may_be_left_out_alone() -> None:
    baseline = build_baseline(events(shops(ROWS, 1), n=[1.5, 2.5] * (ROWS // 2)), {"model": "m"})
    assert baseline.names == {SHOP, RARE, "features.n"}
    assert baseline.select_signals(Signals(exclude=(SHOP,)).selects).names == {"features.n"}
    assert baseline.select_signals(Signals(exclude=("*(rare)",)).selects).names == {SHOP, "features.n"}


def test_a_file_has_format_3_only_for_groups() -> None:
    for version in (2, 3):
        file = encode_baseline(built(version))
        assert manifest(built(version))["format_version"] == version
        read = decode_baseline(file)
        assert (read.layout, read.content_hash) == (built(version).layout, built(version).content_hash)
        assert encode_baseline(read) == file
    assert "groups_of" not in json.dumps(manifest(built(2)))


@pytest.mark.parametrize("groups_of", ["features.gone", RARE])
def test_groups_of_no_text_are_a_damaged_file(groups_of: str) -> None:
    text, groups = built().layout.signals
    odd = Signal(groups.name, groups.kind, groups.coder, numeric=False, groups_of=groups_of)
    baseline = built()
    file = encode_baseline(Baseline.of(_Unchecked((text, odd)), baseline.blocks, baseline.total, baseline.about))
    with pytest.raises(BaselineError, match="signals of groups do not match those of their texts"):
        decode_baseline(file)


class _Unchecked(Layout):
    groups = {0: 1}  # noqa: RUF012 # in place of those that would be looked up


def test_groups_without_a_single_one_are_a_damaged_file() -> None:
    layout = Layout.of([
        Signal("x", Kind.CATEGORICAL, Categories(("a",)), numeric=False),
        Signal("y", Kind.CATEGORICAL, Categories(("known values",)), numeric=False, groups_of="x"),
    ])  # fmt: skip
    counts = np.zeros((1, layout.width), np.int64)
    counts[0, layout.starts] = 1
    total = layout.sketch(layout.starts[None], np.empty((1, 0)))
    with pytest.raises(BaselineError, match="signals of groups do not match"):
        decode_baseline(encode_baseline(Baseline.of(layout, counts, total, {"model": "m"}).with_derived()))


def test_workers_learn_groups_from_level_3_on() -> None:
    pane = Pane(tuple(events(shops(5000, 4))), 10**12, 10**12 + 5000, (Range(0, 0, 5000),))
    names = []
    for level in (2, 3):
        monitor = Monitor("m", ModelConfig(learn_events=5000), **monitor_settings(level))
        learned = monitor.judge(ModelState(), pane)[0].learned
        assert learned is not None
        names.append(learned.names)
    assert names == [{SHOP}, {SHOP, RARE}]


@pytest.mark.parametrize("incident", [SHOP, RARE])
def test_a_text_and_its_groups_are_accepted_together(incident: str) -> None:
    now = events(mixed(shops(ROWS, 5), 0.05))
    new = accept(built(), {incident}, now, {}, {}, None)
    alone = build_baseline(now, {"model": "m"}, BuildSettings(blocks=len(built().blocks)))
    assert new.signal_hashes == alone.signal_hashes
    assert new.about["accepted"]["signals"] == [SHOP, RARE]
    few = accept(built(), {incident}, events(shops(ROWS, 5, most=40)), {}, {}, None)
    assert few.names == {SHOP}
    assert decode_baseline(encode_baseline(few)).names == {SHOP}


def test_a_text_that_live_events_never_have_is_named_without_its_groups() -> None:
    baseline = build_baseline(events(shops(ROWS, 1), n=[1.5, 2.5] * (ROWS // 2)), {"model": "m"})
    assert never_seen(baseline, baseline.sketch_events(events([None] * 1000, n=[1.5] * 1000))) == [SHOP]
