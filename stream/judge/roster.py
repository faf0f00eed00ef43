"""The roster: which models without a given baseline a partition of the panes topic remembers, and who gives way. Pure.

    arriving ──► newcomer: warms up ──► has learned its baseline ──► forgotten
                 limits.newcomers       worker.unknown_models

Every choice is a function of the partition's panes, in their order, and of the times at which Kafka was given them. So
judges in turn, and a replay of the panes topic, make the same choices.

A newcomer gives way if it has been silent for long, or if it brought fewer events than the arriving pane brings. So a
flood of invented names, each with an event or two, keeps nobody out who brings more; and two real models do not push
each other out in turn, since what arrives later must bring more than all that the other has brought.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Self

from driftline.stream.config.sections import Config


@dataclass(frozen=True, slots=True)
class Room:
    """How many models may have learned their baseline, and how many may warm up, in each partition of the panes topic.

    silence: ms after which a newcomer gives way to any other. lifetime: ms after which a model that has learned its
    baseline gives way to one that has just learned; None: never. values: how many all newcomers may hold.
    """

    learned: int
    newcomers: int
    silence: float
    lifetime: float | None
    values: float = math.inf

    @classmethod
    def of(cls, config: Config) -> Self:
        """The room that a configuration gives."""
        limits, lifetime = config.limits, config.limits.unknown_lifetime
        milliseconds = None if lifetime is None else lifetime * 1000
        return cls(
            config.worker.unknown_models,
            limits.newcomers,
            limits.newcomer_silence * 1000,
            milliseconds,
            limits.warm_up_values,
        )


class NoRoomError(Exception):
    """There is no room for a model; the message says why, and what helps. limit: the field that is the bound."""

    def __init__(self, limit: str, model: str, reason: str) -> None:
        self.model = model
        super().__init__(
            f"model {model!r} has no baseline, and {reason}: correct its name, or give it a baseline; raise {limit}"
        )


@dataclass
class Roster:
    """The models without a given baseline that are remembered.

    newcomers: how many events each has brought. values: how many values these hold. learned: those that have learned
    their baseline. seen: when the newest pane of each was appended to its topic, epoch ms; those without a time are
    stamped with the next one.
    """

    room: Room
    newcomers: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Roster:
        """A roster that changes by itself."""
        return Roster(self.room, dict(self.newcomers), dict(self.values), set(self.learned), dict(self.seen))

    def __contains__(self, model: str) -> bool:
        return model in self.newcomers or model in self.learned

    def stamp(self, at: int) -> dict[str, int]:
        """The models that had no time yet, which is `at` from now on: an earlier version kept no times."""
        if len(self.seen) == len(self.newcomers) + len(self.learned):
            return {}
        stamped = {model: at for model in (*self.newcomers, *self.learned) if model not in self.seen}
        self.seen |= stamped
        return stamped

    def make_room(self, model: str, events: int, at: int, learns: bool, values: int = 0) -> list[str]:
        """The models that have to be forgotten, so that a pane of `model` can be judged; they are off the roster.

        events, values: those that the pane adds to the model's warm-up; of a sample that was dropped, less than 0. at:
        when the pane was appended, epoch ms. learns: whether the model learns its baseline from it.

        Raises NoRoomError, and nothing changes.
        """
        if model in self.learned:
            return []
        leaving = list[str | None]()
        if learns or model not in self.newcomers:
            sleeper = self._sleeper(model, at)
            leaving.append(sleeper if learns else self._weakest(model, events, at))
        if not learns:
            leaving += self._silent(model, values, at, leaving)
        return [self.forget(each) for each in leaving if each is not None]

    def note(self, model: str, at: int, events: int, learned: bool, values: int = 0) -> None:
        """Note a judged pane. events, values: of the model's warm-up. learned: whether it has learned its baseline."""
        self.seen[model] = at
        if learned:
            self.newcomers.pop(model, None)
            self.values.pop(model, None)
            self.learned.add(model)
        else:
            self.newcomers[model], self.values[model] = events, values

    def forget(self, model: str) -> str:
        """Take a model off the roster, and return it."""
        self.newcomers.pop(model, None)
        self.values.pop(model, None)
        self.learned.discard(model)
        self.seen.pop(model, None)
        return model

    def _sleeper(self, model: str, at: int) -> str | None:
        """Who gives way to a model that learns its baseline; None if there is room. Raises NoRoomError."""
        room = self.room
        if len(self.learned) < room.learned:
            return None
        oldest = self._longest_silent(self.learned)
        if oldest is not None and room.lifetime is not None and at - self.seen[oldest] >= room.lifetime:
            return oldest
        raise NoRoomError(
            "worker.unknown_models",
            model,
            f"{room.learned:,} models that learned theirs are remembered (see `driftline models`)",
        )

    def _weakest(self, model: str, events: int, at: int) -> str | None:
        """Who gives way to a newcomer; None if there is room. Raises NoRoomError."""
        if len(self.newcomers) < self.room.newcomers:
            return None
        oldest = self._longest_silent(self.newcomers)
        if oldest is not None and at - self.seen[oldest] >= self.room.silence:
            return oldest
        weakest = min(self.newcomers, key=lambda each: (self.newcomers[each], self.seen[each], each))
        if self.newcomers[weakest] < events:
            return weakest
        raise NoRoomError(
            "limits.newcomers",
            model,
            f"{self.room.newcomers:,} such models are warming up (see `driftline models`)",
        )

    def _silent(self, model: str, values: int, at: int, leaving: Collection[str | None]) -> list[str]:
        """The silent newcomers that give way to more values of a model. Raises NoRoomError."""
        held = values + sum(count for each, count in self.values.items() if each not in leaving)
        asleep = (each for each in self.newcomers if at - self.seen[each] >= self.room.silence)
        silent = sorted({*asleep} - {model, *leaving}, key=lambda each: (self.seen[each], each))
        gone = list[str]()
        while held > self.room.values:
            if len(gone) == len(silent):
                raise NoRoomError(
                    "limits.warm_up_values",
                    model,
                    f"such models hold {self.room.values:,} values while they warm up",
                )
            gone.append(silent[len(gone)])
            held -= self.values.get(gone[-1], 0)
        return gone

    def _longest_silent(self, models: Iterable[str]) -> str | None:
        return min(models, key=lambda each: (self.seen[each], each), default=None)
