"""Rates of a model's traffic, learned while it comes: how many events an hour has, and how far off that is.

Time is cut into slots of 10 s and into hours. An hour is learned as a whole, an hour after it ended, so that events
that come late are counted with it. Before it is learned it is predicted, and the misses say how far predictions can be
trusted (Dawid, "Statistical theory: the prequential approach", J. R. Stat. Soc. A 147, 1984):

1. Rate. The events of each hour of the week, fading by an eighth a week, give three profiles: one rate for all hours,
   one by hour of the day, one by hour of the week; a finer one is shrunk towards the coarser. Each is multiplied by its
   level, seen by expected events of the last week or so: traffic that grows is no surprise. The profile that has
   predicted best so far is in use.
2. Dispersion. For each profile and for stretches of 10 s to a week, the relative variance v of the rate: how much more
   counts miss their prediction than chance lets them. Bursts show at short scales, days that differ at long ones.
3. Tails. How often and how far the evidence of those stretches, and of the gaps between events, went beyond a bound.

All of it is integers; the same events give the same state, in whatever order and pieces they come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.statistics.counts import few_evidence, many_evidence, silence_evidence, unsure

#: Seconds of a slot, the unit of time here: the period of ticks, which say how far time has come.
SLOT: Final = 10
#: Slots of an hour.
HOUR: Final = 3600 // SLOT
#: Hours of a week.
WEEK: Final = 168
#: Hours learned before silence is judged, and before all is judged: a week to learn, a week to test it.
FIRST_DAYS: Final = 48
LEARNED: Final = 2 * WEEK
#: Slots of the stretches whose dispersion is learned: parts of an hour, then hours.
SCALES: Final = np.array([1, 3, 6, 12, 30, 60, 120, 360, 720, 1440, 2880, 8640, 25920, 60480])
#: Nats beyond which evidence belongs to the tail, of stretches by scale and of silence: were the model of counts right,
#: the largest in two weeks would hardly reach it, so that a few rare faults stand out from many chances.
TAILS: Final = np.maximum(1 + np.log(LEARNED * HOUR / SCALES), 3.0)
QUIET_TAIL: Final = 5.0
_PARTS, _HOURS = SCALES[SCALES <= HOUR], SCALES[SCALES > HOUR] // HOUR
#: The scale of an hour.
AN_HOUR: Final = len(_PARTS) - 1
#: Hours of which counts are kept. A model of 10 events a day needs 10 days to show that they became 5.
KEPT: Final = 2 * WEEK

# One in the fixed-point integers: a model of one event a day expects 2,700 of them in an hour, one of 10,000 events/s
# 2.4e12, and the sums stay below 2^63.
ONE = 1 << 16
# One in the sums of squares: a day of 10,000 events/s has a chance of 1e-9, and 8192 by 10^6 slots stay below 2^63.
_FINE = 1 << 28
_MILLI = 1000  # of a nat, in the tails
# Events by which a finer profile is drawn to the coarser one, and a level to 1.
_PRIOR = 4
# Of an hour's cell, an eighth is forgotten when its next week comes; of a level, 1/168 each hour; of dispersion and
# tails, a sixteenth a week, for rare bursts need months to be known.
_FADE_CELL, _FADE_LEVEL, _FADE_SPREAD = 8, WEEK, 16
# Events that a level remembers at least: it is then known to a twentieth.
_STEADY = 400
# Independent stretches from which a scale's dispersion is believed; with fewer it is at least the next shorter one's.
_ENOUGH = 14.0
# Share of a scale's typical count that a stretch needs to belong to it.
_ALIKE = math.sqrt(0.5)
# Times the mean count beyond which a stretch counts no more in the dispersion: a day's events in one slot are 8640.
_MOST = 1 << 13
#: Profiles: one rate, by hour of the day, by hour of the week.
PROFILES: Final = 3
# Ages of what is learned of the misses: settled, last week's, this week's. Only the settled judges, so that a change
# that is not found at once does not become part of what is usual.
_AGES = 3


def _zeros(*shape: int) -> IntArray:
    return np.zeros(shape, np.int64)


class _Stretches(NamedTuple):
    """Stretches of time: scale (b,), ascending, events seen (b,) and expected by each profile (P, b)."""

    scale: IntArray
    seen: IntArray
    expected: FloatArray


# Without slots: cached_property needs a place.
@dataclass(frozen=True, eq=False)
class Rates:
    """What is known of the rate after the hours before `hour`. P profiles, S scales; fixed-point integers throughout.

    hour: Unix hour. learned: slots learned. cells: (2, 168) events and slots by hour of the week. levels: (2, P) seen
    and expected. spread: (3, 3, P, S) by age, sums of q, of q² and of (r - q)² - chance, where r and q are seen and
    expected counts by their mean. tails: (3, 3, P, 2S + 1) by age, number, sum and largest of the excesses over `TAILS`
    in thousandths of a nat: too few by scale, too many by scale (by logarithms), silence. silence: (P,) expected since
    the last event. quiet, longest: slots since the last event, and of the longest gap so far. kept: (1 + 2P, h) of the
    last h <= KEPT hours after the first week: events, expected by each profile, its level before that hour.
    """

    hour: int
    learned: int = 0
    cells: IntArray = field(default_factory=lambda: _zeros(2, WEEK))
    levels: IntArray = field(default_factory=lambda: _zeros(2, PROFILES))
    spread: IntArray = field(default_factory=lambda: _zeros(_AGES, 3, PROFILES, len(SCALES)))
    tails: IntArray = field(default_factory=lambda: _zeros(_AGES, 3, PROFILES, 2 * len(SCALES) + 1))
    silence: IntArray = field(default_factory=lambda: _zeros(PROFILES))
    quiet: int = 0
    longest: int = 0
    kept: IntArray = field(default_factory=lambda: _zeros(1 + 2 * PROFILES, 0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rates) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def ready(self) -> bool:
        """Whether two weeks are learned, one to predict and one to see how well."""
        return self.learned >= LEARNED * HOUR

    def _settled(self, sums: IntArray) -> IntArray:
        """Sums of the weeks before the last two; while they are few, of all weeks."""
        return np.asarray(sums[0] if self._lagged else sums.sum(0))

    @property
    def _lagged(self) -> bool:
        return self.learned >= 2 * LEARNED * HOUR

    @property
    def tail(self) -> IntArray:
        """The settled tails (3, P, 2S + 1): number, sum and largest of the excesses, in thousandths of a nat."""
        if self._lagged:
            return np.asarray(self.tails[0])
        return np.concatenate([self.tails[:, :2].sum(0), self.tails[:, 2:].max(0)])

    @property
    def tested(self) -> float:
        """Slots in which the excesses of `tail` came, those that faded left out."""
        weeks = self.learned // (WEEK * HOUR) - 2 if self._lagged else self.learned / (WEEK * HOUR) - 1
        return WEEK * HOUR * _FADE_SPREAD * (1 - (1 - 1 / _FADE_SPREAD) ** weeks)

    @cached_property
    def shapes(self) -> FloatArray:
        """Events a slot (P, 168) by profile and hour of the week, before the level."""
        seen, slots = self.cells / ONE
        mean = seen.sum() / max(slots.sum(), 1.0)
        if not mean:
            return np.zeros((PROFILES, WEEK))
        # Days begin at hour 0, so that hours of the day are the columns.
        day = (seen.reshape(7, 24).sum(0) + _PRIOR) / (slots.reshape(7, 24).sum(0) + _PRIOR / mean)
        daily = np.tile(day, 7)
        weekday = (seen.reshape(7, 24).sum(1) + _PRIOR) / ((slots * daily).reshape(7, 24).sum(1) + _PRIOR)
        weekly = (seen + _PRIOR) / (slots + _PRIOR / (daily * np.repeat(weekday, 24)))
        return np.stack([np.full(WEEK, mean), daily, weekly])

    @cached_property
    def level(self) -> FloatArray:
        """Level (P,) of each profile now."""
        seen, expected = self.levels / ONE
        return np.asarray((seen + _PRIOR) / (expected + _PRIOR))

    @cached_property
    def best(self) -> int:
        """The profile that has missed the counts of hours by least."""
        return int(self._settled(self.spread)[2, :, AN_HOUR].argmin())

    @cached_property
    def dispersion(self) -> tuple[FloatArray, FloatArray]:
        """Relative variance of the rate (P, S), and the number of independent stretches (P, S) that say so."""
        q, squares, excess = self._settled(self.spread) / _FINE
        variance = np.maximum(excess / np.maximum(squares, 1 / _FINE), 0.0)
        samples = q * q / np.maximum(squares, 1 / _FINE)
        for scale in range(1, len(SCALES)):
            few, shorter = samples[:, scale] < _ENOUGH, math.sqrt(SCALES[scale - 1] / SCALES[scale])
            least = np.maximum(variance[:, scale], variance[:, scale - 1] * shorter)
            variance[:, scale] = np.where(few, least, variance[:, scale])
            samples[:, scale] = np.where(few, samples[:, scale - 1], samples[:, scale])
        return variance, samples

    @cached_property
    def past(self) -> FloatArray:
        """Of the last 0 to h hours (3, h + 1): events, expected by the best profile, and its level when they began."""
        seen, expected, level = self.kept[[0, 1 + self.best, 1 + PROFILES + self.best], ::-1] / [[1], [ONE], [ONE]]
        sums = np.cumsum([seen, expected, level], axis=1)
        sums[2] = level
        return np.concatenate([[[0.0], [0.0], self.level[[self.best]]], sums], axis=1)

    @cached_property
    def typical(self) -> FloatArray:
        """Events (P, S) that a stretch of each scale typically holds: their mean, weighted by themselves."""
        q, squares, _ = self._settled(self.spread) / _FINE
        unit = float(self.shapes[0, 0] * self.level[0]) * SCALES
        return np.maximum.accumulate(unit * squares / np.maximum(q, 1 / _FINE), axis=1)

    def scale(self, slots: IntArray, expected: FloatArray, profile: int) -> IntArray:
        """The longest scale that stretches reach, both in slots and in expected events, broadcast; 0 if none.

        Clumps vary by events, days by time: an hour at night is as uncertain as the minutes by day that hold as much.
        """
        by_events = np.searchsorted(self.typical[profile] * _ALIKE, expected, side="right") - 1
        return np.maximum(np.minimum(lasting(slots), by_events), 0)

    def moved(self, hour: int) -> Rates:
        """The rates after the hours before another `hour`, without anything that belongs to their own time."""
        none = self.kept[:, :0]
        return replace(self, hour=hour, silence=_zeros(PROFILES), quiet=0, kept=none)

    def at_level(self, factor: float) -> Rates:
        """The rates where `factor` times as many events as so far are expected from now on."""
        levels = self.levels.copy()
        levels[0] = (levels[0] * factor).round()
        return replace(self, levels=levels)

    def fold(self, counts: IntArray, known: BoolArray, cell: int, learn: bool = True) -> Rates:
        """The rates with the next hour, of the week's hour `cell`: counts (360,) by slot, where `known` (360,).

        Without `learn` the hour can be judged, but changes no expectation.
        """
        seen, slots = int(counts[known].sum()), int(known.sum())
        after = replace(self._gaps(counts, known, cell, learn), hour=self.hour + 1, kept=self._kept(cell, seen, slots))
        if not learn or not slots:
            return after
        if self.learned >= WEEK * HOUR:
            after = after._tested(self._stretches(after.kept, counts, known, cell))
        return after._taught(cell, seen, slots, self)

    def _kept(self, cell: int, seen: int, slots: int) -> IntArray:
        if self.learned < WEEK * HOUR:
            return self.kept
        hour = np.array([seen, *(self.shapes[:, cell] * slots * ONE), *(self.level * ONE)]).round().astype(np.int64)
        return np.concatenate([self.kept[:, 1 - KEPT :], hour[:, None]], axis=1)

    def _taught(self, cell: int, seen: int, slots: int, before: Rates) -> Rates:
        cells, levels = self.cells.copy(), self.levels
        cells[:, cell] += [seen * ONE, slots * ONE] - cells[:, cell] // _FADE_CELL
        if self.learned >= FIRST_DAYS * HOUR:
            expected = before.shapes[:, cell] * slots
            levels = (
                levels - levels // self._memory() + (np.stack([np.full(PROFILES, seen), expected]) * ONE).astype(int)
            )
        after = replace(self, cells=cells, levels=levels, learned=self.learned + slots)
        weeks = (self.learned // (WEEK * HOUR), after.learned // (WEEK * HOUR))
        return after if weeks[0] == weeks[1] else after._aged()

    def _aged(self) -> Rates:
        """The rates with a week more: what was learned in the last week but one is settled."""
        spread, tails = (each[0] - each[0] // _FADE_SPREAD for each in (self.spread, self.tails))
        settled = np.concatenate([tails[:2] + self.tails[1, :2], np.maximum(tails[2:], self.tails[1, 2:])])
        return replace(
            self,
            spread=np.stack([spread + self.spread[1], self.spread[2], np.zeros_like(spread)]),
            tails=np.stack([settled, self.tails[2], np.zeros_like(settled)]),
        )

    def _memory(self) -> int:
        """Hours that a level remembers: a week, or as many as bring it enough events, within a quarter of a year."""
        an_hour = max(float(self.shapes[0, 0]) * HOUR, 1 / ONE)
        return int(min(max(_FADE_LEVEL, _STEADY / an_hour), 13 * WEEK))

    def _stretches(self, kept: IntArray, counts: IntArray, known: BoolArray, cell: int) -> _Stretches:
        """The stretches of all scales that end in this hour."""
        rate, counts = self.shapes[:, cell] * self.level, np.where(known, counts, 0)
        ends = [each for each in _HOURS if (self.hour + 1) % each == 0 and kept.shape[1] >= each]
        long = [kept[:, -each:] for each in ends]
        seen = [counts.reshape(-1, width).sum(1) for width in _PARTS] + [each[:1].sum(1) for each in long]
        # As a window would, a stretch expects what the level said when it began.
        expected = [np.outer(rate, known.reshape(-1, width).sum(1)) for width in _PARTS]
        expected += [(each[1 + PROFILES :, :1] / ONE) * each[1 : 1 + PROFILES].sum(1)[:, None] / ONE for each in long]
        slots = [*_PARTS, *(each * HOUR for each in ends)]
        scale = np.repeat(lasting(np.array(slots)), [len(each) for each in seen])
        return _Stretches(scale, np.concatenate(seen), np.concatenate(expected, axis=1))

    def _tested(self, stretches: _Stretches) -> Rates:
        scale, n, e = stretches
        unit = np.maximum(float(self.shapes[0, 0] * self.level[0]) * SCALES[scale], 1 / ONE)
        r, q = np.minimum(n / unit, _MOST), np.minimum(e / unit, _MOST)
        starts = np.flatnonzero(np.diff(scale, prepend=-1))
        sums = np.add.reduceat(np.stack([q, q * q, (r - q) ** 2 - q / unit]), starts, axis=2)
        spread, tails = self.spread.copy(), self.tails.copy()
        spread[-1, :, :, scale[starts]] += (sums * _FINE).round().astype(np.int64).transpose(2, 0, 1)
        after = replace(self, spread=spread)
        for profile in range(PROFILES):
            _add_excess(tails[-1, :, profile], *after._excess(scale, n, e[profile], profile))
        return replace(after, tails=tails)

    def _excess(self, scale: IntArray, n: IntArray, e: FloatArray, profile: int) -> tuple[IntArray, FloatArray]:
        """Columns of the tails (b,) and excesses (b,) of stretches with n (b,) events where e (b,) were expected."""
        alike, few, many = self.scale(SCALES[scale], e, profile), n < e, n > e
        v, samples = (each[profile, alike] for each in self.dispersion)
        evidence = np.zeros(len(n))
        evidence[few] = few_evidence(n[few], e[few], v[few])
        evidence[many] = many_evidence(n[many], e[many], v[many])
        evidence, bound = unsure(evidence, samples), TAILS[alike]
        power = bound * np.log(np.maximum(evidence, 1.0) / bound)
        return np.where(many, len(SCALES) + alike, alike), np.where(many, power, evidence - bound)

    def _gaps(self, counts: IntArray, known: BoolArray, cell: int, learn: bool) -> Rates:
        """The rates with the silence after this hour, and the tail of the gaps that ended in it."""
        # In the first week, nothing is known of the silence of nights and weekends.
        tested = self.learned >= WEEK * HOUR
        rate = self.shapes[:, cell] * self.level * tested
        passed = np.concatenate([[0], np.cumsum(known)])
        active = np.flatnonzero((counts > 0) & known)
        if not len(active):
            silence = self.silence + (rate * passed[-1] * ONE).astype(np.int64)
            return replace(self, silence=silence, quiet=self.quiet + int(passed[-1]))
        # Each gap ends at an active slot; the first began in an earlier hour.
        gaps = np.diff(passed[active], prepend=-1) - 1
        expected = rate[:, None] * gaps
        expected[:, 0] += self.silence / ONE
        gaps[0] += self.quiet
        after = self._with_gaps(gaps, expected) if learn and tested else self
        rest = int(passed[-1] - passed[active[-1] + 1])
        silence = (rate * rest * ONE).astype(np.int64)
        longest = max(self.longest, int(gaps.max())) if learn else self.longest
        return replace(after, silence=silence, quiet=rest, longest=longest)

    def _with_gaps(self, gaps: IntArray, expected: FloatArray) -> Rates:
        """The rates with gaps (g,), their lengths in slots, in which `expected` (P, g) events did not come."""
        tails = self.tails.copy()
        for profile in range(PROFILES):
            variance = self.dispersion[0][profile, self.scale(gaps, expected[profile], profile)]
            excess = silence_evidence(expected[profile], variance) - QUIET_TAIL
            _add_excess(tails[-1, :, profile], np.full(len(gaps), -1), excess)
        return replace(self, tails=tails)


def lasting(slots: IntArray) -> IntArray:
    """The longest scale that stretches of these lengths reach, in slots."""
    return np.maximum(np.searchsorted(SCALES, slots, side="right") - 1, 0)


def _add_excess(tail: IntArray, columns: IntArray, excess: FloatArray) -> None:
    """Add to the columns (b,) of a tail (3, T) the excesses (b,) that are above 0, in place."""
    thousandths = (np.maximum(excess, 0.0) * _MILLI).astype(np.int64)
    np.add.at(tail[0], columns, thousandths > 0)
    np.add.at(tail[1], columns, thousandths)
    np.maximum.at(tail[2], columns, thousandths)
