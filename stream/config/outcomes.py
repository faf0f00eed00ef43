"""The section `outcomes`: whether a model is right, by the labels that its events hold."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from driftline.stream.config.fields import Real, RuleError, Section, Whole

_METRIC = r"accuracy|(?:recall|precision)(?:@[^\x00-\x1f\x7f]{1,200})?"


def _is_metric(name: str) -> str:
    if not re.fullmatch(_METRIC, name):
        raise RuleError(
            f"there is no floor of {name!r}: expected accuracy, recall or precision, of one class as in recall@fraud"
        )
    return name


Metric = Annotated[str, AfterValidator(_is_metric)]
Share = Annotated[Real, Field(gt=0, lt=1)]


class Outcomes(Section):
    """How labels are judged."""

    labels: Literal["event"] | None = Field(
        None,
        description="Where labels come from; event: predictions hold them, at the path `mapping.label`. null: labels "
        "are not read, and nothing of this section has an effect.",
    )
    learn: Whole = Field(
        5000,
        ge=500,
        le=1_000_000,
        description="Outcomes that others are compared with where the baseline has none: the first ones. Of 500, a "
        "rate is known to 4 points.",
    )
    floors: dict[Metric, Share] = Field(
        default_factory=dict,
        description="Least shares that are good enough, such as `{recall: 0.8, precision@fraud: 0.5}`: a page says "
        "when one is below, however it was in the baseline. Without a class, recall and precision are those of the "
        "class that a high score means; of more than two classes, name one.",
    )

    @model_validator(mode="after")
    def _floors_need_labels(self) -> Outcomes:
        if self.floors and self.labels is None:
            raise RuleError("have no effect without labels: add `labels: event`", "floors")
        return self
