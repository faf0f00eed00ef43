"""The demo's traffic: synthetic models of payments in which faults occur one after another. Pure, seeded.

    healthy features ──► the fault of the phase ──► the model: score, prediction ──► messages

    seconds     0   1      14     19   23      28   32      37   41           54   61       76      118
    card-fraud  │ healthy   │ unit │   │ field │   │ value │   │ slow shift │ healthy        │ Avro │
    gift-cards  │ healthy      │ stopped (15 to 45)                 │ healthy                │ Avro │
    refunds     │ healthy        │ concept drift (20 on): labels say so later                │ Avro │
    worker 2    │   │ killed                                              │ reads again

The models score the features they receive: as in production, a fault in a feature moves score and prediction as far as
the model uses that feature. Events are made in blocks of a twentieth of a second; a block depends only on the seed and
its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.rates import Rates
from driftline.stream.baselines.rates import learn_rates

MODEL = "card-fraud"
#: A model of the same features, of which a block holds one event more. Its traffic stops for a time.
STOPPING = "gift-cards"
#: A model of the same features, an event a block, whose labels come later on a topic of their own.
LABELLED = "refunds"
#: The topic of all.
TOPIC = "predictions"
#: Events of `MODEL` per second, and per block.
RATE, BLOCK = 2000, 100
#: Outputs of the model: they drift with its features, which is no second fault.
CONSEQUENCES = ("score", "prediction")
#: Events of the past from which the baseline is made. Their sampling error shortens a window's evidence by n / (n + m):
#: at half, the slow shift is found a tenth later.
HISTORY = 20_000
# Seconds of a slot in which traffic is counted, slots of the three weeks of which it is known, and the relative
# variance of its rate: a machine that is busy for a second is no fault.
_SLOT, _WEEKS, _UNSTEADY = 10, 3 * 7 * 8640, 0.1

Values = npt.NDArray[Any]
Columns = dict[str, Values]
# A feature's healthy values (n,), the progress of the fault (n,) in [0, 1], a random generator -> the faulty values.
Corruption = Callable[[Values, FloatArray, np.random.Generator], Values]

# Share of payments, median amount in euros, share made with the card in hand, risk in logits.
_MERCHANTS: Mapping[str, tuple[float, float, float, float]] = {
    "groceries": (0.30, 24.0, 0.95, -0.6),
    "restaurant": (0.18, 32.0, 0.90, -0.3),
    "fuel": (0.12, 48.0, 0.97, -0.2),
    "fashion": (0.12, 55.0, 0.55, 0.1),
    "electronics": (0.09, 140.0, 0.40, 0.7),
    "travel": (0.07, 210.0, 0.20, 0.5),
    "pharmacy": (0.07, 18.0, 0.85, -0.4),
    "gaming": (0.05, 15.0, 0.02, 1.0),
}
_COUNTRIES = {"DE": 0.41, "FR": 0.22, "IT": 0.14, "ES": 0.11, "AT": 0.07, "CH": 0.05}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for some seconds. description: its cause, for people.

    signal: the faulty one, which a page must name first. corrupt: what happens to it, None if it is no feature.
    component: the model or topic that a page must name. kind: the class that it must have. within: s after which it is
    late; None where what it takes depends on how many events show the fault.
    """

    name: str
    signal: str
    description: str
    seconds: float
    corrupt: Corruption | None = None
    component: str = MODEL
    kind: str = "data-drift"
    within: float | None = None

    @property
    def feature(self) -> str:
        """The name of the faulty feature."""
        return self.signal.removeprefix("features.")


@dataclass(frozen=True, slots=True)
class Phase:
    """Events [start, end), healthy or with a fault. fixed: the fault that has ended before."""

    fault: Fault | None
    start: int
    end: int
    fixed: Fault | None = None


def _cents(amount: Values, _: FloatArray, __: np.random.Generator) -> Values:
    return amount * 100


def _lost(values: Values, _: FloatArray, rng: np.random.Generator) -> Values:
    out = values.astype(object)
    out[rng.random(len(values)) < 0.5] = None
    return out


