"""A baseline as a file: a zip archive that any tool opens (docs/BASELINE.md).

    manifest.json   format, format_version, content_hash, facts (model, version, rows, times, settings, ...), signals
    blocks.npy      uint32 (P, C): code counts of P time-ordered blocks in C columns
    sums.npy        int64 (2, F), extremes.npy float64 (2, F): raw moments of the F numeric signals

Arrays are read with pickling off; the content hash covers signals and arrays, so a damaged file is refused. Bytes in,
bytes out: `stream.sources.baselines` reads files.
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
from driftline.stream.baselines.encoding import DTYPES, array_files, array_of, signal_from_json, signal_to_json

FORMAT, FORMAT_VERSION = "driftline-baseline", 1
# No honest baseline is larger: 256 blocks of 100,000 columns. A zip that claims more is refused before it is unpacked.
_MAX_MEMBER_BYTES = 128 << 20


def encode_baseline(baseline: Baseline) -> bytes:
    """The file's bytes; the same baseline gives the same bytes."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "content_hash": baseline.content_hash}
    manifest = {**head, **baseline.about, "signals": list(map(signal_to_json, baseline.layout.signals))}
    arrays = array_files(baseline.blocks, baseline.total)
    members = {"manifest.json": json.dumps(manifest, indent=1).encode(), **arrays}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # A fixed date, or the same baseline would give other bytes a second later.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def decode_baseline(content: bytes) -> Baseline:
    """The baseline in a file's bytes; BaselineError if it is damaged, newer than this Driftline, or no baseline."""
    members = _unzip(content)
    try:
        manifest = json.loads(members["manifest.json"])
        _check_format(manifest)
        layout = Layout(tuple(signal_from_json(each) for each in manifest.pop("signals")))
        blocks, sums, extremes = (array_of(members[name], dtype) for name, dtype in DTYPES.items())
        return _assemble(layout, blocks.astype(np.int64), sums, extremes, manifest)
    except BaselineError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(str(error)) from error


def _assemble(
    layout: Layout, blocks: IntArray, sums: IntArray, extremes: FloatArray, manifest: dict[str, Any]
) -> Baseline:
    shapes = (blocks.shape[1:], sums.shape, extremes.shape)
    if shapes != ((layout.width,), (2, len(layout.numeric)), (2, len(layout.numeric))):
        raise _damaged("its arrays do not fit its signals")
    counts = blocks.sum(0)
    about = {key: manifest[key] for key in manifest if key not in ("format", "format_version", "content_hash")}
    baseline = Baseline(layout, blocks, Sketch(int(layout.events(counts)), counts, sums, extremes), about)
    if baseline.content_hash != manifest["content_hash"]:
        raise _damaged("its content does not match its content_hash")
    return baseline


def _damaged(what: str) -> BaselineError:
    return BaselineError(f"damaged baseline: {what}; copy it again or build it anew")


def _check_format(manifest: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BaselineError("no Driftline baseline: its manifest.json does not say so")
    version = manifest["format_version"]
    if version > FORMAT_VERSION:
        raise BaselineError(f"baseline format {version} is newer than this Driftline reads ({FORMAT_VERSION}): upgrade")
    if not isinstance(manifest["model"], str):
        raise _damaged("its model has no name")


def _unzip(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [archive.getinfo(name) for name in ("manifest.json", *DTYPES)]
            if any(info.file_size > _MAX_MEMBER_BYTES for info in infos):
                raise _damaged("it claims more than a baseline can hold")
            return {info.filename: archive.read(info) for info in infos}
    except BaselineError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _damaged(f"{error}; or it is none") from error
