"""Building a baseline from a sample of one model's events: infer each signal's kind, fit its codes, count."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.summaries.codes import BINS, MAX_DISTINCT, Categories, Grid, Kind, quantiles
from driftline.detectors.summaries.groups import group_categories
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.bins import dispersions_of
from driftline.stream.baselines.categories import (
    GROUPED,
    GROUPS,
    categories_of,
    commonest,
    counted,
    is_grouped,
    is_open,
    stand_ins,
)
from driftline.stream.baselines.cycles import cycles_of
from driftline.stream.baselines.encoding import DTYPES
from driftline.stream.baselines.file import FORMAT_VERSION, MAX_MEMBER_BYTES
from driftline.stream.baselines.slopes import slopes_of
from driftline.stream.baselines.unwatched import RARE, Choice, Why, choose_names, identifiers, unwatched_fields
from driftline.stream.baselines.usual import usual_of
from driftline.stream.events.columns import Columns, Field, infer_fields, tabulate
from driftline.stream.events.event import FALSE, FLAGS, TRUE, Event, is_whole
from driftline.stream.text.phrases import listed

# Time-ordered blocks: windows are compared in lengths from one block to a quarter of the baseline, seven octaves.
BLOCKS = 256
# With 16, they are compared in three octaves: enough to see a cycle of a day in two weeks. 2000 signals have 64.
_FEWEST_BLOCKS = 16
# Bytes of a .npy file before its numbers.
_HEAD_BYTES = 128
# The format from which baselines that models learn have slopes and bins.
_SLOPES = 3
_BOOLEAN = (FALSE, TRUE)


def _anything(name: str) -> bool:  # noqa: ARG001 # the signature of a selection
    return True


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How to build a baseline.

    bins, max_distinct: see `Grid.fit`. ordered: the events' times are those of the traffic, so that blocks of them show
    how it varies; otherwise there is one block. kinds: by signal name, overriding the inferred kind. selects: whether
    to keep a signal, by name. most: signals at most, those of the names with values in most events. format_version: of
    the file that can hold the baseline, see `file`: below 3, rare values have no groups; with 1, signals have no range
    and no phases, either. timezone: in which its days and weeks are; without one, it has no phases. apart: whether
    categories of texts with many values are chosen on other rows than are counted.
    """

    bins: int = BINS
    max_distinct: int = MAX_DISTINCT
    blocks: int = BLOCKS
    ordered: bool = True
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    selects: Callable[[str], bool] = _anything
    most: int = sys.maxsize
    format_version: int = FORMAT_VERSION
    timezone: str | None = None
    apart: bool = True


