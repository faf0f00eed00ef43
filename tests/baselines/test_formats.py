"""Format 2 of a baseline's file: what is derived from the blocks stands beside them, and they are read on demand."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import Dependence
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.derived import signal_hashes
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.events.event import Event
from tests.harness.recorded_site import RECORDINGS
from tests.harness.traffic import Driver, draw

RNG = np.random.default_rng(1)
MIXED: dict[str, Any] = {
    "features.amount": RNG.lognormal(size=600),
    "features.country": RNG.choice(["DE", "FR", "IT"], 600),
    "features.unit": np.ones(600),
    "features.trend": np.arange(600) / 100 + RNG.normal(size=600),
}


def build(columns: Mapping[str, Any], **chosen: Any) -> Baseline:
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    events = [Event(str(i), 1000 * i, "m", None, dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)]
    return build_baseline(events, {"model": "m", "version": "4.2"}, BuildSettings(**chosen))


BASELINE = build(MIXED).with_derived()
FILE = encode_baseline(BASELINE)


def members(content: bytes = FILE) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return out.getvalue()


def with_manifest(**changes: Any) -> bytes:
    manifest = json.loads(members()["manifest.json"]) | changes
    kept = {key: value for key, value in manifest.items() if value is not ...}
    return packed({**members(), "manifest.json": json.dumps(kept).encode()})


def same(one: Dependence, other: Dependence) -> bool:
    parts = zip((one.lengths, one.effect, one.floor), (other.lengths, other.effect, other.floor), strict=True)
    return all(np.array_equal(each, its) for each, its in parts)


def derived_anew(baseline: Baseline, against_past: bool) -> Dependence:
    return Dependence.of(Battery(baseline.layout, baseline.total.counts, against_past), baseline.blocks)


def dependence(baseline: Baseline, against_past: bool) -> Dependence:
    return baseline.dependence(Battery(baseline.layout, baseline.total.counts, against_past))


@pytest.mark.parametrize("kept", [BASELINE, BASELINE.without_blocks()], ids=["whole", "without blocks"])
def test_a_file_gives_back_its_baseline_and_is_the_same_every_time(kept: Baseline) -> None:
    file = encode_baseline(kept)
    read = decode_baseline(file)
    assert (read.content_hash, read.total, read.about) == (kept.content_hash, kept.total, kept.about)
    assert [each.range for each in read.layout.signals] == [each.range for each in kept.layout.signals]
    assert read.signal_hashes == kept.signal_hashes
    assert all(same(dependence(read, past), derived_anew(BASELINE, past)) for past in (False, True))
    assert encode_baseline(read) == file


def test_the_blocks_are_read_when_they_are_needed() -> None:
    assert (decode_baseline(FILE).blocks == BASELINE.blocks).all()
    without = {name: part for name, part in members().items() if name != "blocks.npy"}
    read = decode_baseline(packed(without))
    assert same(dependence(read, False), dependence(BASELINE, False))
    with pytest.raises(BaselineError, match=r"damaged baseline: blocks: 'blocks.npy'"):
        _ = read.blocks


@pytest.mark.parametrize("other", [BASELINE.blocks[::-1], BASELINE.blocks[:, ::-1], BASELINE.blocks[:, 1:]])
def test_blocks_of_another_baseline_are_refused_when_they_are_read(other: np.ndarray) -> None:
    blocks = members(encode_baseline(baseline_with(other)))["blocks.npy"]
    with pytest.raises(BaselineError, match="the blocks do not match content_hash"):
        _ = decode_baseline(packed({**members(), "blocks.npy": blocks})).blocks


def baseline_with(blocks: np.ndarray) -> Baseline:
    return Baseline.of(BASELINE.layout, blocks, BASELINE.total, BASELINE.about)


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_anywhere_is_refused_or_means_nothing(bit: int) -> None:
    refused, places = 0, range(0, len(FILE), 97)
    for at in places:
        damaged = bytearray(FILE)
        damaged[at] ^= bit
        try:
            read = decode_baseline(bytes(damaged))
            # Where a section's name is damaged, it is not there; this one decides nothing.
            again = encode_baseline(replace(read, usual=BASELINE.usual))
        except BaselineError:
            refused += 1
        else:
            assert again == FILE
    assert refused > len(places) * 0.9


@given(st.sampled_from(sorted(members().keys() - {"manifest.json"})), st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=60)
def test_a_damaged_member_in_an_intact_archive_is_refused_or_means_nothing(name: str, at: int, byte: int) -> None:
    """The checksums of the archive are right here; only the length of an array's header has no meaning."""
    part = bytearray(members()[name])
    part[at % len(part)] = byte
    try:
        again = encode_baseline(decode_baseline(packed({**members(), name: bytes(part)})))
    except BaselineError:
        return
    assert again == FILE


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ...}, {"model": 7}, {"content_hash": "0" * 64}, {"content_hash": ...}, {"format_version": "two"},
        {"summary_hash": ...}, {"summary_hash": "0" * 64}, {"blocks": ...}, {"derived": []}, {"derived": {}},
        {"derived": {"version": 1}}, {"derived": json.loads(members()["manifest.json"])["derived"] | {"hash": ""}},
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_match_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BaselineError, match="damaged"):
        decode_baseline(with_manifest(**changes))


