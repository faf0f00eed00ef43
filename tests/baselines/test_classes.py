"""Classes: which values of a text signal are the same, and that a baseline of format 1 counts them as it always did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Categories, Kind
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline, manifest
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import Event, is_whole

NAME = "prediction"
MIXED: list[Any] = [1, 1.0, "x", "x", 2, True, "1", "2.0", "01", None] * 3
#: Of the baseline of `MIXED` that the version before format 2 built.
HASH = "1d56c817c196c462a36fc592c061bc47b95af1e65d71f58e273d8ad596e566b5"


def build(values: Sequence[Any], format_version: int = 2, kind: Kind | None = None) -> Baseline:
    events = [Event(str(n), n, "m", None, {NAME: value}) for n, value in enumerate(values)]
    kinds = {} if kind is None else {NAME: kind}
    return build_baseline(events, {"model": "m"}, BuildSettings(kinds=kinds, format_version=format_version))


def categories(baseline: Baseline) -> set[Any]:
    coder = baseline.layout.signals[0].coder
    assert isinstance(coder, Categories)
    return set(coder.values)


def codes(baseline: Baseline, *values: Any) -> list[int]:
    """The codes of live values, read by the fast path."""
    batch = [json.dumps({"id": 1, "ts": 1767225600000, "model": "m", NAME: value}).encode() for value in values]
    columns = Decoder({"m": baseline.fields}).decode(batch).known["m"]
    starts = baseline.layout.starts
    return [int(code - starts[0]) for (code,) in baseline.encode(columns)]


def test_a_whole_number_is_one_class_however_its_producer_writes_it() -> None:
    baseline = build(MIXED)
    assert categories(baseline) == {"1", "x", "2", "true", "2.0", "01"}
    one, float_one, text_one, yes, fraction = codes(baseline, 1, 1.0, "1", True, 1.5)
    assert one == float_one == text_one
    assert len({one, yes, fraction}) == 3


def test_texts_that_only_look_alike_are_different_classes() -> None:
    baseline = build(["4", "4.0", "04", "x"] * 3)
    assert len(set(codes(baseline, "4", "4.0", "04", "4.00"))) == 4


def test_beyond_what_floats_can_tell_apart_numbers_stay_as_they_are_written() -> None:
    baseline = build([2**53, 2**53 - 1, 1.0, "x", "y"] * 3, kind=Kind.CATEGORICAL)
    assert len(set(codes(baseline, 2**53, float(2**53)))) == 2
    assert len(set(codes(baseline, 2**53 - 1, float(2**53 - 1)))) == 1
    assert len(set(codes(baseline, 0, -0.0))) == 1


@pytest.mark.parametrize("values", [[True, False, "1", "0"], [True, "1.0", "False"], ["TRUE", "0", False]])
def test_all_spellings_of_a_flag_make_one_flag(values: list[Any]) -> None:
    baseline = build(values * 3)
    assert baseline.layout.signals[0].kind is Kind.BOOLEAN
    assert categories(baseline) == {"false", "true"}
    assert len(set(codes(baseline, True, 1, 1.0, "1", "True"))) == 1


def test_texts_zero_and_one_alone_are_no_flag() -> None:
    baseline = build(["0", "1"] * 5)
    assert categories(baseline) == {"0", "1"}
    assert len(set(codes(baseline, 1, 1.0, "1"))) == 1


def test_classes_that_are_no_numbers_have_nothing_to_unify_and_the_same_hash_in_both_formats() -> None:
    values = ["spam", "ham", "4.5", None] * 3
    assert build(values).content_hash == build(values, 1).content_hash
    assert "whole" not in manifest(build(values))["signals"][0]


def test_a_baseline_of_format_1_counts_as_it_always_did() -> None:
    baseline = build(MIXED, 1)
    assert baseline.content_hash == HASH
    assert categories(baseline) == {"1", "1.0", "x", "2", "true", "2.0", "01"}
    one, float_one, text_one = codes(baseline, 1, 1.0, "1")
    assert one == text_one != float_one
    assert len(set(codes(baseline, 2.0, "2.0"))) == 1


@given(st.lists(st.one_of(st.integers(-3, 3), st.sampled_from([1.0, -0.0, 2.5, "1", "a", True])), min_size=9))
def test_what_is_learned_is_found_again_by_the_fast_path_and_survives_the_file(values: list[Any]) -> None:
    baseline = build([*values, "a", "b"] * 3, kind=Kind.CATEGORICAL)
    again = decode_baseline(encode_baseline(baseline.with_derived()))
    assert again.layout.signals[0].whole is any(map(is_whole, categories(again)))
    assert again.content_hash == baseline.content_hash
    assert max(codes(again, *values)) < again.layout.signals[0].coder.size
