"""A baseline as a file: a zip archive that any tool opens (docs/BASELINE.md).

    manifest.json   format, format_version, content_hash, facts (model, version, rows, times, settings, ...)
    signals.json    how each signal's values become codes
    counts.npy      (1, C): code counts of all events in C columns
    sums.npy        int64 (2, F), extremes.npy float64 (2, F): raw moments of the F numeric signals
    blocks.npy      (P, C): code counts of P time-ordered blocks
    dependence_baseline.npy, dependence_past.npy   what is derived from the blocks
    rates.npy       how many events come in each hour of the week, if the baseline was made of all
    cycle_*.npy     what is expected by phase of a day or a week, if five or more were seen: `stream.baselines.cycles`
    slopes.npy      how much each signal varies by itself, if the blocks tell: `stream.baselines.slopes`
    bins.npy        how much its single bins vary by themselves, if it has slopes or cycles: `stream.baselines.bins`
    usual.npy       how different its stretches are from the rest of it: `stream.baselines.usual`
    outcomes.npy    tables of outcomes of time-ordered blocks of rows with labels: `stream.baselines.outcomes`

This is format 3. Format 2 is the same without signals of groups. Format 1 has the signals in the manifest and
blocks, sums and extremes alone. A baseline is written in the least format that can hold it, so that earlier versions
read it.

Arrays are read without pickle. Blocks are read by those who need them, and checked then against the content hash, which
covers signals and arrays; a hash of the rest is checked at once, so that nothing is used of a damaged file. Works on
bytes only: `stream.sources.baselines` reads files.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.bins import BINS_FILE, dispersions_from
from driftline.stream.baselines.cycles import CYCLES_FILES, cycles_from
from driftline.stream.baselines.derived import DERIVED_FILES, DERIVED_VERSION, derived_from
from driftline.stream.baselines.encoding import (
    COUNTS,
    DTYPES,
    array_file,
    array_files,
    content_hash,
    counts_file,
    read_array,
    signal_from_json,
    signal_to_json,
    signals_file,
)
from driftline.stream.baselines.outcomes import OUTCOMES_FILE, outcomes_from
from driftline.stream.baselines.rates import RATES_FILE, rates_facts, rates_file, rates_from
from driftline.stream.baselines.slopes import SLOPES_FILE, slopes_from
from driftline.stream.baselines.usual import USUAL_FILE, usual_from

FORMAT, FORMAT_VERSION = "driftline-baseline", 3
#: Enough for 256 blocks of 100,000 columns. An archive whose member claims more is refused before it is unpacked.
MAX_MEMBER_BYTES = 128 << 20
# What the summary hash covers beside the content hash.
_SUMMARY = ("signals.json", "counts.npy", "sums.npy", "extremes.npy")
_BLOCKS = "blocks.npy"
# What the manifest holds beside the facts.
_NO_FACTS = (
    "format",
    "format_version",
    "content_hash",
    "summary_hash",
    "blocks",
    "derived",
    "rates",
    "cycles",
    "slopes",
    "bins",
    "usual",
    "outcomes",
    "signals",
)


def manifest(baseline: Baseline) -> dict[str, Any]:
    """The baseline's facts and signals as plain JSON data."""
    return {**_head(baseline), **baseline.about, "signals": list(map(signal_to_json, baseline.layout.signals))}


def encode_baseline(baseline: Baseline) -> bytes:
    """The bytes of the baseline's file; equal baselines give equal bytes."""
    members = _members(baseline) if _format(baseline) > 1 else _first_members(baseline)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # A fixed date, since the current one would change the bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _format(baseline: Baseline) -> int:
    """The least version of the format that holds all of a baseline."""
    if baseline.layout.groups:
        return 3
    later = any(signal.range is not None or signal.whole for signal in baseline.layout.signals)
    judged = (baseline.derived, baseline.rates, baseline.cycles, baseline.slopes, baseline.bins)
    parts = (*judged, baseline.usual, baseline.outcomes)
    return 2 if later or any(each is not None for each in parts) or baseline.read_blocks is None else 1


def _head(baseline: Baseline) -> dict[str, Any]:
    return {"format": FORMAT, "format_version": _format(baseline), "content_hash": baseline.arrays_hash}


def _first_members(baseline: Baseline) -> dict[str, bytes]:
    """The members of a file of format 1."""
    arrays = array_files(baseline.blocks, baseline.total)
    return {"manifest.json": json.dumps(manifest(baseline), indent=1).encode(), **arrays}


