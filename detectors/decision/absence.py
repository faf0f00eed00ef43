"""Absence: is a model's traffic less, or more, than the hour of the week lets expect?

Whenever time is known to have come to a slot (a tick, every 10 s), all windows that end there are compared with what
`rates` expects of them: is there nothing since the last event, too little, too much? A window's expectation knows
nothing that came after its start, and its dispersion nothing of the last week. Evidence is in nats, and so are
thresholds, which come from the false pages a month that are allowed:

1. The bound. Windows overlap, so what counts is how often there is something new to see: at each slot, or at each event
   if they are rarer. With B of these a month, `allowed` false pages a month and three kinds of tests,

       bound = ln(3 B / allowed) + SCAN        nats.

   A model of 10 events/s is thus missed after a slot, one of 10 a day after a day, without a setting.
2. The tail. Where traffic varies in other ways than the counts of `statistics.counts`, what was learned shows evidence
   beyond `TAILS` too often or too far. Such a tail is continued as an exponential (peaks over threshold; Pickands, Ann.
   Statist. 3, 1975): C excesses in a time t, of mean m and maximum M, beyond u give

       threshold = u + max(m (1 + 1/√C), M / (ln C + 1)) · ln(3 C / (allowed · t))       at least the bound.

   Surges have no scale of their own, unlike silences: too many is continued as a power, by logarithms of evidence
   (Hill, Ann. Statist. 3, 1975). Restarts of a minute, seen a few times, do not page, and neither does a nightly batch
   that begins a little early.
3. The first weeks. Until two weeks are learned, nothing is known of weekends and little of nights. Then only silence is
   judged, against the longest gap so far: 8 times as long, and at least an hour, after at least two days of traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.rates import AN_HOUR, FIRST_DAYS, HOUR, QUIET_TAIL, SCALES, TAILS, Rates, lasting
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar, Traffic
from driftline.detectors.decision.windows import Counts, Windows
from driftline.detectors.statistics.counts import few_evidence, many_evidence, silence_evidence, unsure

#: Slots of a month of 30 days.
MONTH: Final = 30 * 24 * HOUR
#: Nats by which the largest of all windows exceeds one test for each event or slot; what comes of it is simulated in
#: load_tests/bench/absence.py.
SCAN: Final = 1.0
#: Times the longest gap that a silence of the first weeks must last: nights off must not make weekends a page.
PATIENCE: Final = 8

# Least count for which a window is tested for too many: below, three events at once would be an alarm.
_LEAST = 1.0
# Share of a typical stretch that is expected at least, when there may be too many.
_BY_DAY = 0.25
# Logarithm of a threshold that nothing reaches, so that its exponential stays finite.
_BLIND = 100.0
# Nats of the ratio that says traffic is back: by chance once in e^12 windows of a lasting incident, in which each slot
# of a week, 60,000, has a few. With 8, half the traffic of a busy model was over several times a day.
_BACK: Final = 12.0
# A silence ends with its first events. It needs no proof that they are as many as they should, which is the next test.
_HEARD: Final = 1.0


class Kind(IntEnum):
    """What a window shows."""

    SILENCE = 0
    FEW = 1
    MANY = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """The window that comes nearest to its threshold, or exceeds it.

    start, end: slots, end exclusive. seen, expected: events in it. evidence, threshold: nats.
    """

    kind: Kind
    start: int
    end: int
    seen: int
    expected: float
    evidence: float
    threshold: float

    @property
    def alarm(self) -> bool:
        """Whether the evidence reaches the threshold."""
        return self.evidence >= self.threshold


def judge(
    traffic: Traffic, now: int, allowed: float, *, begin: int = 0, calendar: Calendar = EVERY_DAY
) -> Evidence | None:
    """The strongest evidence, relative to its threshold, that traffic before the slot `now` is not as expected.

    now: `traffic.until`, or a slot in the hour before it. allowed: false pages in 30 days. begin: no window begins
    before this slot, the end of the last incident. None while nothing can be said: before two days are learned, or
    without any event. While two weeks are not learned, `evidence` and `threshold` are slots of silence.
    """
    return judge_all(traffic, [now], allowed, begin=begin, calendar=calendar)[0]


def judge_all(
    traffic: Traffic, moments: Sequence[int], allowed: float, *, begin: int = 0, calendar: Calendar = EVERY_DAY
) -> list[Evidence | None]:
    """`judge` at several moments, all in the hour that ends at `traffic.until`: as if each had been `until` then."""
    now, rates = np.asarray(moments, np.int64), traffic.rates
    if rates.learned < FIRST_DAYS * HOUR or not rates.shapes.any():
        return [None] * len(now)
    counts = Counts.of(traffic, calendar)
    silence = counts.silence(now, begin)
    if not rates.ready:
        return _first_weeks(rates, silence, counts.quiet(now))
    windows = silence.beside(counts.windows(now, begin))
    scale = rates.scale(windows.end - windows.start, windows.expected, rates.best)
    return _strongest(windows, _evidence(rates, windows, scale), _limits(rates, windows, scale, allowed))


def recovered(traffic: Traffic, now: int, since: int, calendar: Calendar = EVERY_DAY) -> bool:
    """Whether an incident that began at the slot `since` is over at `now`: its last window is as expected again.

    For each window in it, the likelihood of its count at the expected rate is compared with that at the rate of the
    incident before it (a CUSUM, Page 1954, written as a maximum over windows). After silence a first event is enough
    where few are expected; where thousands are, one in an hour is not. In the first week it is enough also if time has
    passed over it since, as then the last hours alone are known.
    """
    counts, rates = Counts.of(traffic, calendar), traffic.rates
    if counts.old.shape[1] == 1 and rates.quiet < traffic.known(since, max(counts.first - since, 0), calendar).sum():
        return True
    all_seen, all_expected = counts.between(since, now)
    last = counts.windows(np.array([now]), since)
    seen, expected = np.maximum(all_seen - last.seen, 0), np.maximum(all_expected - last.expected, 0)
    ratio = (seen + 0.5) / (expected + 0.5)
    odds = last.expected * (ratio - 1) - last.seen * np.log(ratio)
    scale = rates.scale(last.end - last.start, last.expected, rates.best)
    chance = 1 + last.expected * rates.dispersion[0][rates.best][scale]
    return bool(((odds >= np.where(seen > 0, _BACK * chance, _HEARD)) & (last.seen > 0)).any())


def accept(traffic: Traffic, since: int, calendar: Calendar = EVERY_DAY) -> Traffic:
    """The traffic where as many events are expected from now on as came from the slot `since` on."""
    seen, expected = Counts.of(traffic, calendar).between(since, traffic.until)
    return replace(traffic, rates=traffic.rates.at_level((seen + 0.5) / (expected + 0.5)))


def _evidence(rates: Rates, windows: Windows, scale: IntArray) -> FloatArray:
    """Evidence (t, w) that the first window of each row is too silent, the others hold too few or too many events."""
    n, e, (variance, samples) = windows.seen, windows.expected, (each[rates.best][scale] for each in rates.dispersion)
    variance = _nested(rates, windows, variance)
    evidence = np.zeros(scale.shape)
    few, many = n < e, n > e
    evidence[few] = few_evidence(n[few], e[few], variance[few])
    # At night a surge is one only if it would be much by day: hours begin and end earlier than always.
    e = np.maximum(e, np.maximum(_LEAST, _BY_DAY * rates.typical[rates.best][lasting(windows.end - windows.start)]))
    evidence[many] = many_evidence(n[many], e[many], variance[many])
    evidence = unsure(evidence, samples)
    evidence[:, 0] = silence_evidence(windows.expected[:, 0], variance[:, 0])
    return evidence


def _nested(rates: Rates, windows: Windows, variance: FloatArray) -> FloatArray:
    """Relative variance (t, w) that is not less than the first and the last part of a window let it be.

    A window of ten hours that begins or ends amid a nightly batch is as uncertain as the minutes of the batch.
    """
    an_hour = rates.dispersion[0][rates.best, AN_HOUR]
    spread = np.maximum(variance * windows.expected**2, an_hour * windows.edge**2)
    spread[:, 1:] = np.maximum.accumulate(spread[:, 1:], axis=1)
    inside = windows.start >= windows.start[:, :1]
    spread[:, 0] = np.where(inside, spread, 0.0).max(1)
    return np.asarray(spread / np.maximum(windows.expected, 1e-9) ** 2)


def _limits(rates: Rates, windows: Windows, scale: IntArray, allowed: float) -> FloatArray:
    """Thresholds (t, w) of the evidence, in nats."""
    column = scale + np.where(windows.seen > windows.expected, len(SCALES), 0)
    column[:, 0] = 2 * len(SCALES)
    return np.asarray(thresholds(rates, allowed)[column])


def thresholds(rates: Rates, allowed: float) -> FloatArray:
    """Thresholds (2S + 1,) in nats of the columns of `Rates.tails`, for `allowed` false pages in 30 days."""
    rate = float(rates.shapes[0, 0] * rates.level[0])
    bound = math.log(max(len(Kind) * MONTH * min(rate, 1.0) / allowed, 1.0)) + SCAN
    number, total, largest = rates.tail[:, rates.best] / [[1], [1000], [1000]]
    some = np.maximum(number, 1.0)
    slope = np.maximum(total / some * (1 + 1 / np.sqrt(some)), largest / (np.log(some) + 1))
    spent = allowed * rates.tested / MONTH
    beyond = slope * np.log(np.maximum(len(Kind) * some / spent, 1.0))
    few, many, silence = np.split(beyond, [len(SCALES), 2 * len(SCALES)])
    power = TAILS * np.exp(np.minimum(many / TAILS, _BLIND))
    # Where nothing went beyond, the bound alone holds.
    own = np.where(number > 0, np.concatenate([TAILS + few, power, QUIET_TAIL + silence]), bound)
    few, many, silence = np.split(np.maximum(own, bound), [len(SCALES), 2 * len(SCALES)])
    return np.concatenate([_as_shorter(few), _as_shorter(many), silence])


def _as_shorter(limits: FloatArray) -> FloatArray:
    """The largest limit (S,) of each scale and the two shorter ones, whose rare counts lie in its windows."""
    longer = limits.copy()
    for by in (1, 2):
        np.maximum(longer[by:], limits[:-by], out=longer[by:])
    return longer


def _strongest(windows: Windows, evidence: FloatArray, threshold: FloatArray) -> list[Evidence | None]:
    """The window of each row with the largest ratio of evidence to threshold."""
    rows, columns = np.arange(len(evidence)), (evidence / threshold).argmax(1)
    seen, expected = windows.seen[rows, columns], windows.expected[rows, columns]
    kinds = np.where(columns == 0, Kind.SILENCE, np.where(seen < expected, Kind.FEW, Kind.MANY))
    chosen = (windows.start, windows.end, seen, expected, evidence, threshold)
    values = (each[rows, columns].tolist() if each.ndim == 2 else each.tolist() for each in chosen)
    return [Evidence(Kind(kind), *found) for kind, *found in zip(kinds.tolist(), *values, strict=True)]


def _first_weeks(rates: Rates, silence: Windows, quiet: IntArray) -> list[Evidence | None]:
    """Silence (t, 1) of `quiet` (t,) slots, while nothing else is known: not nats, but compared in the same way."""
    limit = np.full(silence.expected.shape, float(max(PATIENCE * rates.longest, HOUR)))
    return _strongest(silence, quiet[:, None].astype(float), limit)