def _new_category(category: Values, _: FloatArray, rng: np.random.Generator) -> Values:
    return np.where(rng.random(len(category)) < 0.06, "crypto", category)


def _ever_younger(age: Values, progress: FloatArray, _: np.random.Generator) -> Values:
    return age * np.exp(-0.9 * progress)


FAULTS = (
    Fault("unit change", "features.amount", "the shop sends amounts in cents instead of euros", 5, _cents),
    Fault(
        "missing field",
        "features.device_score",
        "one of two device services has stopped answering",
        5,
        _lost,
        kind="data-quality",
    ),
    Fault("new category", "features.merchant_category", "6 % of payments go to crypto exchanges", 5, _new_category),
    Fault("slow shift", "features.account_age_days", "a campaign brings ever younger accounts", 13, _ever_younger),
    Fault(
        "another format", "rejected", "all services send Avro, which nobody has configured", 42, None, TOPIC, "schema"
    ),
)
# s from a stop to its page: a slot of 10 s may have begun, the next one must be empty, the tick that says so comes
# every 10 s, and speaks of panes that take some seconds. As long, again, from the return to the end of the incident.
_SLOT_AND_TICK = 35
# s from concept drift to its page: a slot of 10 s of predictions, 3 until the last of these has its label, as long as a
# slot again for stragglers and as long for disorder, another slot if the first one began before, then pane and tick.
_LABEL_AND_SLOTS = 60
# s that a busy machine may add: those of one tick more.
_BUSY = 10
#: While these occur, the traffic of the other model stops, and returns.
STOP = Fault(
    "stopped model", "traffic", "gift-cards is not called", 30, None, STOPPING, "absence", _SLOT_AND_TICK + _BUSY
)
#: What moves no feature, score or prediction: only labels say so.
CONCEPT = Fault(
    "concept drift",
    "accuracy",
    "in France and Italy, what the model takes for an honest refund no longer is",
    98,
    None,
    LABELLED,
    "outcomes",
    _LABEL_AND_SLOTS + _BUSY,
)
#: What must page nobody: while it lasts, events are read late, which is neither silence nor drift.
OUTAGE = Fault("killed worker", "", "one of two workers gets SIGKILL, and stays away for a minute", 60)
_STOPS_AT, _KILLED_AT, _TURNS_AT = 15, 1, 20
# Blocks from a refund to its label: 3 s, which stand for days.
_LABELLED_AFTER = 60
# Share of refunds that the model decides as they ought to be.
_RIGHT = 0.92
_TURNED = {"FR", "IT"}
# Seconds of healthy traffic before the first fault, between two and after the last. The first ones are those in which
# the other worker takes over, the last ones those in which the killed one returns and the stop is resolved. An incident
# ends one second, for recovery, after the events show that its drift is over. By a quiet window that takes twice the
# events of the alarm, one second for the first three faults and up to six for the slow shift; by the drift's own level,
# it is seen sooner.
_BEFORE, _BETWEEN, _BEFORE_LAST = 14.0, 4.0, 22.0


def _script() -> Iterator[tuple[Fault | None, float]]:
    """The faults (None: healthy traffic) in order, and how many seconds each lasts."""
    yield None, _BEFORE
    for fault in FAULTS[:-1]:
        yield fault, fault.seconds
        yield None, _BEFORE_LAST if fault is FAULTS[-2] else _BETWEEN
    yield FAULTS[-1], FAULTS[-1].seconds


