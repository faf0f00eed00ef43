"""How many false pages are allowed: of one model, or of a group of models together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from driftline.stream.config.fields import RuleError, Section, Text, Whole

#: Days of each period.
_DAYS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
_MONTH = _DAYS["month"]
_PATTERN = rf"([0-9]{{1,6}}(?:\.[0-9]{{1,9}})?) +per +({'|'.join(_DAYS)})"
# Ten a day, in 30 days: who gets as many reads none. In a hundred years, one is none.
_MOST, _LEAST = 300.0, _MONTH / (100 * _DAYS["year"])


@dataclass(frozen=True, slots=True)
class FalsePages:
    """A number of false pages in a period.

    >>> FalsePages.parse("1 per month"), FalsePages.parse("7 per week").a_month, str(FalsePages(1.0, "month"))
    (FalsePages(count=1.0, period='month'), 30.0, '1 per month')
    """

    count: float
    period: str

    @classmethod
    def parse(cls, text: object) -> FalsePages:
        """The number that `text` describes; a FalsePages is returned as it is. Raises RuleError."""
        if isinstance(text, cls):
            return text
        match = re.fullmatch(_PATTERN, text) if isinstance(text, str) else None
        if not match:
            raise RuleError('expected a number of pages such as "1 per month", per day, week, month, quarter or year')
        pages = cls(float(match[1]), match[2])
        if not _LEAST <= pages.a_month <= _MOST:
            raise RuleError("expected a number of pages from 1 per 100 years to 10 per day")
        return pages

    @property
    def a_month(self) -> float:
        """False pages in 30 days."""
        return self.count * _MONTH / _DAYS[self.period]

    def among(self, models: int) -> FalsePages:
        """The part of one model, where this number of models shares the budget."""
        return FalsePages(self.count / models, self.period)

    def __str__(self) -> str:
        """The text that parses to this number, but for digits that nobody reads."""
        return f"{self.count:.3g} per {self.period}"


Pages = Annotated[
    FalsePages,
    PlainValidator(FalsePages.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_PATTERN})$", "examples": ["1 per month"]}),
]


class Budget(Section):
    """False pages that a group of models may cause together."""

    models: tuple[Text, ...] = Field(
        min_length=1,
        description="Names of the models, or globs. A model that states its own `false_pages` or "
        "`false_alarms_per_event` is none of the group; of two groups, a model belongs to the first.",
    )
    false_pages: Pages = Field(
        description="False pages of all models of the group together: each may cause an equal part of them."
    )
    among: Whole | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="How many models the group has; null: as many as `models` names. A group with a glob needs it: "
        "the models that a glob matches may be on other workers, so nobody can count them.",
    )

    @property
    def globs(self) -> list[str]:
        """Those of `models` that are globs."""
        return [name for name in self.models if any(sign in name for sign in "*?[")]

    def matches(self, model: str) -> bool:
        """Whether a name or glob of the group is that of a model."""
        return any(fnmatchcase(model, glob) for glob in self.models)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a configuration.

    configured: models with a section of their own. stating: those whose section states its own number, and so belong to
    no group.
    """

    budgets: tuple[Budget, ...]
    configured: frozenset[str]
    stating: frozenset[str]

    @property
    def literal(self) -> set[str]:
        """The models that groups name without a glob."""
        return {name for budget in self.budgets for name in budget.models if name not in budget.globs}

    def pages(self, model: str) -> FalsePages | None:
        """The part of its group's pages that a model gets; None if it is of no group."""
        index = self._group(model)
        return None if index is None else self.budgets[index].false_pages.among(self._size(index))

    def check(self) -> None:
        """Raises RuleError for a group of which nothing says how many models it has, or too few."""
        for index, budget in enumerate(self.budgets):
            known = len(self._members(index))
            if budget.among is None and budget.globs:
                unknown = f"how many models {budget.globs[0]!r} matches is not known"
                raise RuleError(f"{unknown}: say with `among` how many the group has", "budgets", index)
            if not self._size(index):
                raise RuleError(
                    "no model belongs to this group: each states its own or is of an earlier group", "budgets", index
                )
            if budget.among is not None and budget.among < known:
                raise RuleError(f"the configuration names {known} models of this group", "budgets", index, "among")

    def _group(self, model: str) -> int | None:
        """Index of the first group that a model belongs to."""
        found = (
            index for index, each in enumerate(self.budgets) if any(fnmatchcase(model, glob) for glob in each.models)
        )
        return None if model in self.stating else next(found, None)

    def _members(self, index: int) -> list[str]:
        """The models that are known to belong to a group: those configured, and those that it names."""
        return [name for name in sorted(self.literal | self.configured) if self._group(name) == index]

    def _size(self, index: int) -> int:
        return self.budgets[index].among or len(self._members(index))
