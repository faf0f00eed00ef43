"""The baseline: the reference distribution of every signal of one model, and which model and data it was made of.

It is made of code counts of blocks in time order, not only of their total, so that thresholds can follow its own
dependence. `build` makes a baseline from events, `derived` is what is kept of the blocks for those who judge, and
`file` reads and writes one as bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.rates import Rates
from driftline.detectors.decision.thresholds import Dependence
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.bins import Dispersions
from driftline.stream.baselines.cycles import Cycles
from driftline.stream.baselines.derived import Derived, signal_hashes
from driftline.stream.baselines.encoding import content_hash, counts_type, signals_file
from driftline.stream.baselines.outcomes import OutcomeReference, coding_of_signals
from driftline.stream.baselines.slopes import Slopes
from driftline.stream.baselines.unwatched import Why
from driftline.stream.baselines.usual import Usual
from driftline.stream.baselines.watched import Signals, WatchedSignal
from driftline.stream.events.columns import LABEL, Columns, Field, tabulate
from driftline.stream.events.event import Event
from driftline.stream.outcomes.coding import Coding

_REASONS = frozenset(map(str, Why))


class BaselineError(ValueError):
    """A baseline cannot be built, read or used; the message says why and what helps."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """The reference of one model.

    total: the sketch of all events. about: the facts of the manifest, plain JSON data; "learned" marks a baseline made
    of the first live events, "scan" one for a single scan, and "unwatched" says which fields of the events have no
    signal. arrays_hash: of signals and arrays. read_blocks: reads the blocks, which nobody needs who has what
    is `derived` from them; None if they were not kept. rates: of the events, if it was made of all that came. cycles:
    what it expects by phase of a day or a week; None if it expects the same at all times. slopes: how much its signals
    vary by themselves; None if it does not say. bins: the same of their single bins. usual: how different its stretches
    are from the rest of it, which decides nothing. outcomes: those of its rows with labels; None if too few had one.
    """

    layout: Layout
    total: Sketch
    about: Mapping[str, Any]
    arrays_hash: str
    read_blocks: Callable[[], IntArray] | None
    derived: Derived | None = None
    rates: Rates | None = None
    cycles: Cycles | None = None
    slopes: Slopes | None = None
    bins: Dispersions | None = None
    usual: Usual | None = None
    outcomes: OutcomeReference | None = None

    @classmethod
    def of(cls, layout: Layout, blocks: IntArray, total: Sketch, about: Mapping[str, Any]) -> Baseline:
        """The baseline with these blocks."""
        small = blocks.astype(counts_type(blocks))
        content = content_hash(signals_file(layout), blocks, total)
        return cls(layout, total, about, content, lambda: small.astype(np.int64))

    @cached_property
    def content_hash(self) -> str:
        """What names it among the baselines of its model: those with the same one judge values alike, SHA-256 in hex.

        Without cycles, slopes and bins it is that of the arrays, as it was before there were any.
        """
        judged_by = [each.facts()["hash"] for each in (self.cycles, self.slopes, self.bins) if each is not None]
        if not judged_by:
            return self.arrays_hash
        return hashlib.sha256("".join([self.arrays_hash, *judged_by]).encode()).hexdigest()

    @cached_property
    def coding(self) -> Coding | None:
        """How outcomes are counted: as in its own or, without these, as its signals say; None if they do not."""
        return self.outcomes.coding if self.outcomes else coding_of_signals(self.layout.signals)

    @property
    def is_ordered(self) -> bool:
        """Whether its events are in the order of time, as far as it says."""
        settings = self.about.get("settings")
        return bool(settings.get("ordered", True)) if isinstance(settings, Mapping) else True

    @property
    def asks_live(self) -> bool:
        """Whether live events are to tell how events depend on each other: it has no order, and is not for one scan.

        A scan compares two tables as they are, and takes their rows for independent.
        """
        return not self.is_ordered and not self.about.get("scan")

    @property
    def is_doubted(self) -> bool:
        """Whether live events may overrule its slopes: rows that were shuffled or sampled may have new times.

        What a model has learned by itself came as its traffic does.
        """
        return self.slopes is not None and not self.about.get("scan") and not self.about.get("learned")

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.about["model"])

    @property
    def blocks(self) -> IntArray:
        """Code counts (P, C) of P time-ordered blocks in C columns, read anew each time.

        Raises BaselineError if they are damaged, or were not kept.
        """
        if self.read_blocks is None:
            raise BaselineError(f"the baseline of {self.model!r} was stored without its blocks; build it again")
        return self.read_blocks()

    def with_derived(self) -> Baseline:
        """This baseline with what is derived from its blocks."""
        return self if self.derived else replace(self, derived=Derived.of(self.layout, self.blocks, self.total))

    def without_blocks(self) -> Baseline:
        """This baseline without its blocks, but with what is derived from them: all that judging takes."""
        return replace(self.with_derived(), read_blocks=None)

    def dependence(self, battery: Battery) -> Dependence:
        """The dependence of the baseline's own windows in the columns of its battery."""
        return self.derived.dependence[battery.against_past] if self.derived else Dependence.of(battery, self.blocks)

    @cached_property
    def signal_hashes(self) -> Mapping[str, str]:
        """By name, a hash of what decides how a signal is judged: signals with equal ones are judged alike."""
        return self.derived.signal_hashes if self.derived else signal_hashes(self.layout, self.blocks, self.total)

    @cached_property
    def watched(self) -> Signals:
        """The signals in the order of the layout."""
        return tuple(
            WatchedSignal(each.name, self.signal_hashes[each.name], each.size, each.ordered, each.numeric, each.range)
            for each in self.layout.signals
        )

    @property
    def unwatched(self) -> dict[str, Why]:
        """Why each field of the baseline's events that has no signal has none.

        It is empty if the file does not say, as those of earlier versions; reasons of newer ones are left out.
        """
        facts = self.about.get("unwatched")
        known = facts.items() if isinstance(facts, Mapping) else ()
        return {str(name): Why(why) for name, why in known if why in _REASONS}

    @property
    def left_out(self) -> dict[Why, int]:
        """How many names of the baseline's events have no signal because they are rare, or too many, by reason."""
        facts = self.about.get("unwatched_names")
        known = facts.items() if isinstance(facts, Mapping) else ()
        return {Why(why): count for why, count in known if why in _REASONS and isinstance(count, int)}

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that the decoder reads from an event, in the order of the layout."""
        own = (signal for signal in self.layout.signals if signal.groups_of is None)
        return tuple(Field(signal.name, signal.numeric, signal.is_flag, signal.whole) for signal in own)

    @property
    def signal_kinds(self) -> dict[str, str]:
        """Kind of each signal by name, as text; "" for fields that have no signal."""
        return dict.fromkeys(self.unwatched, "") | {signal.name: signal.kind.value for signal in self.layout.signals}

    def select_signals(self, selects: Callable[[str], bool]) -> Baseline:
        """This baseline with only the signals whose names `selects` accepts. Raises BaselineError if there is none.

        The groups of a text go with it.
        """
        signals = self.layout.signals
        kept = [s for s, each in enumerate(signals) if selects(each.name) and selects(each.groups_of or each.name)]
        if len(kept) == len(self.layout.signals):
            return self
        if not kept:
            raise BaselineError(
                f"`signals` selects none of the signals in the baseline of {self.model!r}; check its globs"
            )
        dropped = {signal.name: Why.EXCLUDED for s, signal in enumerate(signals) if s not in kept}
        layout = Layout(tuple(self.layout.signals[s] for s in kept))
        columns = np.flatnonzero(np.isin(self.layout.signal_of_column, kept))
        numeric = [index for index, s in enumerate(self.layout.numeric) if s in kept]
        sums, extremes = self.total.sums[:, numeric], self.total.extremes[:, numeric]
        total = Sketch(self.total.n, self.total.counts[columns], sums, extremes)
        return replace(
            self,
            layout=layout,
            total=total,
            about={**self.about, "unwatched": {name: why.value for name, why in (self.unwatched | dropped).items()}},
            arrays_hash=content_hash(signals_file(layout), self.blocks[:, columns], total),
            read_blocks=lambda: self.blocks[:, columns],
            derived=self.derived and self.derived.select(self.layout, kept),
            cycles=self.cycles and self.cycles.select({signal.name for signal in layout.signals}),
            slopes=self.slopes and self.slopes.select({signal.name for signal in layout.signals}),
            bins=self.bins and self.bins.select({signal.name for signal in layout.signals}),
            usual=self.usual and self.usual.select(kept),
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the signals."""
        return frozenset(signal.name for signal in self.layout.signals)

    def encode(self, columns: Columns) -> IntArray:
        """Column numbers (n, S) of decoded events, where a defective value has the column of its special code."""
        codes = self.layout.encode(columns.numeric, columns.texts)
        names = {signal.name: s for s, signal in enumerate(self.layout.signals)}
        for defect in columns.defects:
            s = names.get(defect.signal)  # the label is no signal
            for each in () if s is None else (s, self.layout.groups.get(s, s)):
                codes[defect.row, each] = self.layout.special_column(each, defect.code)
        return codes

    def sketch(self, columns: Columns) -> Sketch:
        """The sketch of decoded events."""
        return self.layout.sketch(self.encode(columns), columns.numeric)

    def sketches(self, columns: Columns, sizes: Sequence[int]) -> list[Sketch]:
        """The sketches of stretches of decoded events, see `Layout.sketches`."""
        return self.layout.sketches(self.encode(columns), columns.numeric, sizes)

    def sketch_events(self, events: Sequence[Event]) -> Sketch:
        """The sketch of events that are not decoded into columns yet."""
        return self.sketch(tabulate(self.fields, list(enumerate(events))))

    def count_outcomes(self, columns: Columns) -> OutcomeTable | None:
        """The outcomes of decoded events; None if no label was asked for, or there are no classes."""
        if LABEL not in columns.extras or self.coding is None:
            return None
        return self.coding.count(columns, self.fields)