def build_baseline(
    events: Sequence[Event], about: Mapping[str, Any], settings: BuildSettings = BuildSettings()
) -> Baseline:
    """The baseline of a sample of one model's events.

    Raises BaselineError if no signal has a value, or if there are too many to be read back from a file or from Redis.

    about: facts for the manifest; "model" is required. Rows, times, settings and what is not watched are added. Fields
    that look like identifiers, and those with very few values, are not watched, unless `kinds` names them.
    """
    ordered = sorted(events, key=lambda event: event.ts) if settings.ordered else list(events)
    rows = list(enumerate(ordered))
    choice = choose_names(ordered, settings.selects, settings.kinds, settings.most)
    selected = _fields(infer_fields(ordered, choice.kept), settings)
    columns = tabulate(selected, rows)
    ids = identifiers(selected, columns, settings.kinds)
    fields = [each for each in selected if each.name not in ids]
    unwatched = unwatched_fields(ordered, choice, ids)
    if not fields:
        raise BaselineError(_why_empty(about["model"], len(events), unwatched, choice))
    layout = Layout.of(_fit(tabulate(fields, rows) if ids else columns, fields, settings))
    count = _blocks(layout, min(settings.blocks, len(ordered)) if settings.ordered else 1)
    draft = Baseline.of(layout, np.empty((0, layout.width), np.int64), layout.empty(), {})
    columns = tabulate(draft.fields, rows)
    codes, doubled = draft.encode(columns), _chosen_apart(layout, columns, settings)
    codes[:, doubled] = codes[stand_ins(len(codes))][:, doubled]
    parts = np.array_split(codes, count)
    blocks = np.stack([np.bincount(part.ravel(), minlength=layout.width) for part in parts])
    times = {"time_from": int(columns.ts.min()), "time_to": int(columns.ts.max())}
    chosen = {"bins": settings.bins, "max_distinct": settings.max_distinct, "ordered": settings.ordered}
    zone = {} if settings.timezone is None else {"timezone": settings.timezone}
    facts = {
        **about, "rows": len(codes), **times, "settings": {**chosen, "kinds": dict(settings.kinds), **zone},
        **({"unwatched": unwatched} if unwatched else {}),
        **({"unwatched_names": choice.counts} if choice.counts else {}),
    }  # fmt: skip
    built = Baseline.of(layout, blocks, layout.sketch(codes, columns.numeric), facts)
    if not settings.ordered or settings.format_version == 1:
        return built
    try:
        named = settings.timezone
        cycles = None if named is None else cycles_of(layout, codes, columns.numeric, columns.ts, named)
    except ValueError as error:
        raise BaselineError(f"calendar.timezone: {error}") from error
    learned = bool(about.get("learned"))
    # Workers of earlier levels learn none, and name what is learned by its hash.
    steady = None if learned and settings.format_version < _SLOPES else slopes_of(layout, codes, doubled)
    slopes = steady and steady.select(built.names.difference(cycles.by_name if cycles else ()))
    bins = None if learned and not slopes else dispersions_of(layout, codes, columns.ts, cycles, slopes)
    usual = None if learned else usual_of(layout, blocks, cycles, columns.ts)
    return replace(built, cycles=cycles, slopes=slopes, bins=bins, usual=usual)


def _chosen_apart(layout: Layout, columns: Columns, settings: BuildSettings) -> list[int]:
    """The signals whose categories were chosen on rows that are not counted, and their groups, by their index."""
    each = zip(layout.nominal, columns.texts, strict=True) if settings.apart else ()
    found = [s for s, values in each if layout.signals[s].kind is Kind.CATEGORICAL and is_open(values)]
    return [*found, *(layout.groups[s] for s in found if s in layout.groups)]