def test_what_an_other_version_derived_is_derived_anew() -> None:
    facts = json.loads(members()["manifest.json"])["derived"]
    for derived in (..., facts | {"version": 0}, facts | {"version": 99, "hash": "?"}):
        read = decode_baseline(with_manifest(derived=derived))
        assert read.derived is None
        assert same(dependence(read, False), dependence(BASELINE, False))
        assert read.signal_hashes == BASELINE.signal_hashes


def test_nothing_can_be_derived_anew_without_blocks() -> None:
    with pytest.raises(BaselineError, match="stored without its blocks by another Driftline; build it again"):
        decode_baseline(with_manifest(derived=..., blocks=0))
    kept = BASELINE.without_blocks()
    with pytest.raises(BaselineError, match="stored without its blocks; build it again"):
        kept.select_signals(lambda name: name == "features.amount")


def test_what_was_derived_is_pinned_to_its_version() -> None:
    """Whoever changes these figures has to raise DERIVED_VERSION, or stored ones are mixed with others."""
    recorded = decode_baseline((RECORDINGS / "demo.driftline").read_bytes())
    found = [dependence(recorded, past) for past in (False, True)]
    figures = [[each.effect.sum(), each.floor.sum(), *each.effect.shape] for each in found]
    assert figures == [
        pytest.approx([552.5997267571798, 852.3926298618521, 7, 78]),
        pytest.approx([552.3149138647382, 623.0569222309638, 7, 78]),
    ]


def test_a_baseline_in_either_format_judges_alike() -> None:
    """What lies beyond the range is told more exactly; when and why an alarm is raised is the same."""
    rng = np.random.default_rng(5)
    batch, live = ({name: draw(rng, n)[name] for name in ("features.normal_0", "features.t2_0")} for n in (3000, 2000))
    live["features.normal_0"][1000:] *= 100
    told = []
    for version in (1, 2):
        built = replace(build(batch, format_version=version), slopes=None, bins=None, usual=None)  # not in format 1
        driver = Driver(decode_baseline(encode_baseline(built.without_blocks() if version > 1 else built)), pane=100)
        told.append([
            (seen, each.status, [(found.test, found.start, found.evidence, found.threshold) for found in each.findings])
            for seen, each in driver.feed(live)
        ])  # fmt: skip
    assert told[0] == told[1]
    assert told[0]


def test_the_content_hash_of_equal_content_does_not_depend_on_the_format() -> None:
    first = build(MIXED, format_version=1)
    second = first.with_derived()
    files = encode_baseline(first), encode_baseline(second)
    assert [json.loads(members(file)["manifest.json"])["format_version"] for file in files] == [1, 2]
    assert {decode_baseline(file).content_hash for file in files} == {first.content_hash}
    assert first.content_hash != BASELINE.content_hash  # its signals have ranges
    assert (decode_baseline(files[1]).blocks == first.blocks).all()


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.driftline")), ids=lambda path: path.stem)
def test_recorded_files_of_format_1_are_read_and_written_as_they_were(path: Any) -> None:
    recorded = path.read_bytes()
    read = decode_baseline(recorded)
    assert members(encode_baseline(read)) == members(recorded)
    assert read.blocks.sum() == len(read.layout.signals) * read.total.n


def test_a_learned_baseline_of_twenty_signals_takes_a_few_kilobytes() -> None:
    columns = {f"x{i}": RNG.normal(size=2000) for i in range(20)}
    learned = replace(build(columns), usual=None)  # which these do not have
    whole, slim = (len(encode_baseline(each)) for each in (learned, learned.without_blocks()))
    assert slim < 24_000 < whole


@pytest.mark.parametrize("kept", [{"features.amount"}, {"features.trend", "features.country"}])
def test_selected_signals_keep_what_was_derived(kept: set[str]) -> None:
    chosen = decode_baseline(FILE).select_signals(lambda name: name in kept)
    built = build({name: values for name, values in MIXED.items() if name in kept})
    assert chosen.content_hash == built.content_hash
    assert chosen.signal_hashes == built.signal_hashes
    battery, whole = (Battery(each.layout, each.total.counts) for each in (chosen, BASELINE))
    names = [
        [each.layout.signals[column.signal].name for column in its.columns]
        for each, its in ((chosen, battery), (BASELINE, whole))
    ]
    columns = [i for i, name in enumerate(names[1]) if name in kept]
    assert names[0] == [names[1][i] for i in columns]
    assert (chosen.dependence(battery).effect == BASELINE.dependence(whole).effect[:, columns]).all()
    assert encode_baseline(decode_baseline(encode_baseline(chosen))) == encode_baseline(chosen)


def test_a_signal_has_the_same_hash_in_every_baseline_that_judges_it_alike() -> None:
    hashes = BASELINE.signal_hashes
    assert build(MIXED, format_version=1).signal_hashes == hashes
    assert build(dict(reversed(MIXED.items()))).signal_hashes == hashes
    assert len(set(hashes.values())) == len(hashes)
    other = build({**MIXED, "features.amount": MIXED["features.amount"][::-1], "features.new": MIXED["features.trend"]})
    equal = {name for name, value in other.signal_hashes.items() if hashes.get(name) == value}
    assert equal == MIXED.keys() - {"features.amount"}
    assert signal_hashes(other.layout, other.blocks, other.total) == other.signal_hashes
