"""The section `panes`: when a pane ends."""

from __future__ import annotations

from pydantic import Field

from driftline.stream.config.fields import Real, Section, Whole


class Panes(Section):
    """When a pane, the unit of counting and judging, ends: after `events` events of one model, or after `seconds`."""

    events: Whole = Field(
        250,
        ge=1,
        le=1_000_000,
        description="Events of one model after which a pane ends. Fewer find drift sooner, but cost more; 1 judges "
        "every event. With 250, a shift of 0.5 σ is found within 350; a topic of 50,000 events a second needs 1000. "
        "Over a million, a pane takes seconds to sketch, and again after a crash.",
    )
    seconds: Real | None = Field(
        10.0,
        ge=0.1,
        le=3600,
        description="Seconds of event time after which a pane ends; null: only `events` ends it. "
        "Under 0.1 s, panes cost more than their events; over an hour, drift of a model with little traffic stays "
        "unseen for that long.",
    )
