"""The baseline: the reference distribution of every signal of one model, and exactly which model and data that is.

Built from events, it keeps its sketches in time order (`blocks`), not only their total, so that thresholds can be taken
from its own variation. As a file it is a zip archive that any tool opens (docs/BASELINE.md):

    manifest.json   format, format_version, content_hash, facts (model, version, rows, times, settings, ...), signals
    blocks.npy      uint32 (P, C): code counts of P time-ordered blocks in C columns
    sums.npy        int64 (2, F), extremes.npy float64 (2, F): raw moments of the F numeric signals

Arrays are read with pickling off; the content hash covers signals and arrays, so a damaged file is refused. No file I/O
here.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from driftline.detectors.summaries.codes import (
    BINS,
    MAX_DISTINCT,
    Categories,
    Coder,
    FloatArray,
    Grid,
    IntArray,
    Kind,
    quantiles,
)
from driftline.detectors.summaries.layout import Layout, Signal, Sketch
from driftline.stream.events.event import Columns, Event, Field, infer_fields, tabulate

FORMAT, FORMAT_VERSION = "driftline-baseline", 1
# Known values a nominal signal keeps, most frequent first; rarer ones count as unseen, in the baseline too. Identifiers
# have more, and nothing to say by single values.
MAX_CATEGORIES = 255
# Time-ordered blocks kept: windows are compared in lengths from one block to a quarter of the baseline, seven octaves.
BLOCKS = 256
_BOOLEAN = ("false", "true")
# No honest baseline is larger: 256 blocks of 100,000 columns. A zip that claims more is refused before it is unpacked.
_MAX_MEMBER_BYTES = 128 << 20
_DTYPES = {"blocks.npy": "<u4", "sums.npy": "<i8", "extremes.npy": "<f8"}
# The one kind of .npy that is written: numpy's own reader evaluates the header and allocates whatever it claims.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<u4|<i8|<f8)', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}), (\d{1,9})\), \} *\n",
    re.DOTALL,
)


class BaselineError(ValueError):
    """A baseline that cannot be built or read, and why."""


def _anything(name: str) -> bool:  # noqa: ARG001 # the signature of a selection
    return True


@dataclass(frozen=True, slots=True)
class Settings:
    """How a baseline is built.

    ordered: the events' times are those of the traffic, so that blocks of them show how it varies. kinds: by signal
    name, instead of what would be inferred. selects: which signals, by name.
    """

    bins: int = BINS
    max_distinct: int = MAX_DISTINCT
    blocks: int = BLOCKS
    ordered: bool = True
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    selects: Callable[[str], bool] = _anything


@dataclass(frozen=True, eq=False)
class Baseline:
    """The reference of one model. blocks: (P, C) counts in time order; total: their sum with raw moments.

    about: the manifest's facts, plain JSON data; "learned" where it was taken from the model's first live events.
    """

    layout: Layout
    blocks: IntArray
    total: Sketch
    about: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model it describes."""
        return str(self.about["model"])

    @cached_property
    def content_hash(self) -> str:
        """sha256 of signals and arrays, hex: two baselines with the same hash judge alike."""
        return hashlib.sha256(b"".join([_canonical(self._signals()), *self._arrays().values()])).hexdigest()

    @property
    def fields(self) -> tuple[Field, ...]:
        """What the decoder has to read from an event, in the layout's order."""
        return tuple(Field(signal.name, signal.numeric) for signal in self.layout.signals)

    def only(self, selects: Callable[[str], bool]) -> Baseline:
        """The baseline of the signals whose names `selects` says; BaselineError if that leaves none."""
        kept = [s for s, signal in enumerate(self.layout.signals) if selects(signal.name)]
        if len(kept) == len(self.layout.signals):
            return self
        if not kept:
            raise BaselineError(f"no signal of the baseline of {self.model!r} is selected by `signals`")
        layout = Layout(tuple(self.layout.signals[s] for s in kept))
        columns = np.flatnonzero(np.isin(self.layout.signal_of_column, kept))
        numeric = [index for index, s in enumerate(self.layout.numeric) if s in kept]
        sums, extremes = self.total.sums[:, numeric], self.total.extremes[:, numeric]
        return Baseline(
            layout,
            self.blocks[:, columns],
            Sketch(self.total.n, self.total.counts[columns], sums, extremes),
            self.about,
        )

    def encode(self, columns: Columns) -> IntArray:
        """Layout columns (n, S) of decoded events, with the codes of their defects."""
        codes = self.layout.encode(columns.numeric, columns.texts)
        row_of = {int(position): row for row, position in enumerate(columns.position)} if columns.defects else {}
        names = {signal.name: s for s, signal in enumerate(self.layout.signals)}
        for defect in columns.defects:
            s = names[defect.signal]
            codes[row_of[defect.position], s] = self.layout.special_column(s, defect.code)
        return codes

    def _signals(self) -> list[dict[str, Any]]:
        return [_signal_to_json(signal) for signal in self.layout.signals]

    def _arrays(self) -> dict[str, bytes]:
        arrays = zip(_DTYPES.items(), (self.blocks, self.total.sums, self.total.extremes), strict=True)
        return {name: _npy(array.astype(dtype, order="C")) for (name, dtype), array in arrays}

    def to_bytes(self) -> bytes:
        """The file's bytes; the same baseline gives the same bytes."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "content_hash": self.content_hash}
        manifest = {**head, **self.about, "signals": self._signals()}
        members = {"manifest.json": json.dumps(manifest, indent=1).encode(), **self._arrays()}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                # A fixed date, or the same baseline would give other bytes a second later.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Baseline:
        """The baseline in a file's bytes; BaselineError if it is damaged, newer than this Driftline, or no baseline."""
        members = _unzip(content)
        try:
            manifest = json.loads(members["manifest.json"])
            _check_format(manifest)
            layout = Layout(tuple(_signal_from_json(each) for each in manifest.pop("signals")))
            blocks, sums, extremes = (_array(members[name], dtype) for name, dtype in _DTYPES.items())
            return _assemble(layout, blocks.astype(np.int64), sums, extremes, manifest)
        except BaselineError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(str(error)) from error


