"""The format level of a group of workers: what they may store and send. Pure.

Workers of two versions share a group while it is upgraded, so what only the newer one understands waits until all are.
A reader understands every level up to its own; the level says what a writer may use.

| level | what may be used                                                                              |
|-------|-----------------------------------------------------------------------------------------------|
| 1     | what versions without levels wrote                                                            |
| 2     | learned baselines of format 2 and without blocks; ticks; records of references; panes that    |
|       | name the log they were made of, and count their events by time; baselines by version. Signals |
|       | with phases are judged by phase, so verdicts of baselines with cycles change                  |
| 3     | timelines: coarse counts of each model by hour and day. Incidents of drifts are remembered    |
|       | after their end, so that what comes back is the same one, and end once events are likelier    |
|       | without the drift. Signals with slopes are judged by them, and their single bins are tested   |
|       | if the baseline says how these vary, so verdicts of such baselines change. Slopes are learned |
|       | of live events where the baseline has no order in time, or where they are clearly larger than |
|       | the baseline's. Outcomes of events that hold their label, in panes, samples and states, and   |
|       | their timelines; predictions and labels that wait for each other. Changes that are too small  |
|       | page nobody, signals share by priority, and those with `guarantee: proven` are judged by bets |
|       | alone. Values far beyond the range are tested. Learned baselines of format 3, which count the  |
|       | rare values of texts in groups                                                                |

A level says what may be written, and which signals are judged how. It does not keep the thresholds of an earlier
version: those of signals with phases are the version's own, so that their ks asks for 0.9 to 1.2 nats less at level 2,
too, than it did by versions whose newest level was 2.

A group begins at the newest level of the worker that begins it; `driftline upgrade finish` raises it. A replay is at
the newest.
"""

from __future__ import annotations

from typing import Final, TypedDict

from driftline.stream.baselines.file import FORMAT_VERSION

#: The level of a group that has none, because a version without levels began it.
FIRST: Final = 1
#: The highest level that this version can do.
NEWEST: Final = 3
#: From which level on panes name the log they were made of.
LOG_IN_PANES: Final = 2
#: From which level on panes say how many events each slot of time has.
SLOTS_IN_PANES: Final = 2
#: The level from which on ticks are sent.
TICKS: Final = 2
#: The level from which on versions of models may have baselines of their own.
TRACKS: Final = 2
#: The level from which on timelines are stored.
TIMELINES: Final = 3
#: The level from which on incidents of drifts are remembered after their end.
REMEMBERED: Final = 3
#: The level from which on signals with slopes are judged by them, and single bins and far values are tested.
SLOPES: Final = 3
#: The level from which on signals are weighed: how much of one must have changed to page, and its share of the pages.
WEIGHTS: Final = 3
#: The level from which on outcomes are counted.
OUTCOMES: Final = 3


class MonitorSettings(TypedDict):
    """What a monitor may do at a level, as the fields of `stream.judge.monitor.Monitor` of these names."""

    learned_format: int
    portable: bool
    timelines: bool
    remembers: bool
    by_slope: bool
    weighs: bool
    joins: bool


def monitor_settings(level: int = NEWEST) -> MonitorSettings:
    """What a monitor may do at a level."""
    return {
        "learned_format": learned_format(level),
        "portable": level > FIRST,
        "timelines": level >= TIMELINES,
        "remembers": level >= REMEMBERED,
        "by_slope": level >= SLOPES,
        "weighs": level >= WEIGHTS,
        "joins": level >= OUTCOMES,
    }


def learned_format(level: int) -> int:
    """The format in which a baseline is stored that a worker learns."""
    return min(level, FORMAT_VERSION)
