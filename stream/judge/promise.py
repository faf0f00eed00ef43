"""What is promised of a model: false pages in 30 days, by family, and the rate per event that this is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftline.detectors.decision.budget import Family
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.config.signals import Signals
from driftline.stream.judge.pace import pace_of_baseline
from driftline.stream.text.phrases import listed


@dataclass(frozen=True)
class Promise:
    """What is promised of a model.

    model: its name, or which models. data, absence: false pages in 30 days; None of data: not known without
    its traffic; None of absence: its traffic is not judged. pace: events in 30 days, None if not known. rate: false
    alarms per event of its data; None if not known. outcomes: as data; None also if outcomes are not judged. least: the
    least changes that page by glob of signals, of all others by "*": a distance of numbers, and a share of one value.
    proven: the signals that are judged by bets, by globs if no baseline names them; "" if there are none.
    """

    model: str
    data: float | None
    absence: float | None
    pace: float | None
    rate: float | None
    outcomes: float | None = None
    least: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    proven: str = ""

    @classmethod
    def of(cls, model: str, config: ModelConfig, pace: float | None, baseline: Baseline | None = None) -> Promise:
        """What a configuration promises of a model. pace: its events in 30 days, None if not known.

        baseline: names the signals that are proven, if it is known.
        """
        data, rate = config.pages[Family.DATA], None
        if pace is not None or data is None:
            rate = config.rate_per_event(pace or 0.0)
        if data is None and pace is not None:
            data = config.false_alarms_per_event * pace
        least = {glob: (each.min_distance, each.min_share) for glob, each in config.signals.stated.items()}
        outcomes = config.pages.get(Family.OUTCOMES)
        proven = config.signals.bet_on if baseline is None else _proven(baseline, config.signals)
        return cls(model, data, config.pages[Family.ABSENCE], pace, rate, outcomes, least, proven)

    @property
    def pages(self) -> float | None:
        """False pages in 30 days of all families; None if not known."""
        return None if self.data is None else self.data + (self.absence or 0.0) + (self.outcomes or 0.0)

    def __str__(self) -> str:
        """The promise in words.

        >>> str(Promise("fraud", 0.9, 0.1, None, None))
        'false pages allowed in 30 days: 1 (data 0.9, absence 0.1)'
        >>> str(Promise("fraud", 0.9, 0.1, None, None, proven="score"))
        'false pages allowed in 30 days: 1 (data 0.9, absence 0.1); proven of score, if events are independent'
        """
        each = "absence is not judged" if self.absence is None else f"absence {_number(self.absence)}"
        each += "" if self.outcomes is None else f", outcomes {_number(self.outcomes)}"
        if self.pages is None or self.data is None:
            return f"one false alarm in {1 / (self.rate or 1):,.0f} events of its data; {each} in 30 days{self._rules}"
        rate = "" if self.rate is None else f"; {self.rate:.2g} per event of its data"
        traffic = "" if self.pace is None else f", at {self.pace:,.0f} events in 30 days"
        return (
            f"false pages allowed in 30 days: {_number(self.pages)} (data {_number(self.data)}, {each}){rate}{traffic}"
            f"{self._rules}"
        )

    @property
    def _rules(self) -> str:
        """The least changes that page, and what is proven, in words."""
        named = ((f"of {glob} " if glob != "*" else "", *each) for glob, each in self.least.items())
        each = [f"{of}a distance of {distance:g} or a share of {share:g}" for of, distance, share in named]
        least = f"; the least change that pages is {', '.join(each)}" if each else ""
        return least + (f"; proven of {self.proven}, if events are independent" if self.proven else "")


def promises(config: Config, baselines: Mapping[str, Baseline]) -> list[Promise]:
    """What is promised of every model that the configuration names, of those that its groups match, and of all others.

    baselines: the given ones by model, whose traffic stands for that of their models.
    """
    known = {name: (pace_of_baseline(each), each) for name, each in baselines.items()}
    named = [Promise.of(name, config.for_model(name), *known.get(name, (None,))) for name in config.known_models]
    globs = sorted({each for budget in config.budgets for each in budget.models} - {*config.known_models})
    matched = [Promise.of(f"any other of {each}", config.for_model(each), None) for each in globs]
    return [*named, *matched, Promise.of("any other model", config.defaults, None)]


def _proven(baseline: Baseline, signals: Signals) -> str:
    names = [each.name for each in baseline.layout.signals if signals.selects(each.name)]
    return listed([name for name in names if signals.is_proven(name)])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