def build_baseline(events: Sequence[Event], about: Mapping[str, Any], settings: Settings = Settings()) -> Baseline:
    """The baseline of a sample of one model's events, in time order; BaselineError if there is nothing to learn from.

    about: facts for the manifest; "model" is required. Rows, times and settings are added.
    """
    ordered = sorted(events, key=lambda event: event.ts) if settings.ordered else list(events)
    rows = list(enumerate(ordered))
    fields = _fields(ordered, settings)
    if not fields:
        raise BaselineError(f"{len(events)} events of model {about['model']!r} hold no value to learn from")
    layout = Layout.of(_fit(tabulate(fields, rows), fields, settings))
    draft = Baseline(layout, np.empty((0, layout.width), np.int64), layout.empty(), {})
    columns = tabulate(draft.fields, rows)
    codes = draft.encode(columns)
    parts = np.array_split(codes, min(settings.blocks, len(codes)) if settings.ordered else 1)
    blocks = np.stack([np.bincount(part.ravel(), minlength=layout.width) for part in parts])
    times = {"time_from": int(columns.ts.min()), "time_to": int(columns.ts.max())}
    chosen = {"bins": settings.bins, "max_distinct": settings.max_distinct, "ordered": settings.ordered}
    facts = {**about, "rows": len(codes), **times, "settings": {**chosen, "kinds": dict(settings.kinds)}}
    return Baseline(layout, blocks, layout.sketch(codes, columns.numeric), facts)


def _fields(events: Sequence[Event], settings: Settings) -> list[Field]:
    """How to read each selected signal: as it looks, or as its kind was set."""
    fields = []
    for each in infer_fields(events):
        kind = settings.kinds.get(each.name)
        if settings.selects(each.name):
            fields.append(each if kind is None else Field(each.name, kind is Kind.NUMERIC))
    return fields