def _blocks(layout: Layout, wanted: int) -> int:
    """How many blocks the baseline has: those wanted, or as many as can be read back. Raises BaselineError."""
    block = layout.width * np.dtype(DTYPES["blocks.npy"]).itemsize
    count, least = min(wanted, (MAX_MEMBER_BYTES - _HEAD_BYTES) // block), min(wanted, _FEWEST_BLOCKS)
    if count < least:
        raise BaselineError(
            f"a baseline of {len(layout.signals):,} signals with {layout.width:,} codes takes "
            f"{least * block / 2**20:,.0f} MiB, and at most {MAX_MEMBER_BYTES >> 20} MiB can be read back; "
            "watch fewer (`signals`, `limits.signals`), or take fewer bins"
        )
    return count


def _why_empty(model: str, events: int, unwatched: Mapping[str, str], choice: Choice) -> str:
    """Why no signal is left, and what helps."""
    excluded, ids = (
        [name for name, why in unwatched.items() if why == each] for each in (Why.EXCLUDED, Why.IDENTIFIER)
    )
    if ids:
        return f"all signals of model {model!r} look like identifiers: {listed(ids)}; name their kinds to watch them"
    if excluded:
        return (
            f"`signals` selects none of the signals of model {model!r}, which are {listed(excluded)}; check its globs"
        )
    if choice.rare:
        return (
            f"no signal of model {model!r} has a value in {RARE} of its {events} events, as when names hold ids: "
            f"{listed(sorted(choice.rare))}; name their kinds to watch them"
        )
    return f"{events} events of model {model!r} hold no value to learn from"


def _fields(found: Sequence[Field], settings: BuildSettings) -> list[Field]:
    """How to read each signal: as its values look, unless `kinds` says otherwise."""
    kinds, whole = settings.kinds, settings.format_version > 1
    numeric = {each.name: each.numeric for each in found}
    numeric |= {name: kinds[name] is Kind.NUMERIC for name in numeric.keys() & kinds.keys()}
    return [Field(name, value, whole=whole and not value) for name, value in numeric.items()]


def _fit(columns: Columns, fields: Sequence[Field], settings: BuildSettings) -> list[Signal]:
    numeric, texts = ([each.name for each in fields if each.numeric is wanted] for wanted in (True, False))
    found = [_fit_text(name, values, settings) for name, values in zip(texts, columns.texts, strict=True)]
    grouped = zip(found, columns.texts, strict=True) if settings.apart and settings.format_version > 2 else ()
    return [
        *(_fit_numeric(name, values, settings) for name, values in zip(numeric, columns.numeric.T, strict=True)),
        *found,
        *(_groups_of(each.name) for each, values in grouped if _has_groups(each, values, fields, settings)),
    ]


def _has_groups(text: Signal, values: Sequence[str | None], fields: Sequence[Field], settings: BuildSettings) -> bool:
    """Whether the rare values of a text are counted in groups: unless a field of the events has their name."""
    name = text.name + GROUPED
    wanted = text.kind is Kind.CATEGORICAL and settings.selects(name) and name not in {each.name for each in fields}
    return wanted and is_grouped(values)


def _groups_of(text: str) -> Signal:
    return Signal(text + GROUPED, Kind.CATEGORICAL, group_categories(GROUPS), numeric=False, groups_of=text)


def _fit_numeric(name: str, values: FloatArray, settings: BuildSettings) -> Signal:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Signal(name, Kind.NUMERIC, Grid(np.empty(0)), numeric=True)
    low, center, high = quantiles(finite, [0.1, 0.5, 0.9]).tolist()
    largest = float(np.abs(finite).max()) or 1.0
    if finite.min() == finite.max() and settings.kinds.get(name) is not Kind.NUMERIC:
        return Signal(name, Kind.CONSTANT, Categories((center,)), numeric=True, center=center, spread=largest)
    # 80 % of a normal distribution lie within 2.56 sigma. A signal that hardly ever moves has only its deviation, whose
    # squares must neither over- nor underflow.
    spread = (high / 2.56 - low / 2.56) or largest * float((finite / largest).std()) or largest
    grid = Grid.fit(finite, settings.bins, settings.max_distinct)
    ends = (float(finite.min()) + 0.0, float(finite.max()) + 0.0) if settings.format_version > 1 else None
    return Signal(name, Kind.NUMERIC, grid, numeric=True, center=center, spread=spread, range=ends)


def _fit_text(name: str, values: Sequence[str | None], settings: BuildSettings) -> Signal:
    known = _as_flag(counted(values), settings)
    common = commonest(known)
    wanted, whole = settings.kinds.get(name), settings.format_version > 1 and any(map(is_whole, common))
    if known.keys() == set(_BOOLEAN) or (wanted is Kind.BOOLEAN and known.keys() <= set(_BOOLEAN)):
        return Signal(name, Kind.BOOLEAN, Categories(_BOOLEAN), numeric=False)
    if wanted is Kind.BOOLEAN:
        return Signal(name, Kind.BOOLEAN, Categories(tuple(sorted(common[:2]))), numeric=False, whole=whole)
    if len(common) == 1 and wanted is not Kind.CATEGORICAL:
        return Signal(name, Kind.CONSTANT, Categories((common[0],)), numeric=False, whole=whole)
    if settings.apart and is_open(values):
        common = categories_of(values) or common
    # A signal without any value gets the empty text as its only category, so that every later value counts as unseen.
    return Signal(name, Kind.CATEGORICAL, Categories(tuple(common) or ("",)), numeric=False, whole=whole)


def _as_flag(known: Counter[str], settings: BuildSettings) -> Counter[str]:
    """Texts and how often each came, in the two spellings of a flag if they are spellings of them."""
    spellings = {value.lower() for value in known}  # pandas writes "True"
    mixed = settings.format_version > 1 and spellings <= FLAGS.keys() and spellings & set(_BOOLEAN)
    if not mixed and not spellings <= set(_BOOLEAN):
        return known
    flags = Counter[str]()
    for value, count in known.items():
        flags[FLAGS[value.lower()]] += count
    return flags
