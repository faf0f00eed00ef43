"""A baseline in which some signals are as they are now, because somebody has accepted that. Pure.

The other signals keep their codes and counts to the bit, and so their hashes: what is remembered of them, and what
drifts in them, goes on. That takes as many events as the parent has, in as many blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from driftline.detectors.summaries.codes import Kind
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.bins import joined
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.cycles import Cycles
from driftline.stream.baselines.slopes import Slopes
from driftline.stream.baselines.usual import joined_usual
from driftline.stream.events.event import Event


def accept(
    parent: Baseline,
    signals: Collection[str],
    events: Sequence[Event],
    facts: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    timezone: str | None,
) -> Baseline:
    """The parent with these signals as the newest of the events have them.

    facts: for the manifest, of who accepts what. kinds, timezone: as in `BuildSettings`. Raises BaselineError if there
    are fewer events than the parent has, if the parent has no such signal, or if one has no value any more.
    """
    if absent := sorted(set(signals) - parent.names):
        raise BaselineError(f"the baseline of {parent.model!r} has no signal {', '.join(absent)}; build it anew")
    if len(events) < parent.total.n:
        raise BaselineError(
            f"{len(events):,} events since then, and {parent.total.n:,} are needed, as many as the baseline has: wait "
            "for more, or build another one of fewer with `driftline baseline build`"
        )
    signals = _with_groups(parent, signals)
    newest = sorted(events, key=lambda event: event.ts)[-parent.total.n :]
    settings = BuildSettings(
        bins=_bins(parent),
        blocks=len(parent.blocks),
        kinds={name: kind for name, kind in kinds.items() if name in signals},
        selects=lambda name: name in signals,
        timezone=timezone,
    )
    now = build_baseline(newest, {"model": parent.model}, settings)
    if lost := sorted(_texts(parent, signals) - now.names):
        raise BaselineError(
            f"{', '.join(lost)} has no value that could be watched in these events: exclude it with `signals.exclude`"
        )
    stretch = {"time_from": newest[0].ts, "time_to": newest[-1].ts}
    accepted = {**facts, "parent": parent.content_hash, "signals": sorted(signals), **stretch}
    return _joined(parent, now, {**parent.about, "accepted": accepted}).with_derived()


def _with_groups(parent: Baseline, signals: Collection[str]) -> frozenset[str]:
    """These signals, with the groups of each text and the text of each group: it decides which values are rare."""
    texts = _texts(parent, signals)
    return frozenset(each.name for each in parent.layout.signals if (each.groups_of or each.name) in texts)


def _texts(parent: Baseline, signals: Collection[str]) -> frozenset[str]:
    """The names of these signals, with that of the text for groups, since its values may all be common by now."""
    return frozenset(each.groups_of or each.name for each in parent.layout.signals if each.name in signals)


def _joined(parent: Baseline, now: Baseline, about: Mapping[str, Any]) -> Baseline:
    """The parent with all signals of another baseline in the place of its own."""
    sources = [parent, now]
    which = {each.name: (int(each.name in now.names), each) for each in parent.layout.signals}
    gone = {each.name for each in parent.layout.signals if each.groups_of in now.names} - now.names
    which = {name: each for name, each in which.items() if name not in gone}
    which |= {each.name: (1, each) for each in now.layout.signals}
    layout = Layout.of([signal for _, signal in which.values()])
    origin = [which[each.name][0] for each in layout.signals]
    at = [sources[source].layout.signals.index(each) for source, each in zip(origin, layout.signals, strict=True)]
    counts, blocks = np.zeros(layout.width, np.int64), np.zeros((len(parent.blocks), layout.width), np.int64)
    read = [each.blocks for each in sources]
    for s, (source, old) in enumerate(zip(origin, at, strict=True)):
        columns = sources[source].layout.columns[old]
        counts[layout.columns[s]] = sources[source].total.counts[columns]
        blocks[:, layout.columns[s]] = read[source][:, columns]
    figures = [(sources[origin[s]], sources[origin[s]].layout.numeric.index(at[s])) for s in layout.numeric]
    total = Sketch(parent.total.n, counts, _picked(figures, "sums"), _picked(figures, "extremes"))
    others = parent.names - now.names - gone
    cycles, slopes = _cycles(parent, now, others), _slopes(parent, now, others)
    bins = joined([parent.bins and parent.bins.select(others), now.bins])
    built = Baseline.of(layout, blocks, total, about)
    # What is usual of a signal with phases was measured by these.
    keeps_phases = cycles is None or now.cycles is None or cycles.timezone == now.cycles.timezone
    known = [(sources[source].usual, old) for source, old in zip(origin, at, strict=True)]
    usual = joined_usual(known) if keeps_phases else None
    return replace(
        built, rates=parent.rates, cycles=cycles, outcomes=parent.outcomes, slopes=slopes, bins=bins, usual=usual
    )


def _picked(figures: Sequence[tuple[Baseline, int]], name: str) -> Any:
    columns = [getattr(source.total, name)[:, index] for source, index in figures]
    return np.stack(columns, axis=1) if columns else np.zeros((2, 0))


def _cycles(parent: Baseline, now: Baseline, others: Collection[str]) -> Cycles | None:
    """What both expect by phase, the parent of the `others`; where zones differ, what the parent alone does."""
    own = parent.cycles.select(others) if parent.cycles else None
    if own is None or now.cycles is None:
        return own or now.cycles
    return replace(own, signals=(*own.signals, *now.cycles.signals)) if own.timezone == now.cycles.timezone else own


def _slopes(parent: Baseline, now: Baseline, others: Collection[str]) -> Slopes | None:
    """The slopes of both, the parent's of the `others`; known from as many blocks, since both have as many events."""
    own = parent.slopes.select(others) if parent.slopes else None
    if own is None or now.slopes is None:
        return own or now.slopes
    return replace(own, runs={**own.runs, **now.slopes.runs})


def _bins(parent: Baseline) -> int:
    settings = parent.about.get("settings")
    bins = settings.get("bins") if isinstance(settings, Mapping) else None
    return bins if isinstance(bins, int) else BuildSettings().bins
