"""The section `signals`: which signals are monitored, and how large a change of each must be to page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Literal

from pydantic import Field

from driftline.stream.config.fields import Real, Section, Text

#: How many times a normal signal's share of the false pages one of each priority has.
PRIORITIES: Final[Mapping[str, float]] = MappingProxyType({"high": 10.0, "normal": 1.0, "low": 0.1})
#: What keeps a signal's share of the false pages.
Guarantee = Literal["measured", "proven"]


class SignalRule(Section):
    """How a signal is weighed: by how much it must have changed to page, and how soon. From format level 3 on."""

    min_distance: Real = Field(
        0.001,
        ge=0,
        lt=1,
        description="Of numbers: the Kolmogorov-Smirnov distance, the share of the values that have moved past some "
        "value; or the share of those that have come to one place. A shift by a tenth of a σ has 0.04. 0: any change "
        "pages that is no chance.",
    )
    min_share: Real = Field(
        0.0001,
        ge=0,
        lt=1,
        description="By how much the share of one category has changed, or of missing, unseen or other special values "
        "of any signal. 0.01 is one percentage point. 0: any change pages that is no chance.",
    )
    priority: Literal["high", "normal", "low"] = Field(
        "normal",
        description="Its share of the false pages of the model's data: `high` is ten times that of a normal signal and "
        "is seen sooner, by about a sixth; `low` is a tenth, and later. The sum is what is promised.",
    )
    guarantee: Guarantee = Field(
        "measured",
        description="What keeps its share of the false pages. `measured`: thresholds found by simulation, and how much "
        "events of the baseline depend on each other. `proven`: bets (an e-detector) in place of all other tests. They "
        "keep it whatever the distribution, as long as events do not depend on those before them; where they do, as in "
        "sessions, nothing is proven. Small changes are seen later.",
    )

    @property
    def weight(self) -> float:
        """How many times the share of a normal signal it has."""
        return PRIORITIES[self.priority]


class Signals(Section):
    """Which signals are monitored, and how: globs over names such as `features.amount`, `prediction`, `score`."""

    include: tuple[Text, ...] = Field(("*",), min_length=1, description="Globs of the signals to monitor.")
    exclude: tuple[Text, ...] = Field((), description="Globs of the signals to leave out, even if included.")
    rules: dict[Text, SignalRule] = Field(
        default_factory=dict,
        description="How signals are weighed, by glob: `features.amount: {min_distance: 0.02}`. Of several that fit a "
        "signal, each field is that of the last one that states it.",
    )

    @property
    def bet_on(self) -> str:
        """The globs of signals that are judged by bets, and what later ones leave out, in words; "" if there are none.

        >>> Signals(rules={"*": SignalRule(guarantee="proven"), "score": SignalRule(guarantee="measured")}).bet_on
        '*, not score'
        >>> Signals(rules={"score": SignalRule(guarantee="proven"), "s*": SignalRule(guarantee="measured")}).bet_on
        ''
        """
        found = list[str]()
        for glob, rule in self.rules.items():
            if "guarantee" not in rule.model_fields_set:
                continue
            found = [each for each in found if glob != "*" and (_is_pattern(each) or not fnmatchcase(each, glob))]
            if rule.guarantee == "proven":
                found.append(glob)
            elif found:
                found.append(f"not {glob}")
        return ", ".join(found)

    def is_proven(self, name: str) -> bool:
        """Whether the signal `name` is judged by bets."""
        return self.rule(name).guarantee == "proven"

    @property
    def stated(self) -> dict[str, SignalRule]:
        """How signals are weighed by each glob, and first by "*", those that fit no other."""
        return {glob: self.rule("" if glob == "*" else glob) for glob in ("*", *self.rules)}

    def rule(self, name: str) -> SignalRule:
        """How the signal `name` is weighed."""
        own = (each for glob, each in self.rules.items() if fnmatchcase(name, glob))
        stated = {field: getattr(each, field) for each in own for field in each.model_fields_set}
        return SignalRule(**stated)

    def selects(self, name: str) -> bool:
        """Whether the signal `name` is monitored."""
        return self.left_out_by(name) is None

    def left_out_by(self, name: str) -> str | None:
        """What leaves out the signal `name`: the first glob of `exclude`, or `include`; None if it is monitored."""
        if (glob := _first_match(name, self.exclude)) is not None:
            return f"signals.exclude: {glob}"
        return "signals.include" if _first_match(name, self.include) is None else None


def _is_pattern(glob: str) -> bool:
    return any(each in glob for each in "*?[")


def _first_match(name: str, globs: Iterable[str]) -> str | None:
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)