def _members(baseline: Baseline) -> dict[str, bytes]:
    """The members of a file of format 2 or 3."""
    total, derived, cycles, slopes = baseline.total, baseline.derived, baseline.cycles, baseline.slopes
    blocks = baseline.blocks if baseline.read_blocks else None
    rates = {} if baseline.rates is None else {RATES_FILE: rates_file(baseline.rates)}
    bins, usual, outcomes = baseline.bins, baseline.usual, baseline.outcomes
    summary = {
        "signals.json": signals_file(baseline.layout),
        "counts.npy": counts_file(total.counts[None]),
        "sums.npy": array_file(total.sums, DTYPES["sums.npy"]),
        "extremes.npy": array_file(total.extremes, DTYPES["extremes.npy"]),
    }
    facts = {
        **_head(baseline),
        "summary_hash": _summary_hash(baseline.arrays_hash, summary),
        "blocks": 0 if blocks is None else len(blocks),
        **({"derived": derived.facts()} if derived else {}),
        **({"rates": rates_facts(rates[RATES_FILE])} if rates else {}),
        **({"cycles": cycles.facts()} if cycles else {}),
        **({"slopes": slopes.facts()} if slopes else {}),
        **({"bins": bins.facts()} if bins else {}),
        **({"usual": usual.facts()} if usual else {}),
        **({"outcomes": outcomes.manifest()} if outcomes else {}),
        **baseline.about,
    }
    return {
        "manifest.json": json.dumps(facts, indent=1).encode(),
        **summary,
        **({} if blocks is None else {_BLOCKS: counts_file(blocks)}),
        **(derived.files() if derived else {}),
        **rates,
        **(cycles.files() if cycles else {}),
        **({SLOPES_FILE: slopes.file()} if slopes else {}),
        **({BINS_FILE: bins.file()} if bins else {}),
        **({USUAL_FILE: usual.file()} if usual else {}),
        **({OUTCOMES_FILE: outcomes.file()} if outcomes else {}),
    }


def _summary_hash(content: str, members: Mapping[str, bytes]) -> str:
    """SHA-256, in hex, of what is used without the blocks."""
    return hashlib.sha256(b"".join([content.encode(), *(members[name] for name in _SUMMARY)])).hexdigest()


def decode_baseline(content: bytes) -> Baseline:
    """The baseline in a file's bytes. Raises BaselineError if they are damaged, newer than we read, or no baseline."""
    extras = (*DERIVED_FILES, RATES_FILE, *CYCLES_FILES, SLOPES_FILE, BINS_FILE, USUAL_FILE, OUTCOMES_FILE)
    members = _unzip(content, ("manifest.json", *_SUMMARY, *extras))
    try:
        facts = json.loads(members["manifest.json"])
        _check_format(facts)
        return _decode_first(content, facts) if facts["format_version"] == 1 else _decode(content, facts, members)
    except BaselineError:
        raise
    except KeyError as missing:
        raise _damaged(f"{missing} is missing, or it is no baseline") from missing
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(str(error)) from error


def _decode_first(content: bytes, facts: Mapping[str, Any]) -> Baseline:
    """The baseline in a file of format 1."""
    layout, members = _layout(facts["signals"]), _unzip(content, DTYPES)
    blocks = read_array(members[_BLOCKS], DTYPES[_BLOCKS])
    baseline = _assemble(layout, blocks.sum(0, dtype=np.int64), members, facts)
    _check_blocks(layout, blocks)
    if content_hash(signals_file(layout), blocks, baseline.total) != baseline.arrays_hash:
        raise _damaged("the content does not match content_hash")
    return replace(baseline, read_blocks=partial(_read_blocks, content, baseline))


