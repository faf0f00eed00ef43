"""The warm-up of a model without a baseline: which events make its sample, and the baseline learned from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import FEWEST_EVENTS, ModelConfig
from driftline.stream.events.event import Event, values_of


def filled(
    size: int, values: int, events: Sequence[Event], most_events: int, most_values: int
) -> tuple[int, int, bool]:
    """How many events a sample of `size` takes, how many values it holds then, and whether it is complete.

    values: those that it holds before. It is complete with `most_events`, or with `most_values` values if it has
    events enough for a baseline.
    """
    for count, event in enumerate(events, 1):
        values, now = values + values_of(event), size + count
        if now >= most_events or (values >= most_values and now >= FEWEST_EVENTS):
            return count, values, True
    return len(events), values, False


def learned_from(
    sample: Sequence[Event], model: str, config: ModelConfig, limits: Limits, format_version: int, apart: bool
) -> Baseline:
    """The baseline of a sample, in a format that all workers of the group read. Raises BaselineError.

    apart: as in `BuildSettings`.
    """
    settings = BuildSettings(
        kinds={name: Kind(kind) for name, kind in config.kinds.items()},
        selects=config.signals.selects,
        most=limits.signals,
        format_version=format_version,
        timezone=config.calendar.stated_timezone,
        apart=apart,
    )
    learned = build_baseline(sample, {"model": model, "learned": True}, settings)
    return learned.without_blocks() if format_version > 1 else learned
