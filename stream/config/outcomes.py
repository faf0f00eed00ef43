"""The section `outcomes`: whether a model is right, by the labels that its events hold, or that come later."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from driftline.stream.config.fields import (
    Duration,
    LongDuration,
    Real,
    RuleError,
    Section,
    Whole,
    duration_field,
    duration_text,
)

# s. Ticks come every 10 s, and nothing is known of what is shorter.
_LEAST_SLOT = 10.0
#: The metrics of scores and of numbers that have floors: the area under the ROC curve, the mean absolute error.
AREA, MEAN_ERROR = "auc", "mae"
_METRIC = rf"accuracy|{AREA}|{MEAN_ERROR}|(?:recall|precision)(?:@[^\x00-\x1f\x7f]{{1,200}})?"


def _is_metric(name: str) -> str:
    if not re.fullmatch(_METRIC, name):
        raise RuleError(
            f"there is no floor of {name!r}: expected accuracy, {AREA}, recall or precision, of one class as in "
            f"recall@fraud, or {MEAN_ERROR} where predictions are numbers"
        )
    return name


Metric = Annotated[str, AfterValidator(_is_metric)]


class Outcomes(Section):
    """How labels are judged."""

    labels: Literal["event", "topic"] | None = Field(
        None,
        description="Where labels come from; event: predictions hold them, at the path `mapping.label`; topic: they "
        "come by themselves, later, on the topic `topics.labels`, and are read as `mapping.labels` says. null: labels "
        "are not read, and nothing of this section has an effect.",
    )
    wait: LongDuration = duration_field(
        "24h",
        "How long the labels of a slot of predictions are waited for, at most: a slot is judged soon after 99 of 100 "
        "of them have one. What comes later is counted, and not applied. Labels of a topic alone.",
    )
    slot: Duration = duration_field(
        "10m",
        "Length of a slot of prediction time, which is judged as a whole; it is also by how much events and labels may "
        "be out of order. Labels of a topic alone.",
    )
    keep: LongDuration = duration_field(
        "24h",
        "By how much a label may come before its prediction, or later than `wait` and still be known as late, and for "
        "how long a prediction that is sent again is known. Labels of a topic alone.",
    )
    max_pending: Whole = Field(
        2_000_000,
        ge=1000,
        le=20_000_000,
        description="Predictions that are remembered to be joined, some 20 bytes of Redis and 60 of a worker each. Of "
        "more, one in two, four, … is joined: by its id, so that labels are dropped alike. Labels of a topic alone.",
    )
    learn: Whole = Field(
        5000,
        ge=500,
        le=1_000_000,
        description="Outcomes that others are compared with where the baseline has none: the first ones. Of 500, a "
        "rate is known to 4 points.",
    )
    floors: dict[Metric, Annotated[Real, Field(gt=0)]] = Field(
        default_factory=dict,
        description="What is good enough: at least, of accuracy, auc, recall and precision, as in `{recall: 0.8, "
        "precision@fraud: 0.5}`; at most, of mae, the mean absolute error of predictions that are numbers. A page says "
        "when one is missed, however it was in the baseline. Without a class, recall and precision are those of the "
        "class that a high score means; of more than two classes, name one.",
        json_schema_extra={"propertyNames": {"pattern": f"^(?:{_METRIC})$"}},
    )

    @model_validator(mode="after")
    def _floors_are_judged(self) -> Outcomes:
        if self.floors and self.labels is None:
            raise RuleError("have no effect without labels: add `labels: event` or `labels: topic`", "floors")
        for name, bound in self.floors.items():
            if name != MEAN_ERROR and bound >= 1:
                raise RuleError(f"expected a share between 0 and 1, got {bound:g}: 0.8 is 80 %", "floors", name)
        return self

    @model_validator(mode="after")
    def _slots_have_a_length(self) -> Outcomes:
        if not _LEAST_SLOT <= self.slot <= max(self.wait, _LEAST_SLOT):
            least, most, own = map(duration_text, (_LEAST_SLOT, self.wait, self.slot))
            stated = own if "slot" in self.model_fields_set else f"its default {own}"
            raise RuleError(f"expected {least} to {most} (`wait`), got {stated}", "slot")
        return self
