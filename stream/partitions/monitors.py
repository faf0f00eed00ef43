"""The monitors of models, by a configuration and the baselines that are in effect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

from driftline.stream.codec.levels import NEWEST, monitor_settings
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.dependences import DependenceCache
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.schema import SchemaJudge
from driftline.stream.partitions.baselines import KnownBaselines


@dataclass(frozen=True)
class Rules:
    """How a configuration wants models to be judged.

    predictions: topic of their events. for_model: the configuration of a model. schema: judges the topic. calendar_of:
    gives the calendar of a model. labels: topic of labels that come by themselves; "" if no model waits for any.
    """

    predictions: str
    limits: Limits
    for_model: Callable[[str], ModelConfig]
    schema: SchemaJudge
    calendar_of: CalendarOf = every_day
    labels: str = ""

    @classmethod
    def of(cls, config: Config, calendar_of: CalendarOf = every_day) -> Self:
        """What the configuration says."""
        schema = SchemaJudge(config.topics.predictions, config.defaults.incidents)
        labels = config.topics.labels if config.labelled_by("topic") is not None else ""
        return cls(config.topics.predictions, config.limits, config.for_model, schema, calendar_of, labels)


class Monitors:
    """Makes monitors, and keeps those of judged models: they hold what takes long to derive.

    level: the format level of the group.
    """

    def __init__(self, rules: Rules, baselines: KnownBaselines, level: int = NEWEST) -> None:
        self.rules, self.baselines, self.level = rules, baselines, level
        self._kept: dict[str, Monitor] = {}
        self._dependences = DependenceCache()

    def of(self, model: str, reference: ReferenceMessage | None) -> Monitor:
        """The model's monitor. reference: the record of what it is compared with, if there has been one."""
        rules, monitor = self.rules, self._kept.get(model)
        given, versions = self.baselines.of(model, reference), self.baselines.of_versions(reference)
        if monitor is None or monitor.given is not given or monitor.versions != versions:
            own, calendar = rules.for_model(model), rules.calendar_of(model)
            monitor = Monitor(model, own, given, rules.limits, self._dependences, calendar, versions=versions)
        # The level may have been raised since the monitor was made.
        for name, value in monitor_settings(self.level).items():
            setattr(monitor, name, value)
        return monitor

    def keep(self, monitor: Monitor) -> None:
        """Keep the monitor of a model that is judged: panes may name any number of others."""
        self._kept[monitor.model] = monitor

    def drop(self, model: str) -> None:
        """Drop the monitor of a model that is forgotten."""
        self._kept.pop(model, None)

    def keep_only(self, models: Collection[str]) -> None:
        """Drop the monitors of other models."""
        self._kept = {model: each for model, each in self._kept.items() if model in models}

    def reload(self, rules: Rules) -> None:
        """Go on with the rules of a configuration that was loaded again."""
        self.rules = rules
        self._kept = {
            model: each
            for model, each in self._kept.items()
            if (each.config, each.calendar) == (rules.for_model(model), rules.calendar_of(model))
        }

    def refusal(self, model: str) -> str:
        """Why no baseline could be learned from the model's last sample, "" if it could."""
        return self._kept[model].refusal if model in self._kept else ""
