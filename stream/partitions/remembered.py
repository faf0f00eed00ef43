"""What the judge of one partition of the panes topic remembers, and what messages change of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.roster import Roster
from driftline.stream.judge.schema import REPORTER, SchemaState
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.tick import Marks, Tick


@dataclass
class Remembered:
    """What is remembered of partition `number`.

    roster: the models without a given baseline. marks: the ticks received. schema: what they say of the messages of
    the predictions topic, None before the first. states: by model. references: what models are compared with, by the
    records of the partition.
    """

    number: int
    roster: Roster
    marks: Marks = field(default_factory=Marks)
    schema: SchemaState | None = None
    states: dict[str, ModelState] = field(default_factory=dict)
    references: dict[str, ReferenceMessage] = field(default_factory=dict)

    @property
    def open_incidents(self) -> list[tuple[str, Incident]]:
        """The incidents that alerts have reported as open, with their models; under "" those of the topic."""
        of_topic = self.schema.open_incidents if self.schema and self.number == REPORTER else []
        of_models = ((model, each) for model, state in self.states.items() for each in state.open_incidents)
        return [*(("", each) for each in of_topic), *of_models]

    def enter(self, model: str, state: ModelState, seen: int | None) -> None:
        """Enter a stored state without a given baseline into the roster. seen: as in `Roster`; None: not stored."""
        if state.learned is not None or state.sample or seen is not None:
            if state.learned is None:
                self.roster.newcomers[model], self.roster.values[model] = len(state.sample), state.values
            else:
                self.roster.learned.add(model)
            self.roster.seen |= {} if seen is None else {model: seen}


@dataclass
class Changes:
    """What messages change of what was remembered `before`, which stays as it is.

    roster, marks, schema: as they are now. states, references: those that have changed; a state without an offset is
    that of a model that was forgotten. seen: when models had their newest pane, epoch ms; None: forgotten. forgotten:
    models, in the order in which they were. alerts: decided. events: judged, by model.
    """

    before: Remembered
    roster: Roster
    marks: Marks
    schema: SchemaState | None
    states: dict[str, ModelState] = field(default_factory=dict)
    references: dict[str, ReferenceMessage] = field(default_factory=dict)
    seen: dict[str, int | None] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    alerts: list[IncidentAlert] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, before: Remembered) -> Self:
        """No changes yet."""
        return cls(before, before.roster.copy(), before.marks, before.schema)

    def after(self) -> Remembered:
        """What is remembered with these changes."""
        states, references = {**self.before.states, **self.states}, {**self.before.references, **self.references}
        for model in self._gone:
            del states[model]
        return Remembered(self.before.number, self.roster, self.marks, self.schema, states, references)

    def after_storing(self) -> Remembered:
        """What is remembered once these changes are stored."""
        return replace(self, states={model: state.stored() for model, state in self.states.items()}).after()

    def state_of(self, model: str) -> ModelState:
        """A model's state, an empty one for a model never seen."""
        return self.states.get(model) or self.before.states.get(model) or ModelState()

    def reference(self, model: str) -> ReferenceMessage | None:
        """The record of what a model is compared with, if there has been one."""
        return self.references.get(model) or self.before.references.get(model)

    @property
    def models(self) -> list[str]:
        """The models of which something is remembered, sorted."""
        return sorted({*self.before.states, *self.states} - self._gone)

    @property
    def _gone(self) -> set[str]:
        return {model for model, state in self.states.items() if not state.consumed}

    @property
    def new_marks(self) -> Mapping[tuple[str, int], Tick]:
        """The marks that have changed."""
        known = self.before.marks.ticks
        return {place: each for place, each in self.marks.ticks.items() if known.get(place) is not each}

    @property
    def new_schema(self) -> SchemaState | None:
        """What is known of the messages of the topic, if that has changed."""
        return None if self.schema is self.before.schema else self.schema

    @property
    def newly_learned(self) -> list[Baseline]:
        """The baselines that models have learned."""
        learned = ((self.before.states.get(model), state.learned) for model, state in self.states.items())
        return [new for old, new in learned if new is not None and (old is None or old.learned is not new)]

    @property
    def dropped_learned(self) -> list[str]:
        """The models that have not the baseline any more that they had learned."""
        before = self.before.states
        changed = ((model, before[model].learned, new) for model, new in self.states.items() if model in before)
        return [model for model, old, new in changed if old is not None and old is not new.learned]

    def stamp(self, at: int) -> None:
        """Give a time to the models on the roster that have none, see `Roster.stamp`."""
        self.seen |= self.roster.stamp(at)
