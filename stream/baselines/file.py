"""A baseline as a file: a zip archive that any tool opens (docs/BASELINE.md).

    manifest.json   format, format_version, content_hash, facts (model, version, rows, times, settings, ...), signals
    blocks.npy      uint32 (P, C): code counts of P time-ordered blocks in C columns
    sums.npy        int64 (2, F), extremes.npy float64 (2, F): raw moments of the F numeric signals

Arrays are read without pickle, and the content hash covers signals and arrays, so that a damaged file is refused. Works
on bytes only: `stream.sources.baselines` reads files.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.encoding import DTYPES, array_files, read_array, signal_from_json, signal_to_json

FORMAT, FORMAT_VERSION = "driftline-baseline", 1
#: Enough for 256 blocks of 100,000 columns. An archive whose member claims more is refused before it is unpacked.
MAX_MEMBER_BYTES = 128 << 20


def manifest(baseline: Baseline) -> dict[str, Any]:
    """The baseline's facts and signals as plain JSON data."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "content_hash": baseline.content_hash}
    return {**head, **baseline.about, "signals": list(map(signal_to_json, baseline.layout.signals))}


def encode_baseline(baseline: Baseline) -> bytes:
    """The bytes of the baseline's file; equal baselines give equal bytes."""
    arrays = array_files(baseline.blocks, baseline.total)
    members = {"manifest.json": json.dumps(manifest(baseline), indent=1).encode(), **arrays}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # A fixed date, since the current one would change the bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def decode_baseline(content: bytes) -> Baseline:
    """The baseline in a file's bytes. Raises BaselineError if they are damaged, newer than we read, or no baseline."""
    members = _unzip(content)
    try:
        facts = json.loads(members["manifest.json"])
        _check_format(facts)
        layout = Layout(tuple(signal_from_json(each) for each in facts.pop("signals")))
        blocks, sums, extremes = (read_array(members[name], dtype) for name, dtype in DTYPES.items())
        return _assemble(layout, blocks.astype(np.int64), sums, extremes, facts)
    except BaselineError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(str(error)) from error


def _assemble(
    layout: Layout, blocks: IntArray, sums: IntArray, extremes: FloatArray, manifest: dict[str, Any]
) -> Baseline:
    shapes = (blocks.shape[1:], sums.shape, extremes.shape)
    if shapes != ((layout.width,), (2, len(layout.numeric)), (2, len(layout.numeric))):
        raise _damaged("the arrays do not match the signals")
    counts = blocks.sum(0)
    if not (layout.events(blocks) > 0).all():
        raise _damaged("a block holds no event")
    about = {key: manifest[key] for key in manifest if key not in ("format", "format_version", "content_hash")}
    baseline = Baseline(layout, blocks, Sketch(int(layout.events(counts)), counts, sums, extremes), about)
    if baseline.content_hash != manifest["content_hash"]:
        raise _damaged("the content does not match content_hash")
    return baseline


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


def _unzip(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [archive.getinfo(name) for name in ("manifest.json", *DTYPES)]
            if any(info.file_size > MAX_MEMBER_BYTES for info in infos):
                raise _damaged("an array claims more bytes than a baseline can have")
            return {info.filename: archive.read(info) for info in infos}
    except BaselineError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _damaged(f"{error}; or it is not a baseline") from error