@dataclass(frozen=True)
class Scenario:
    """The traffic of one demo."""

    seed: int

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All phases in order, without gaps."""
        faults, seconds = zip(*_script(), strict=True)
        bounds = pairwise(accumulate((round(each * RATE) for each in seconds), initial=0))
        fixed = (None, *faults)
        return tuple(
            Phase(fault, start, end, before)
            for fault, (start, end), before in zip(faults, bounds, fixed[:-1], strict=True)
        )

    @cached_property
    def stop(self) -> Phase:
        """When the other model has no traffic."""
        return Phase(STOP, _STOPS_AT * RATE, round((_STOPS_AT + STOP.seconds) * RATE))

    @cached_property
    def outage(self) -> Phase:
        """When one of the workers is away, at least."""
        return Phase(OUTAGE, _KILLED_AT * RATE, round((_KILLED_AT + OUTAGE.seconds) * RATE))

    @cached_property
    def concept(self) -> Phase:
        """When labels no longer follow predictions, to the end."""
        return Phase(CONCEPT, _TURNS_AT * RATE, self.events)

    @property
    def faults(self) -> list[tuple[Fault, int, int]]:
        """All faults in the order of their beginning, each with its events [start, end) of `MODEL`."""
        planted = [(each.fault, each.start, each.end) for each in (*self.phases, self.stop, self.concept) if each.fault]
        return sorted(planted, key=lambda each: each[1])

    @property
    def news(self) -> list[Phase]:
        """What begins at an event of `MODEL`, a fault or the time after one, in order."""
        stop = self.stop
        news = [*self.phases, stop, Phase(None, stop.end, stop.end, STOP), self.concept]
        return sorted(news, key=lambda each: each.start)

    @property
    def events(self) -> int:
        """Number of events of `MODEL` in the scenario."""
        return self.phases[-1].end

    def phase(self, index: int) -> Phase:
        """The phase of the event with this index; the last phase never ends."""
        return next((phase for phase in self.phases if index < phase.end), self.phases[-1])

    def block(self, number: int) -> Columns:
        """Signals of the BLOCK events from number · BLOCK on, (BLOCK,) each; phases begin and end between blocks."""
        rng = np.random.default_rng([self.seed, 1, number])
        columns, phase = _healthy(rng, BLOCK), self.phase(number * BLOCK)
        if (fault := phase.fault) and fault.corrupt:
            progress = (number * BLOCK + np.arange(BLOCK) - phase.start) / (phase.end - phase.start)
            columns[fault.feature] = fault.corrupt(columns[fault.feature], progress, rng)
        return _scored(columns)

    def messages(self, number: int, ids: Sequence[str], now: int) -> list[bytes]:
        """The messages of a block at epoch ms `now`: BLOCK of `MODEL`, a refund and, unless stopped, a gift card.

        ids: (BLOCK + 2,).
        """
        first, stop = number * BLOCK, self.stop
        sent = messages(self.block(number), ids[:BLOCK], [now] * BLOCK)
        sent += messages(self._refund(number), ids[BLOCK : BLOCK + 1], [now], LABELLED)
        if not stop.start <= first < stop.end:
            other = _scored(_healthy(np.random.default_rng([self.seed, 2, number]), 1))
            sent += messages(other, ids[BLOCK + 1 :], [now], STOPPING)
        is_avro = self.phase(first).fault is FAULTS[-1]
        return [_avro(each) for each in ids[: len(sent)]] if is_avro else sent

    def _refund(self, number: int) -> Columns:
        return _scored(_healthy(np.random.default_rng([self.seed, 4, number]), 1))

    def labels(self, number: int, id_of: Callable[[int], str], now: int) -> list[bytes]:
        """The labels that are known with a block: of the refund 3 s before, if it was read. id_of: a refund's id."""
        labelled = number - _LABELLED_AFTER
        if labelled < 0 or self.phase(labelled * BLOCK).fault is FAULTS[-1]:
            return []
        turned = _TURNED if labelled * BLOCK >= self.concept.start else set[str]()
        (label,) = _right(self._refund(labelled), np.random.default_rng([self.seed, 5, labelled]), turned)
        return [orjson.dumps({"id": id_of(labelled), "ts": now, "model": LABELLED, "label": label})]

    def past_labels(self) -> list[str]:
        """The labels (HISTORY,) of the events before the scenario."""
        return _right(self.history(), np.random.default_rng([self.seed, 6]), set())

    def traffic(self, until: int) -> Rates:
        """What is known of the traffic of the other model, from three made-up weeks before epoch ms `until`."""
        rng, last = np.random.default_rng([self.seed, 3]), until // (1000 * _SLOT)
        expected = _SLOT * RATE / BLOCK * rng.gamma(1 / _UNSTEADY, _UNSTEADY, _WEEKS)
        return learn_rates(np.arange(last - _WEEKS, last), rng.poisson(expected))

    def history(self) -> Columns:
        """Signals of HISTORY events before the scenario, all healthy."""
        return _scored(_healthy(np.random.default_rng([self.seed, 0]), HISTORY))


