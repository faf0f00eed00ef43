"""What models are compared with, by a configuration: baselines whose hashes are equal, and whose rates are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.rates import learn_rates
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.partitions.baselines import KnownBaselines
from tests.worker.test_versions import baseline

_DAY = 8640  # slots


def with_rates(model: str, each_slot: int) -> Baseline:
    known, slots = baseline("4.2"), np.arange(1_000_000_000, 1_000_000_000 + 2 * _DAY)
    rates = learn_rates(slots, np.full(len(slots), each_slot))
    return replace(known, about={**known.about, "model": model}, rates=rates)


def known_of(*given: Baseline) -> KnownBaselines:
    return KnownBaselines({each.model: each for each in given})


def record(baseline: Baseline) -> ReferenceMessage:
    return ReferenceMessage(baseline.model, 1, {"": baseline.content_hash})


def test_models_with_equal_baselines_are_expected_to_have_each_its_own_traffic() -> None:
    known, busy, quiet = baseline("4.2"), with_rates("busy", 100), with_rates("quiet", 1)
    this = known_of(known, busy, quiet)
    assert known.content_hash == busy.content_hash == quiet.content_hash
    for each in (known, busy, quiet):
        assert this.given[each.model] is each
        assert this.of(each.model, record(each)) is each


def test_a_file_built_again_with_rates_takes_the_place_of_the_one_without_them() -> None:
    without, new = replace(with_rates("busy", 1), rates=None), with_rates("busy", 100)
    this = known_of(without)
    this.replace({"busy": new})
    assert this.of("busy", record(new)) is new


def test_an_equal_file_loaded_again_changes_nothing_of_how_a_model_is_judged() -> None:
    before, again = with_rates("busy", 100), with_rates("busy", 100)
    this = known_of(before)
    this.replace({"busy": again})
    assert this.of("busy", record(again)) is before
