"""Bets on a signal: its distribution has changed, with a bound on false alarms that needs no assumption on the tail.

Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (New England Journal of
Statistics in Data Science 2, 2024). A score y gives each code a number in [0, 1]. While nothing has changed, the mean
of no event's score is above μ, given all events before it. Then a bet of a part f of what one owns,

    L(y) = 1 - f + f y / μ,      0 < f < 1,

is never negative and at most 1 in the mean, whatever the distribution. In a window it wins the product over events,

    ln K = Σ counts(code) · ln L(y(code)),

which takes its counts alone. The mean of the K of several bets is again at most 1 in the mean; its logarithm is the
evidence. The largest K of all windows that end now is at most their sum, the e-detector of Shiryaev and Roberts, which
grows by 1 a pane at most. So an alarm at ln A comes after A panes or more on average.

Bets are on higher and on lower scores, with eight parts f. Of categories, each one is a score; of numbers, a third of
what is bet is on the mid-rank, a third on the square of its distance from the middle, and a third on single bins.
Values are scored among themselves: an event without one wins and loses nothing, so that missing values move no shape.
Of each special code, its share of all events is a score.

Of μ a baseline of n events tells that it is at most its mean there plus

    √(2 V ln(2/δ) / n) + 7 ln(2/δ) / 3(n - 1)     for variance V (Maurer & Pontil, COLT 2009),

and of a share p the largest q with n KL(p, q) <= ln(1/δ) (Hoeffding, JASA 58, 1963). δ is shared among the scores of a
signal, so that all of these hold for 99 of 100 baselines of independent events, if ranks and bins are taken as given.
Of phases of a day or a week, μ is the highest: whatever lies between the lowest and the highest is no evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.summaries.codes import Special

#: The chance that a baseline is so unlike the distribution it is of that the bound does not hold for a signal.
DOUBT: Final = 0.01
# Parts of what is owned that are bet. The least gains most from a share that is 1/256 higher, relative to itself, which
# takes more than 100,000 events of it to see.
_PARTS: FloatArray = 0.5 ** np.arange(1.0, 9.0)
_SIDES = 2
# Halvings, after which a share is known to 2^-50.
_HALVINGS = 50


@dataclass(frozen=True, eq=False)
class Bets:
    """The bets on a signal.

    counts: (H, K) of the baseline by phase and code, at least one event; the first `size` codes are regular, and the
    others special. Nothing is claimed of phases without an event. ordered: whether regular codes are ranks.
    """

    counts: FloatArray
    size: int
    ordered: bool

    def won(self, counts: FloatArray) -> FloatArray:
        """ln K in nats (w, 1 + special codes) of windows with these counts (w, K): of the values, of each code."""
        regular, special = counts[:, : self.size], counts[:, self.size :]
        places = _won(self._merged(regular), regular.sum(1), self._places)
        values = [_mixed(places.reshape(len(counts), -1)), *(_mixed(regular @ each) for each in self._scores)]
        codes = _mixed(_won(special, counts.sum(1), self._codes))
        return np.column_stack([_mixed(np.stack(values, axis=-1)), codes])

    @cached_property
    def _bins(self) -> Bins:
        return Bins(self._regular.sum(0))

    @property
    def _regular(self) -> FloatArray:
        return self.counts[:, : self.size]

    def _merged(self, regular: FloatArray) -> FloatArray:
        """Counts (w, B) of the places that are bet on: bins of numbers, or categories."""
        return self._bins.merged(regular) if self.ordered else regular

    @cached_property
    def _places(self) -> FloatArray:
        """μ (2, B) of the share of each place among the values, and of the rest."""
        known = self._regular.sum(1, keepdims=True)
        places = self._merged(self._regular)
        if self.ordered:
            places = np.minimum(places + self._bins.new * known / max(known.sum(), 1), known)
        return self._highest_shares(places, known, (3 if self.ordered else 1) * places.shape[1])

    @cached_property
    def _codes(self) -> FloatArray:
        """μ (2, special codes) of the share of each among all events, and of the rest."""
        codes = self.counts[:, self.size :].copy()
        if not self.ordered:
            # A baseline that knows each of its values has none unseen: about as many are, as came once (Good 1953).
            codes[:, Special.UNSEEN] += (self._regular.sum(0) == 1).sum()
        events = self.counts.sum(1, keepdims=True)
        return self._highest_shares(np.minimum(codes, events), events, codes.shape[1])

    @cached_property
    def _scores(self) -> list[FloatArray]:
        """What bets on rank and spread win by each regular code (size, bets)."""
        total = self._regular.sum(0)
        if not (self.ordered and total.any()):
            return []
        rank = (np.cumsum(total) - total / 2) / total.sum()
        return [_logarithms(score, self._highest_mean(score)) for score in (rank, (2 * rank - 1) ** 2)]

    def _highest_mean(self, score: FloatArray) -> FloatArray:
        """μ (2,) of a score (size,) of the values, and of 1 less it."""
        regular = self._regular[self._regular.sum(1) > 1]
        if not len(regular):
            return np.ones(_SIDES)
        n = regular.sum(1)
        mean = regular @ score / n
        variance = np.maximum(regular @ score**2 / n - mean**2, 0.0) * n / (n - 1)
        nats = math.log(2) + self._nats(3)
        error = np.sqrt(2 * variance * nats / n) + 7 * nats / (3 * (n - 1))
        return np.asarray(np.minimum(np.stack([mean, 1 - mean]) + error, 1.0).max(1))

    def _highest_shares(self, k: FloatArray, n: FloatArray, among: int) -> FloatArray:
        """μ (2, B) of shares, of which k (H, B) of n (H, 1) events are known, and of the rest. among: of how many."""
        k, n = k[n[:, 0] > 0], n[n[:, 0] > 0]
        if not len(n):
            return np.ones((_SIDES, k.shape[1]))
        share = np.stack([k, n - k]) / n
        low, high, nats = share, np.ones(share.shape), self._nats(among) / n
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = _divergence(share, middle) <= nats
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return np.asarray(high.max(1))

    def _nats(self, among: int) -> float:
        """ln(1/δ) of one of `among` scores that share half of the doubt, in one direction and phase."""
        return math.log(2 * among * _SIDES * len(self.counts) / DOUBT)


def _logarithms(score: FloatArray, highest: FloatArray) -> FloatArray:
    """What bets on a score (n,) and on 1 less it win (n, bets), if their means are at most `highest` (2,)."""
    sides = np.stack([score, 1 - score], axis=1) / highest
    return np.log(1 - _PARTS + _PARTS * sides[..., None]).reshape(len(score), -1)


def _won(k: FloatArray, n: FloatArray, highest: FloatArray) -> FloatArray:
    """What bets on shares win (w, B, bets) in windows with k (w, B) of n (w,) events. highest: μ (2, B)."""
    sides = np.stack([k, n[:, None] - k], axis=-1)[..., None]
    hit, miss = np.log(1 - _PARTS + _PARTS / highest.T[..., None]), np.log1p(-_PARTS)
    nats = sides * (hit - miss)
    nats += n[:, None, None, None] * miss
    return np.asarray(nats.reshape(*k.shape, -1))


def _mixed(nats: FloatArray) -> FloatArray:
    """The logarithm of the mean of what several bets (..., bets) have won. What is given is overwritten."""
    most = nats.max(axis=-1, keepdims=True)
    np.subtract(nats, most, out=nats)
    return np.asarray(most[..., 0] + np.log(np.exp(nats, out=nats).mean(axis=-1)))


def _divergence(p: FloatArray, q: FloatArray) -> FloatArray:
    """Kullback-Leibler divergence, in nats, of events of probability p from those of q > 0."""
    rest = np.where(p < 1, (1 - p) * np.log(np.maximum(1 - p, 1e-300) / np.maximum(1 - q, 1e-300)), 0.0)
    return np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0) + rest
