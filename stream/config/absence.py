"""The section `absence`: how a model's traffic is judged."""

from __future__ import annotations

from pydantic import Field

from driftline.stream.config.fields import Real, Section
from driftline.stream.config.incidents import Severity


class Absence(Section):
    """How a model's traffic is judged: whether it stops, falls or rises, by the hours of the week of its own past."""

    false_pages: Real | None = Field(
        0.1,
        gt=0,
        le=30,
        description="False pages about the traffic of a model in 30 days, while it is as always; more where it comes "
        "in a nightly batch, or the clocks change. null: its traffic is not judged. Stated here, they come beside "
        "those of the model's `false_pages`; else they are a tenth of these. At one event a second, 0.1 is a "
        "twenty-fifth of what the default of `false_alarms_per_event` allows. Ten times as many shorten the delay by a "
        "tenth to a sixth; over one a day, the pages say nothing.",
    )
    stopped: Severity = Field(
        "critical",
        description="Severity of traffic that stops, or loses 99 % of its events. Traffic that falls or rises "
        "otherwise has that of `incidents.severity`.",
    )
    rates: bool = Field(
        False,
        description="The files from which `driftline baseline build` makes the model's baseline hold every event of "
        "more than two weeks: how many come in each hour of the week is learned from them, and the traffic judged from "
        "the first minute on. Not true of a sample, nor of files that miss days.",
    )
