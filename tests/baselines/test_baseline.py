"""Baselines: what is inferred from events, and that a file gives back its baseline or is refused."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Categories, Grid, Kind, Special
from driftline.detectors.summaries.layout import Signal
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.categories import MAX_CATEGORIES
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.unwatched import Why
from driftline.stream.events.columns import tabulate
from driftline.stream.events.event import Event

START = 1_767_225_600_000  # 2026-01-01


def events(signals: Mapping[str, Sequence[Any]], step: int = 1000) -> list[Event]:
    """One event a second; a signal whose value is `...` is absent."""
    rows = zip(*signals.values(), strict=True)
    return [
        Event(str(i), START + i * step, "m", None, {k: v for k, v in zip(signals, row, strict=True) if v is not ...})
        for i, row in enumerate(rows)
    ]


def build(signals: Mapping[str, Sequence[Any]], **settings: Any) -> Baseline:
    return build_baseline(events(signals), {"model": "m"}, BuildSettings(**settings))


def signal(baseline: Baseline, name: str = "features.x") -> Signal:
    return next(each for each in baseline.layout.signals if each.name == name)


def counts(baseline: Baseline, name: str = "features.x") -> tuple[list[int], dict[str, int]]:
    """Counts of the regular codes of a signal, and of those special ones that occur."""
    s = [each.name for each in baseline.layout.signals].index(name)
    layout, total = baseline.layout, baseline.total.counts
    special = {each.name: int(total[layout.special_column(s, each)]) for each in Special}
    return total[layout.starts[s] :][: layout.sizes[s]].tolist(), {k: n for k, n in special.items() if n}


RNG = np.random.default_rng(1)
MIXED = {
    "features.amount": [*RNG.lognormal(size=299).tolist(), math.nan],
    "features.country": RNG.choice(["DE", "FR", "IT"], 300).tolist(),
    "features.gaps": [None if i % 5 else float(i) for i in range(300)],
    "features.unit": [1.0] * 300,
    "flag": [bool(i % 3) for i in range(300)],
}
FIRST = BuildSettings(format_version=1)
BASELINE = build_baseline(events(MIXED), {"model": "m", "version": "4.2", "seed": 7}, FIRST)
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


@pytest.mark.parametrize(
    ("values", "kind", "numeric"),
    [
        ([1.0, 2.5, None], Kind.NUMERIC, True),
        ([1, 2, 2], Kind.NUMERIC, True),
        ([7, 7.0, None], Kind.CONSTANT, True),
        (["a", "b", "a"], Kind.CATEGORICAL, False),
        (["a", "a", None], Kind.CONSTANT, False),
        ([True, False, True], Kind.BOOLEAN, False),
        (["true", "false", None], Kind.BOOLEAN, False),
        ([True, True, None], Kind.CONSTANT, False),
        (["", "x", ""], Kind.CATEGORICAL, False),
    ],
)
def test_kinds_are_inferred(values: list[Any], kind: Kind, numeric: bool) -> None:
    learned = signal(build({"features.x": values}))
    assert (learned.kind, learned.numeric) == (kind, numeric)


def test_the_more_frequent_type_wins_and_other_values_are_invalid_or_text() -> None:
    assert counts(build({"features.x": [1.0, 2.0, "N/A"]})) == ([0, 1, 0, 1, 0], {"INVALID": 1})
    text = build({"features.x": [1.0, "a", "b", "a", True]})
    assert signal(text).coder == Categories(("a", "1", "b", "true"))
    assert counts(text) == ([2, 1, 1, 1], {})


@pytest.mark.parametrize(
    ("values", "kind", "expected", "regular"),
    [
        ([1, 2, 2], Kind.CATEGORICAL, Categories(("2", "1")), [2, 1]),
        (["x", "x"], Kind.CATEGORICAL, Categories(("x",)), [2]),
        ([True, True], Kind.BOOLEAN, Categories(("false", "true")), [0, 2]),
        ([1, 0, 0], Kind.BOOLEAN, Categories(("0", "1")), [2, 1]),
        (["yes", "no", "maybe", "yes", "no"], Kind.BOOLEAN, Categories(("no", "yes")), [2, 2]),
    ],
)
def test_kinds_can_be_set(values: list[Any], kind: Kind, expected: Categories, regular: list[int]) -> None:
    baseline = build({"features.x": values}, kinds={"features.x": kind})
    assert signal(baseline).coder == expected
    assert counts(baseline)[0] == regular


def test_a_constant_set_to_numeric_is_numeric_and_text_set_to_numeric_is_invalid() -> None:
    kinds = {"features.x": Kind.NUMERIC, "features.y": Kind.NUMERIC}
    baseline = build({"features.x": [3.0] * 5, "features.y": ["a"] * 5}, kinds=kinds)
    assert signal(baseline).kind is Kind.NUMERIC
    assert counts(baseline) == ([0, 5, 0], {})
    assert counts(baseline, "features.y") == ([0], {"INVALID": 5})


def test_what_is_no_value_is_counted_under_its_own_code() -> None:
    values = [1.0, None, ..., math.nan, math.inf, -math.inf, "text", True, [1], 10**400]
    regular, special = counts(build({"features.x": [*values, *range(20)]}))
    assert sum(regular) == 21
    assert special == {"MISSING": 2, "NAN": 1, "POS_INF": 2, "NEG_INF": 1, "INVALID": 3}


def test_signals_that_never_have_a_value_are_left_out() -> None:
    baseline = build({"features.x": [1, 2], "features.null": [None, None], "features.list": [[1], [2]]})
    assert [each.name for each in baseline.layout.signals] == ["features.x"]


@pytest.mark.parametrize("values", [[None] * 3, [...] * 3, []])
def test_events_without_any_value_make_no_baseline(values: list[Any]) -> None:
    with pytest.raises(BaselineError, match="hold no value to learn from"):
        build({"features.x": values})


def test_beyond_255_categories_the_rarer_ones_are_unseen() -> None:
    values = [f"frequent {i % MAX_CATEGORIES}" for i in range(2 * MAX_CATEGORIES)] + [f"rare {i}" for i in range(9)]
    regular, special = counts(build({"features.x": values}))
    assert regular == [2] * MAX_CATEGORIES
    assert special == {"UNSEEN": 9}


@pytest.mark.parametrize(
    "values", [[0.0] * 95 + [1e200] * 5, [1e308, -1e308] * 50, [5e-324, 0.0] * 50, [1e-300, 2e-300] * 9]
)
def test_the_spread_of_extreme_values_is_finite_and_not_zero(values: list[float]) -> None:
    """The variance of the first overflows and of the last underflows: every moment of the signal would be NaN."""
    baseline = build({"features.x": values})
    assert 0 < signal(baseline).spread < math.inf
    moments = baseline.layout.summary(baseline.total, 0)
    assert moments is not None
    assert not math.isnan(moments.mean)
    assert (moments.low, moments.high) == (min(values), max(values))


def test_a_signal_that_hardly_ever_moves_has_the_deviation_as_its_spread() -> None:
    values = [0.0] * 95 + [1.0] * 5
    assert signal(build({"features.x": values})).spread == pytest.approx(np.std(values))


def test_blocks_are_the_events_in_order_of_time_and_add_up() -> None:
    shuffled = events({"features.x": range(1000)})
    np.random.default_rng(2).shuffle(shuffled)
    numeric = {"features.x": Kind.NUMERIC}  # a number that counts up looks like an id
    baseline = build_baseline(shuffled, {"model": "m"}, BuildSettings(blocks=10, max_distinct=1000, kinds=numeric))
    assert (baseline.blocks.sum(0) == baseline.total.counts).all()
    # Each block holds a hundred values that follow each other: atoms stand at odd codes.
    for number, block in enumerate(baseline.blocks):
        assert np.flatnonzero(block).tolist() == list(range(200 * number + 1, 200 * number + 200, 2))


def test_an_unordered_baseline_has_one_block() -> None:
    values = [i % 7 for i in range(500)]
    assert len(build({"features.x": values}, ordered=False).blocks) == 1
    assert len(build({"features.x": values}).blocks) == 256
    assert len(build({"features.x": values[:5]}).blocks) == 5


def test_fields_without_a_signal_are_named_with_the_reason() -> None:
    n = 200
    fields = {
        "features.x": [0.5 * i for i in range(n)],
        "features.empty": [None] * n,
        "features.vector": [[1, 2]] * n,
        "features.box": [{}] * n,
        "features.geo": [{}] * n,
        "features.geo.lat": [float(i % 9) for i in range(n)],
        "features.zip": ["a", "b"] * (n // 2),
        "features.request": [f"id-{i}" for i in range(n)],
        "features.row": range(n),
    }
    built = build(fields, selects=lambda name: name != "features.zip")
    assert [each.name for each in built.layout.signals] == ["features.x", "features.geo.lat"]
    assert built.unwatched == {
        "features.box": "object",
        "features.empty": "null",
        "features.request": "identifier",
        "features.row": "identifier",
        "features.vector": "array",
        "features.zip": "excluded",
    }
    fewer = built.select_signals(lambda name: name == "features.x")
    assert fewer.unwatched == built.unwatched | {"features.geo.lat": "excluded"}
    assert decode_baseline(encode_baseline(fewer)).unwatched == fewer.unwatched


@pytest.mark.parametrize(
    ("values", "watched"),
    [
        ([f"{i}" for i in range(99)], True),  # a table of 99 rows shows no identifier
        ([f"{i}" for i in range(100)], False),
        ([f"{i % 90}" for i in range(100)], True),
        (list(range(100)), False),
        ([None, *range(100)], False),
        ([*range(100), 99], True),  # a count that stands still once
        (list(range(100, 0, -1)), True),
        ([i + 0.5 for i in range(100)], True),
    ],
)
def test_what_looks_like_an_identifier_is_watched_only_on_request(values: list[Any], watched: bool) -> None:
    both = {"features.x": values, "features.y": [1.0, 2.0, 3.0] * 40}
    both["features.y"] = both["features.y"][: len(values)]
    names = [each.name for each in build(both).layout.signals]
    assert ("features.x" in names) == watched
    kind = Kind.CATEGORICAL if isinstance(values[0], str) else Kind.NUMERIC
    assert len(build(both, kinds={"features.x": kind}).layout.signals) == 2


def test_the_manifest_says_what_the_baseline_was_made_of() -> None:
    baseline = build_baseline(
        events({"features.x": [1, 2, 3]}), {"model": "m", "git_commit": "abc"}, BuildSettings(bins=10)
    )
    assert baseline.about == {
        "model": "m",
        "git_commit": "abc",
        "rows": 3,
        "time_from": START,
        "time_to": START + 2000,
        "settings": {"bins": 10, "max_distinct": 256, "ordered": True, "kinds": {}},
    }


def test_selected_signals_are_as_if_there_had_been_no_others() -> None:
    names = ("features.amount", "flag")
    chosen = BASELINE.select_signals(lambda name: name in names)
    built = build_baseline(events({name: MIXED[name] for name in names}), BASELINE.about, FIRST)
    assert chosen.content_hash == built.content_hash
    assert (chosen.total.n, chosen.total) == (built.total.n, built.total)
    assert BASELINE.select_signals(lambda _: True) is BASELINE


def test_a_selection_survives_the_file_whatever_the_order_of_its_array_in_memory() -> None:
    """Columns of a matrix are in Fortran order, which numpy writes with another header and other bytes."""
    chosen = BASELINE.select_signals(lambda name: name != "flag")
    assert decode_baseline(encode_baseline(chosen)).content_hash == chosen.content_hash


def test_selecting_nothing_is_refused() -> None:
    with pytest.raises(BaselineError, match="selects none of the signals in the baseline of 'm'"):
        BASELINE.select_signals(lambda _: False)


def test_events_are_encoded_with_the_codes_of_their_defects() -> None:
    batch = events({"features.amount": ["N/A", 1.0, math.nan], "features.country": ["DE", [1], "XX"]})
    codes = BASELINE.encode(tabulate(BASELINE.fields, list(enumerate(batch))))
    names = [each.name for each in BASELINE.layout.signals]
    amount, country = names.index("features.amount"), names.index("features.country")
    special = BASELINE.layout.special_column
    assert codes[0, amount] == special(amount, Special.INVALID)
    assert codes[2, amount] == special(amount, Special.NAN)
    assert codes[1, country] == special(country, Special.INVALID)
    assert codes[2, country] == special(country, Special.UNSEEN)


def test_a_file_holds_the_baseline_and_is_the_same_every_time() -> None:
    read = decode_baseline(FILE)
    assert read.layout.signals[0].coder.cuts.tolist() == BASELINE.layout.signals[0].coder.cuts.tolist()
    assert (read.blocks == BASELINE.blocks).all()
    assert read.total == BASELINE.total
    assert read.about == {**BASELINE.about}
    assert read.fields == BASELINE.fields
    assert encode_baseline(read) == FILE == encode_baseline(BASELINE)


@given(
    st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=3), st.booleans()), min_size=1, max_size=30),
    st.lists(st.one_of(st.integers(), st.floats()), min_size=1, max_size=30),
)
def test_every_baseline_survives_the_file(mixed: list[Any], numbers: list[float]) -> None:
    n = min(len(mixed), len(numbers))
    baseline = build({"features.x": mixed[:n], "features.y": numbers[:n], "score": [0.5] * n})
    read = decode_baseline(encode_baseline(baseline))
    assert read.content_hash == baseline.content_hash
    assert read.total == baseline.total
    assert encode_baseline(read) == encode_baseline(baseline)


def test_the_file_can_be_read_with_zip_json_and_numpy_alone() -> None:
    with zipfile.ZipFile(io.BytesIO(FILE)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        blocks = np.load(io.BytesIO(archive.read("blocks.npy")), allow_pickle=False)
        sums = np.load(io.BytesIO(archive.read("sums.npy")), allow_pickle=False)
    assert (manifest["format"], manifest["format_version"], manifest["version"]) == ("driftline-baseline", 1, "4.2")
    assert manifest["content_hash"] == BASELINE.content_hash
    # The documented layout: codes of all signals back to back, then six special ones a signal.
    sizes = [len(each["cuts"]) + 1 if "cuts" in each else len(each["categories"]) for each in manifest["signals"]]
    assert blocks.shape == (256, sum(sizes) + 6 * len(sizes))
    names = [each["name"] for each in manifest["signals"]]
    first, country = sum(sizes[: names.index("features.country")]), manifest["signals"][names.index("features.country")]
    shares = dict(zip(country["categories"], blocks.sum(0)[first:].tolist(), strict=False))
    assert shares == {value: MIXED["features.country"].count(value) for value in ("DE", "FR", "IT")}
    numeric = [each for each in manifest["signals"] if each["numeric"]]
    gaps = [each["name"] for each in numeric].index("features.gaps")
    mean = numeric[gaps]["center"] + numeric[gaps]["spread"] * sums[0, gaps] / 2**16 / 60
    assert mean == pytest.approx(np.mean([value for value in MIXED["features.gaps"] if value is not None]), abs=0.01)


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_anywhere_is_refused_or_means_nothing(bit: int) -> None:
    """What an archive does not check, such as the date of a member, is no part of the baseline."""
    refused = 0
    for at in range(0, len(FILE), 3):
        damaged = bytearray(FILE)
        damaged[at] ^= bit
        try:
            read = decode_baseline(bytes(damaged))
        except BaselineError:
            refused += 1
        else:
            assert encode_baseline(read) == FILE
    assert refused > len(FILE) / 3 * 0.9


def test_a_file_cut_off_anywhere_is_refused() -> None:
    for length in range(0, len(FILE), 7):
        with pytest.raises(BaselineError, match="copy it again or rebuild it"):
            decode_baseline(FILE[:length])


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BaselineError):
        decode_baseline(content)


@given(st.sampled_from(["blocks.npy", "sums.npy", "extremes.npy"]), st.integers(0, 127), st.integers(0, 255))
def test_a_damaged_array_in_an_intact_archive_is_refused_or_means_nothing(name: str, at: int, byte: int) -> None:
    """The checksums of the archive are right here; only the length of an array's header has no meaning."""
    array = bytearray(members()[name])
    array[at] = byte
    try:
        read = decode_baseline(packed({**members(), name: bytes(array)}))
    except BaselineError:
        return
    assert encode_baseline(read) == FILE
    assert array == members()[name] or at in (8, 9)


