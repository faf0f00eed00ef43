"""The statistics: one table, from which the battery's columns, the published names and the sentences follow.

A statistic compares one subject in a window with the same subject in a reference and returns *evidence*, -ln p in nats:
how surprising the window would be had nothing changed. Because the unit is the same, one threshold serves them all. A
new statistic is a file here and a row below; rows keep their order and their names, which alerts and stored findings
hold.

The reference is the baseline or, for a model without a trustworthy one, the past: everything before the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.statistics.categorical import categorical_evidence, rate_evidence
from driftline.detectors.statistics.comparison import Comparison
from driftline.detectors.statistics.cut import cut_evidence
from driftline.detectors.statistics.ks import ks_evidence, ks_statistic
from driftline.detectors.statistics.ranks import level_evidence, spread_evidence
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout


class Subject(StrEnum):
    """What a statistic is of: something that each model, signal or topic has once, or once for each special code."""

    ORDERED = "each ordered signal"
    NOMINAL = "each nominal signal"
    VALUES = "the values of each signal"
    SPECIAL = "each special code of a signal"
    SIGNAL = "each signal, and each of its special codes"
    TRAFFIC = "the events of a model by time"
    TOPIC = "the messages of a topic"
    OUTCOMES = "the predictions of a model with labels"


class Against(StrEnum):
    """What a statistic compares a window with."""

    REFERENCE = "reference"
    PAST = "past"


class Sides(StrEnum):
    """Which changes are evidence."""

    BOTH = "more or less"
    FEWER = "less"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Statistic:
    """A row of the table.

    name: in the columns of evidence, in alerts and in stored findings. quick: what it is the quickest to see. sentence:
    what it does, for people; `{code}` stands for a special code in words. evidence: nats (w, columns) of a comparison,
    one column for each of its subjects in the layout; None if the counts of a layout do not tell, but other modules.
    """

    name: str
    of: Subject
    against: Against
    sides: Sides
    quick: str
    sentence: str
    evidence: Callable[[Comparison], FloatArray] | None = None

    def columns(self, layout: Layout) -> Iterator[tuple[int, Special | None]]:
        """The signal, by its index in a layout, and the special code of each column of evidence, if any."""
        signals = range(len(layout.signals))
        match self.of:
            case Subject.ORDERED:
                yield from ((s, None) for s in signals[: layout.n_ordered])
            case Subject.NOMINAL:
                yield from ((s, None) for s in signals[layout.n_ordered :])
            case Subject.SPECIAL:
                yield from ((s, special) for s in signals for special in Special)
            case Subject.SIGNAL:
                yield from ((s, special) for s in signals for special in (None, *Special))


def _ks(each: Comparison) -> FloatArray:
    return ks_evidence(*ks_statistic(*each.ordered, each.starts))


def _level(each: Comparison) -> FloatArray:
    return level_evidence(each.ranks, each.reference_ranks, uniform=not each.against_past)


def _spread(each: Comparison) -> FloatArray:
    return spread_evidence(each.ranks, each.reference_ranks, uniform=not each.against_past)


def _chi2(each: Comparison) -> FloatArray:
    layout = each.layout
    nominal = slice(layout.ordered, layout.regular)
    starts = layout.starts[layout.n_ordered :] - layout.ordered
    return categorical_evidence(each.window[..., nominal], each.reference[..., nominal], starts)


def _rate(each: Comparison) -> FloatArray:
    layout, window = each.layout, each.window
    special = slice(layout.regular, layout.width)
    k, k_ref = window[:, special], np.broadcast_to(each.reference, window.shape)[:, special]
    n = layout.events(window)[:, None]
    n_ref = np.broadcast_to(layout.events(each.reference), len(window))[:, None]
    out = np.zeros(k.shape)
    # Most special codes never occur; their evidence is 0 without computing it.
    seen = k.any(axis=0) | k_ref.any(axis=0)
    out[:, seen] = rate_evidence(k[:, seen], n, k_ref[:, seen], n_ref)
    return out


def _adwin(each: Comparison) -> FloatArray:
    old, new = each.past_ranks, each.ranks
    n = np.maximum(old.n + new.n, 1)
    mean = (old.sum + new.sum) / n
    variance = np.maximum((old.squares + new.squares) / n - mean * mean, 0.0)
    # The bound holds for each direction of change; p is twice as large.
    return np.maximum(cut_evidence(old.n, old.mean, new.n, new.mean, variance) - math.log(2), 0.0)


_ROWS = (
    Statistic(
        "ks", Subject.ORDERED, Against.REFERENCE, Sides.BOTH, "any shape",
        "Kolmogorov-Smirnov compares the whole distributions.",
        _ks,
    ),
    Statistic(
        "level", Subject.ORDERED, Against.REFERENCE, Sides.BOTH, "a shift",
        "Mann-Whitney compares levels: whether values are higher or lower than before.",
        _level,
    ),
    Statistic(
        "spread", Subject.ORDERED, Against.REFERENCE, Sides.BOTH, "a change of scale",
        "Mood compares spreads: whether values are more or less spread than before.",
        _spread,
    ),
    Statistic(
        "chi2", Subject.NOMINAL, Against.REFERENCE, Sides.BOTH, "shares that move",
        "Chi-square compares the shares of the known values.",
        _chi2,
    ),
    Statistic(
        "rate", Subject.SPECIAL, Against.REFERENCE, Sides.BOTH, "missing, unseen and other irregular values",
        "An exact tail bound compares one share: {code}.",
        _rate,
    ),
    Statistic(
        "adwin", Subject.ORDERED, Against.PAST, Sides.BOTH, "a step, with a baseline or without",
        "ADWIN compares the mean rank after a step with the mean rank of everything before.",
        _adwin,
    ),
    Statistic(
        "silence", Subject.TRAFFIC, Against.PAST, Sides.FEWER, "a stop",
        "Silence is judged by the events that did not come in it.",
    ),
    Statistic(
        "few", Subject.TRAFFIC, Against.PAST, Sides.FEWER, "a fall",
        "The events of a stretch of time are compared with those of its hours of the week: they are too few.",
    ),
    Statistic(
        "many", Subject.TRAFFIC, Against.PAST, Sides.MORE, "a rise",
        "The events of a stretch of time are compared with those of its hours of the week: they are too many.",
    ),
    Statistic(
        "gap", Subject.TRAFFIC, Against.PAST, Sides.FEWER, "a stop in the first weeks",
        "Until two weeks of traffic are known, silence is compared with the longest one so far.",
    ),
    Statistic(
        "share", Subject.TOPIC, Against.PAST, Sides.MORE, "messages that cannot be read",
        "The share of the messages that are rejected is compared with the usual one, by a CUSUM.",
    ),
    Statistic(
        "new", Subject.TOPIC, Against.PAST, Sides.MORE, "fields that nobody watches",
        "Events that are sampled have fields that no signal watches, and that were not there before.",
    ),
    Statistic(
        "loss", Subject.OUTCOMES, Against.REFERENCE, Sides.MORE, "a model that is wrong more often",
        "The share of wrong predictions, or the error of a regression, is compared with that of the reference.",
    ),
    Statistic(
        "concept", Subject.OUTCOMES, Against.REFERENCE, Sides.MORE, "labels that no longer follow scores",
        "Mantel-Haenszel compares predictions alike in score and class: they are wrong more often than such ones were.",
    ),
    Statistic(
        "floor", Subject.OUTCOMES, Against.REFERENCE, Sides.FEWER, "a share below the least one that is good enough",
        "A share of the outcomes is compared with its configured floor, by a bound that holds at every length.",
    ),
    Statistic(
        "bins", Subject.VALUES, Against.REFERENCE, Sides.BOTH, "one category, or values at one place",
        "A tail bound compares the share of each category; of numbers, of each of 64 bins and new values between.",
    ),
    Statistic(
        "smooth", Subject.ORDERED, Against.REFERENCE, Sides.BOTH, "another shape of the same level and spread",
        "Neyman's smooth test compares shapes that have the same level and spread, such as two humps.",
    ),
    Statistic(
        "bets", Subject.SIGNAL, Against.REFERENCE, Sides.BOTH, "any change, where the rate of false pages is proven",
        "An e-detector bets that ranks and shares have moved; no tail of theirs makes false alarms more frequent.",
    ),
    Statistic(
        "far", Subject.ORDERED, Against.REFERENCE, Sides.MORE, "values far beyond all that came before",
        "A tail bound counts the values that lie beyond the range of the reference by more than its width.",
    ),
)  # fmt: skip

#: The statistics by name.
STATISTICS: Final[Mapping[str, Statistic]] = MappingProxyType({each.name: each for each in _ROWS})
