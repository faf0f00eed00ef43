"""Which floors of outcomes a baseline lets a model be held to. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import ModelConfig
from driftline.stream.outcomes.tasks import BinaryTask, NumbersTask, Task
from driftline.stream.text.phrases import listed


def class_of_floor(task: Task, name: str) -> str | None:
    """The class that a floor is about, "" for accuracy; None if the task has none such. name: recall, recall@fraud."""
    metric, _, of = name.partition("@")
    if isinstance(task, NumbersTask):
        return None
    if metric == "accuracy":
        return ""
    own = of or (task.classes[1] if isinstance(task, BinaryTask) else "")
    return own if own in task.classes else None


def unjudged_outcomes(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on each floor that nothing is held to, or on outcomes that are asked for and not judged at all.

    Silence would be taken for an all-clear.
    """
    asked, path = config.outcomes, ("models", baseline.model, "outcomes")
    if asked.labels is None:
        return
    coding = baseline.coding
    if coding is None:
        found = "labels are not judged: the baseline has no prediction and no score that they could be compared with"
        yield Remark(path, f"{dotted_path(path)}: {found}", "build it from events that have them")
        return
    for name in asked.floors:
        if class_of_floor(coding.task, name) is None:
            where = (*path, "floors", name)
            yield Remark(where, f"{dotted_path(where)}: is not judged", _remedy(coding.task))


def _remedy(task: Task) -> str:
    if isinstance(task, NumbersTask):
        return "the predictions are numbers, of which no share is right: leave it out"
    return f"name a class, as in recall@{task.classes[0]}; there are {listed(task.classes)}"