def test_a_wide_baseline_has_fewer_blocks_so_that_it_can_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file was once written, and refused as damaged when it was read."""
    monkeypatch.setattr("driftline.stream.baselines.build.MAX_MEMBER_BYTES", 1 << 20)
    wide = {f"x{i}": np.arange(300) % 255 + i / 7 for i in range(40)}
    built = build(wide, max_distinct=300)
    assert 16 <= len(built.blocks) < 256
    assert decode_baseline(encode_baseline(built)).content_hash == built.content_hash
    with pytest.raises(
        BaselineError, match=r"a baseline of 120 signals .* at most 1 MiB can be read back; watch fewer"
    ):
        build({f"x{i}": np.arange(300) % 255 + i / 7 for i in range(120)}, max_distinct=300)
    with pytest.raises(BaselineError, match=r"a baseline of 4,000 signals with 60,000 codes takes 3 MiB"):
        build({f"x{i}": [1.5, 2.5, 4.0, 8.0] * 3 for i in range(4000)})


def test_the_commonest_names_are_watched_and_ties_go_by_name() -> None:
    counts = {"d": 3, "c": 2, "b": 2, "a": 1}
    signals = {f"features.{name}": [1.5, 2.5, 4.0][:count] + [...] * (3 - count) for name, count in counts.items()}
    built = build(signals, most=2)
    assert built.names == {"features.d", "features.b"}
    assert built.left_out == {Why.SURPLUS: 2}
    assert build(signals).left_out == {}


def test_a_name_that_is_in_hardly_any_event_is_counted_and_not_watched() -> None:
    """An id in a name; each would be a signal that says nothing and takes its share of the false alarms."""
    values: dict[str, list[Any]] = {"features.x": list(range(0, 1000, 5))}
    values |= {f"features.user_{i}": [...] * i + [1.0] + [...] * (199 - i) for i in range(200)}
    built = build(values, kinds={"features.user_7": Kind.NUMERIC})
    assert built.names == {"features.user_7"}, "x counts up, so it looks like an identifier"
    assert built.left_out == {Why.RARE: 199}
    assert decode_baseline(encode_baseline(built)).left_out == built.left_out
    del values["features.x"]
    with pytest.raises(BaselineError, match=r"no signal of model .* has a value in 5 of its 200 events, as when names"):
        build(values)
    small = build({"features.x": [1.5, ..., 2.5], "features.y": [..., 3.0, ...]})
    assert small.names == {"features.x", "features.y"}, "of a small sample, nothing is rare"


def test_a_text_counts_by_its_beginning() -> None:
    """A baseline must not keep 255 documents, and one that differs at the end is hardly another category."""
    long = ["a" * 5000, "b" * 5000, "a" * 4000]
    built = build({"features.x": long * 50})
    assert signal(built).coder == Categories(("a" * 1000, "b" * 1000))
    live = built.sketch_events(events({"features.x": ["a" * 3000, "b" * 1000, "b" * 999]}))
    layout = built.layout
    assert live.counts[layout.starts[0] :][:2].tolist() == [1, 1]
    assert live.counts[layout.special_column(0, Special.UNSEEN)] == 1


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([None, 1.5, "x"])), min_size=1),
    st.integers(1, 4),
)
def test_no_more_signals_are_watched_than_allowed_and_all_names_are_accounted_for(
    rows: list[dict[str, Any]], most: int
) -> None:
    sample = [Event(str(i), START + i, "m", None, row) for i, row in enumerate(rows)]
    try:
        built = build_baseline(sample, {"model": "m"}, BuildSettings(most=most))
    except BaselineError:
        return
    valued = {name for row in rows for name, value in row.items() if value is not None}
    assert len(built.names) <= most
    assert len(built.names) + sum(built.left_out.values()) == len(valued)


def test_an_array_that_claims_more_than_it_holds_is_refused_before_memory_is_allocated() -> None:
    head = b"{'descr': '<u4', 'fortran_order': False, 'shape': (999999999, 999999999), }"
    claim = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\n"
    with pytest.raises(BaselineError, match="damaged"):
        decode_baseline(packed({**members(), "blocks.npy": claim}))


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = packed({**members(), "blocks.npy": bytes(129 << 20)})
    assert len(bomb) < 1 << 20
    with pytest.raises(BaselineError, match="claims more bytes than a baseline can have"):
        decode_baseline(bomb)


def test_a_block_without_an_event_is_refused_though_its_content_hash_is_right() -> None:
    """The judge divided by the number of its events, and a worker with such a baseline ended at its first pane."""
    blocks = BASELINE.blocks * (np.arange(len(BASELINE.blocks)) > 0)[:, None]
    total = replace(BASELINE.total, counts=blocks.sum(0))
    with pytest.raises(BaselineError, match="a block holds no event"):
        decode_baseline(encode_baseline(Baseline.of(BASELINE.layout, blocks, total, BASELINE.about)))
    ranged = build(MIXED).layout
    with pytest.raises(BaselineError, match="a block holds no event"):
        _ = decode_baseline(encode_baseline(Baseline.of(ranged, blocks, total, BASELINE.about))).blocks


def test_a_newer_file_is_refused_and_advises_an_upgrade() -> None:
    with pytest.raises(BaselineError, match="format 4 is newer than 3, the one this Driftline reads; upgrade"):
        decode_baseline(with_manifest(format_version=4))


def test_a_zip_of_something_else_is_refused() -> None:
    with pytest.raises(BaselineError, match="not a Driftline baseline"):
        decode_baseline(with_manifest(format="word"))
    with pytest.raises(BaselineError, match=r"'manifest\.json' is missing, or it is no baseline"):
        decode_baseline(packed({"hello.txt": b"hello"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ...},
        {"model": 7},
        {"content_hash": "0" * 64},
        {"content_hash": ...},
        {"format_version": "one"},
        {"signals": []},
        {"signals": ...},
        {"signals": "x"},
        {"signals": json.loads(members()["manifest.json"])["signals"][::-1]},
        {"signals": json.loads(members()["manifest.json"])["signals"][:2]},
    ],
)
def test_a_manifest_that_does_not_match_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BaselineError, match="damaged"):
        decode_baseline(with_manifest(**changes))


@pytest.mark.parametrize("manifest", [b"[]", b"[" * 100_000, b"null", b"\xff", b"{}"])
def test_other_json_than_a_manifest_is_refused(manifest: bytes) -> None:
    with pytest.raises(BaselineError):
        decode_baseline(packed({**members(), "manifest.json": manifest}))


def test_the_content_hash_covers_signals_and_counts_but_not_the_facts() -> None:
    other_facts = build_baseline(events(MIXED), {"model": "m", "version": "5"}, FIRST)
    assert other_facts.content_hash == BASELINE.content_hash
    other_data = build_baseline(events({**MIXED, "flag": [True] * 300}), BASELINE.about, FIRST)
    assert other_data.content_hash != BASELINE.content_hash


def test_grids_are_read_as_grids() -> None:
    kinds = {each.name: type(each.coder) for each in decode_baseline(FILE).layout.signals}
    assert kinds["features.amount"] is Grid
    assert kinds["features.unit"] is kinds["flag"] is Categories