def _decode(content: bytes, facts: Mapping[str, Any], members: Mapping[str, bytes]) -> Baseline:
    """The baseline in a file of format 2 or 3, whose blocks are not read yet."""
    if facts["summary_hash"] != _summary_hash(facts["content_hash"], members):
        raise _damaged("the content does not match summary_hash")
    layout = _layout(json.loads(members["signals.json"]))
    (counts,) = read_array(members["counts.npy"], *COUNTS).astype(np.int64)
    baseline = _assemble(layout, counts, members, facts)
    if "derived" in facts and facts["derived"]["version"] == DERIVED_VERSION:
        baseline = replace(baseline, derived=derived_from(facts["derived"], members, layout))
    if "rates" in facts:
        baseline = replace(baseline, rates=rates_from(facts["rates"], members[RATES_FILE]))
    if "cycles" in facts:
        baseline = replace(baseline, cycles=cycles_from(facts["cycles"], members, layout, counts))
    if "slopes" in facts:
        baseline = replace(baseline, slopes=slopes_from(facts["slopes"], members, layout, counts))
    if "bins" in facts:
        baseline = replace(baseline, bins=dispersions_from(facts["bins"], members, layout, counts))
    # What is usual of signals with phases was measured by these.
    if "usual" in facts and (baseline.cycles is not None or "cycles" not in facts):
        baseline = replace(baseline, usual=usual_from(facts["usual"], members, layout))
    if "outcomes" in facts:
        outcomes = outcomes_from(facts["outcomes"], members[OUTCOMES_FILE], baseline.total.n)
        baseline = replace(baseline, outcomes=outcomes)
    if not facts["blocks"] and not baseline.derived:
        raise BaselineError("the baseline was stored without its blocks by another Driftline; build it again")
    return replace(baseline, read_blocks=partial(_read_blocks, content, baseline)) if facts["blocks"] else baseline


def _assemble(layout: Layout, counts: IntArray, members: Mapping[str, bytes], facts: Mapping[str, Any]) -> Baseline:
    """The baseline without blocks. counts: (C,) of all events."""
    sums, extremes = (read_array(members[name], DTYPES[name]) for name in ("sums.npy", "extremes.npy"))
    moments = (2, len(layout.numeric))
    if (counts.shape, sums.shape, extremes.shape) != ((layout.width,), moments, moments):
        raise _damaged("the arrays do not match the signals")
    total = Sketch(int(layout.events(counts)), counts, sums, extremes)
    about = {key: facts[key] for key in facts if key not in _NO_FACTS}
    return Baseline(layout, total, about, facts["content_hash"], None)


def _layout(signals: Iterable[Mapping[str, Any]]) -> Layout:
    layout = Layout(tuple(map(signal_from_json, signals)))
    texts = {layout.signals[s].name for s in layout.nominal}
    grouped = [each for each in layout.signals if each.groups_of is not None]
    fit = all(each.groups_of in texts and not each.numeric and not each.ordered and each.size > 1 for each in grouped)
    if not fit or len({each.groups_of for each in grouped}) < len(grouped):
        raise ValueError("signals of groups do not match those of their texts")
    return layout


def _read_blocks(content: bytes, baseline: Baseline) -> IntArray:
    """The blocks (P, C) in a file's bytes. Raises BaselineError if they are not those of the content hash."""
    try:
        blocks: IntArray = read_array(_unzip(content, [_BLOCKS])[_BLOCKS], *COUNTS).astype(np.int64)
    except (KeyError, ValueError) as error:
        raise _damaged(f"blocks: {error}") from error
    if (
        blocks.shape[1:] != baseline.total.counts.shape
        or (blocks.sum(0) != baseline.total.counts).any()
        or (content_hash(signals_file(baseline.layout), blocks, baseline.total) != baseline.arrays_hash)
    ):
        raise _damaged("the blocks do not match content_hash")
    _check_blocks(baseline.layout, blocks)
    return blocks


def _check_blocks(layout: Layout, blocks: IntArray) -> None:
    if not (layout.events(blocks) > 0).all():
        raise _damaged("a block holds no event")


def _damaged(what: str) -> BaselineError:
    return BaselineError(f"damaged baseline: {what}; copy it again or rebuild it")


def _check_format(manifest: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BaselineError(f"not a Driftline baseline: `format` in manifest.json is not {FORMAT!r}")
    version = manifest["format_version"]
    if version > FORMAT_VERSION:
        raise BaselineError(
            f"baseline format {version} is newer than {FORMAT_VERSION}, the one this Driftline reads; upgrade Driftline"
        )
    if not isinstance(manifest["model"], str):
        raise _damaged("`model` in manifest.json is not a text")


def _unzip(content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Those of these members that the archive has."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [archive.getinfo(name) for name in names if name in archive.NameToInfo]
            if any(info.file_size > MAX_MEMBER_BYTES for info in infos):
                raise _damaged("an array claims more bytes than a baseline can have")
            return {info.filename: archive.read(info) for info in infos}
    except BaselineError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _damaged(f"{error}; or it is not a baseline") from error