def _fit(columns: Columns, fields: Sequence[Field], settings: Settings) -> list[Signal]:
    numeric, texts = ([each.name for each in fields if each.numeric is wanted] for wanted in (True, False))
    return [
        *(_fit_numeric(name, values, settings) for name, values in zip(numeric, columns.numeric.T, strict=True)),
        *(_fit_text(name, values, settings) for name, values in zip(texts, columns.texts, strict=True)),
    ]


def _fit_numeric(name: str, values: FloatArray, settings: Settings) -> Signal:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Signal(name, Kind.NUMERIC, Grid(np.empty(0)), numeric=True)
    low, center, high = quantiles(finite, [0.1, 0.5, 0.9]).tolist()
    largest = float(np.abs(finite).max()) or 1.0
    if finite.min() == finite.max() and settings.kinds.get(name) is not Kind.NUMERIC:
        return Signal(name, Kind.CONSTANT, Categories((center,)), numeric=True, center=center, spread=largest)
    # The normal's 80 % range is 2.56 sigma; a signal that hardly ever moves has only its deviation, whose squares must
    # neither over- nor underflow.
    spread = (high / 2.56 - low / 2.56) or largest * float((finite / largest).std()) or largest
    grid = Grid.fit(finite, settings.bins, settings.max_distinct)
    return Signal(name, Kind.NUMERIC, grid, numeric=True, center=center, spread=spread)


def _fit_text(name: str, values: Sequence[str | None], settings: Settings) -> Signal:
    known = Counter(value for value in values if value is not None)
    common = sorted(known, key=lambda value: (-known[value], value))[:MAX_CATEGORIES]
    wanted = settings.kinds.get(name)
    if known.keys() == set(_BOOLEAN) or (wanted is Kind.BOOLEAN and known.keys() <= set(_BOOLEAN)):
        return Signal(name, Kind.BOOLEAN, Categories(_BOOLEAN), numeric=False)
    if wanted is Kind.BOOLEAN:
        return Signal(name, Kind.BOOLEAN, Categories(tuple(sorted(common[:2]))), numeric=False)
    if len(common) == 1 and wanted is not Kind.CATEGORICAL:
        return Signal(name, Kind.CONSTANT, Categories((common[0],)), numeric=False)
    # A signal that was never there has no value to know: an empty text stands in, and all it may bring is unseen.
    return Signal(name, Kind.CATEGORICAL, Categories(tuple(common) or ("",)), numeric=False)


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


def _signal_to_json(signal: Signal) -> dict[str, Any]:
    coder = signal.coder
    values = {"cuts": coder.cuts.tolist()} if isinstance(coder, Grid) else {"categories": list(coder.values)}
    plain = {"name": signal.name, "kind": signal.kind.value, "numeric": signal.numeric}
    return {**plain, "center": signal.center, "spread": signal.spread, **values}


def _signal_from_json(plain: Mapping[str, Any]) -> Signal:
    coder: Coder = Grid(np.array(plain["cuts"], float)) if "cuts" in plain else Categories(tuple(plain["categories"]))
    center, spread = float(plain["center"]), float(plain["spread"])
    return Signal(str(plain["name"]), Kind(plain["kind"]), coder, bool(plain["numeric"]), center, spread)


def _unzip(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [archive.getinfo(name) for name in ("manifest.json", *_DTYPES)]
            if any(info.file_size > _MAX_MEMBER_BYTES for info in infos):
                raise _damaged("it claims more than a baseline can hold")
            return {info.filename: archive.read(info) for info in infos}
    except BaselineError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _damaged(f"{error}; or it is none") from error


def _npy(array: IntArray | FloatArray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _array(content: bytes, dtype: str) -> Any:
    """The two-dimensional array of a .npy file; ValueError for any other."""
    head = _NPY.match(content)
    if head is None or head[1].decode() != dtype:
        raise ValueError(f"expected a .npy file of two dimensions and type {dtype}")
    return np.frombuffer(content, dtype, offset=head.end()).reshape(int(head[2]), int(head[3]))


def _canonical(plain: Any) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