def _right(columns: Columns, rng: np.random.Generator, turned: set[str]) -> list[str]:
    """How refunds (n,) ought to have been decided: as they were, but for a few, and for those of `turned` countries."""
    predicted, wrong = columns["prediction"].tolist(), rng.random(len(columns["prediction"])) > _RIGHT
    wrong |= np.isin(columns["country"].astype(str), [*turned])
    others = ["decline" if own == "approve" else "approve" for own in predicted]
    return [other if bad else own for own, other, bad in zip(predicted, others, wrong.tolist(), strict=True)]


def _avro(id_: str) -> bytes:
    """An id of at most 63 bytes as Avro, behind the head that registries of schemas ask for."""
    return b"\0\0\0\0\1" + bytes([2 * len(id_)]) + id_.encode()


def messages(columns: Columns, ids: Sequence[str], times: Sequence[int], model: str = MODEL) -> list[bytes]:
    """Events (n,) of a model as JSON; times are epoch ms."""
    outputs = [columns[name].tolist() for name in CONSEQUENCES]
    features = {name: column.tolist() for name, column in columns.items() if name not in CONSEQUENCES}
    rows = zip(ids, times, zip(*features.values(), strict=True), *outputs, strict=True)
    return [
        orjson.dumps(
            {
                "id": id_,
                "ts": ts,
                "model": model,
                "version": "1",
                "features": dict(zip(features, values, strict=True)),
                "score": score,
                "prediction": prediction,
            }
        )
        for id_, ts, values, score, prediction in rows
    ]


def _healthy(rng: np.random.Generator, n: int) -> Columns:
    """Features of n payments: (n,) each."""
    names, (share, median, in_hand, _) = list(_MERCHANTS), np.array(list(_MERCHANTS.values())).T
    merchant = rng.choice(len(names), n, p=share)
    age = np.exp(rng.normal(6.0, 1.0, n))
    return {
        "amount": np.round(median[merchant] * np.exp(rng.normal(0.0, 0.7, n)), 2),
        "merchant_category": np.array(names, object)[merchant],
        "country": rng.choice(np.array(list(_COUNTRIES), object), n, p=list(_COUNTRIES.values())),
        "card_present": rng.random(n) < in_hand[merchant],
        "account_age_days": np.round(age, 1),
        "payments_1h": rng.poisson(0.3 + 1.2 / (1 + age / 90), n),
        "device_score": np.round(rng.beta(6, 2, n), 3),
    }


def _scored(columns: Columns) -> Columns:
    """Add the model's score and prediction; like a forest of trees, the model is flat beyond its training data."""
    risks = {name: risk for name, (*_, risk) in _MERCHANTS.items()}
    device = np.array([0.75 if value is None else value for value in columns["device_score"].tolist()])
    logit = (
        -2.4
        + np.array([risks.get(name, 0.0) for name in columns["merchant_category"].tolist()])
        + 0.5 * np.clip(np.log(columns["amount"] / 40), -2, 2)
        - 0.7 * columns["card_present"]
        - 0.02 * np.clip(np.log(columns["account_age_days"] / 400), -2, 2)
        + 0.4 * columns["payments_1h"]
        - 1.2 * (device - 0.75)
    )
    score = np.round(1 / (1 + np.exp(-logit)), 4)
    prediction = np.select([score < 0.3, score < 0.6], ["approve", "review"], "decline")
    return columns | {"score": score, "prediction": prediction}
