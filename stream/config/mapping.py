"""The section `mapping` of driftline.yaml: how messages and tables become events."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from driftline.stream.config.fields import EventPath, Flag, RuleError, Section, Text
from driftline.stream.events.mapping import PRESETS, EventMapping, Preset
from driftline.stream.events.times import Unit


class _Paths(Section):
    """Where each part is in a message, no two of them at one place."""

    #: Fields that have another name than their part of an event.
    _fields: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def event_mapping(self) -> EventMapping:
        """The mapping in the form that the decoder uses. Raises ValueError, "PART: RULE"."""

    @model_validator(mode="after")
    def _paths_are_apart(self) -> Self:
        try:
            self.event_mapping()
        except ValueError as error:
            part, _, rule = str(error).partition(": ")
            raise RuleError(rule, self._fields.get(part, part)) from None
        return self


class LabelMapping(_Paths):
    """Where each part of a label is in a message of `topics.labels`, or of a file of labels."""

    _fields: ClassVar[dict[str, str]] = {"prediction": "label"}

    id: EventPath = Field("id", description="The id of the prediction that the label belongs to.")
    ts: EventPath = Field(
        "ts", description="When the label became known. `$record`: the record's Kafka timestamp. Corrections are later."
    )
    model: EventPath = Field("model", description="The model that made the prediction. `=NAME`: this name for all.")
    label: EventPath = Field("label", description="The true outcome, as predictions spell it: a text, number or flag.")
    unit: Unit = Field("auto", description="Unit of times that are numbers, as in `mapping`.")
    format: Text | None = Field(None, description="Format of times that are text, as in `mapping`.")
    zone: Text = Field("UTC", description="Time zone of times that name none, as in `mapping`.")
    nulls: tuple[str, ...] = Field((), description="Texts that mean that a value is missing, as in `mapping`.")

    def event_mapping(self) -> EventMapping:
        """The mapping of events whose only value is the label, as their prediction."""
        return EventMapping(**self.model_dump(exclude={"label"}), prediction=self.label, **_NOTHING)


# Of a label message, nothing but the label is read: no document has these keys.
_NOTHING: dict[str, Any] = {"features": "(features)", "score": "(score)", "version": "(version)"}


class Mapping(_Paths):
    """Where each part of an event is in a message: dotted paths of its JSON, or names of a table's columns."""

    preset: Preset | None = Field(
        None,
        description="Well-known messages, whose paths are then the defaults of the fields below: requests logged by "
        "KServe or Seldon, SageMaker's data capture, change events of Debezium, or a list of `instances`.",
    )
    id: EventPath = Field("id", description="The event's id. `$record`: topic, partition and offset of its record.")
    ts: EventPath = Field(
        "ts", description="The event's time, see `unit`, `format` and `zone`. `$record`: the record's Kafka timestamp."
    )
    model: EventPath = Field(
        "model", description="The model's name. `=NAME`: this name for all events. `$topic`: the name of the topic."
    )
    version: EventPath = Field("version", description="The model's version, a text or a number.")
    features: EventPath = Field(
        "features",
        description="The object that holds the features. `rest`: the whole message. What the other paths name in it is "
        "no feature.",
    )
    prediction: EventPath = Field("prediction", description="What the model predicts.")
    score: EventPath = Field("score", description="The model's score.")
    label: EventPath = Field(
        "label",
        description="The true outcome, which is no feature. `driftline performance` reads it; workers do where "
        "`outcomes.labels` is `event`.",
    )
    labels: LabelMapping = Field(
        default_factory=LabelMapping,
        description="How labels are read that come by themselves (`outcomes.labels: topic`).",
    )
    weight: EventPath = Field("weight", description="The event's weight, which is no feature. It is not read yet.")
    tags: EventPath = Field("tags", description="The event's tags, which are no features. They are not read yet.")
    unit: Unit = Field(
        "auto",
        description="Unit of times that are numbers. auto: seconds, milli-, micro- or nanoseconds by their size, which "
        "has one meaning from 1973 to 5138.",
    )
    format: Text | None = Field(
        None,
        description="Format of times that are text, as Python's strptime takes it: `%d/%m/%Y %H:%M`. null: ISO 8601 "
        "and RFC 2822; whether the day or the month comes first is never guessed.",
    )
    zone: Text = Field("UTC", description="Time zone of times that name none: `Europe/Berlin`.")
    nulls: tuple[str, ...] = Field((), description='Texts that mean that a value is missing: `["NA", "n/a", ""]`.')
    rows: Flag = Field(
        False,
        description="One message holds many events: the paths of features, prediction and score lead to lists, tensors "
        "or columns of them. Their ids are ID#0, ID#1, and so on.",
    )
    names: tuple[Text, ...] = Field(
        (), description="With `rows`: the names of features that come as lists without names, in order."
    )
    names_at: EventPath | None = Field(
        None, description="With `rows`: the path at which the message holds the names of features that come as lists."
    )

    def event_mapping(self) -> EventMapping:
        """The mapping in the form that the decoder uses: the preset, changed by the fields that are set."""
        preset = PRESETS[self.preset] if self.preset else {}
        return EventMapping(**{**preset, **self.model_dump(include=self.model_fields_set - {"preset", "labels"})})
