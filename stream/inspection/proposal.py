"""Proposes a mapping for a sample: which column is which part of an event, and why. No I/O, no clock.

When in doubt a column stays a feature, and a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from driftline.stream.inspection.columns import Column
from driftline.stream.inspection.draft import Choice, Draft, Proposal
from driftline.stream.inspection.features import choose_features, choose_nulls, exclude_features, keep_own_names
from driftline.stream.inspection.parts import choose_parts
from driftline.stream.inspection.shapes import Shape

# The order in which people read a mapping; the other fields follow.
_ORDER = ("preset", "id", "ts", "unit", "format", "zone", "model", "version", "prediction", "score", "label")


def propose(
    columns: Sequence[Column],
    shape: Shape | None = None,
    *,
    name: str = "model",
    is_topic: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Proposal:
    """The mapping for documents with these columns.

    shape: the well-known kind of message that they are. name: of the file or topic, for the model if no column names
    it. is_topic: whether records have a time of their own. given: fields of the mapping that are settled.
    """
    draft = Draft(columns, shape, name, is_topic, given or {})
    if shape:
        draft.set("preset", Choice(shape.preset, shape.why))
    choose_parts(draft)
    for part, value in draft.given.items():
        if part != "preset":
            draft.set(part, Choice(value, "given"))
    choose_features(draft)
    keep_own_names(draft)
    choose_nulls(draft)
    exclude_features(draft)
    return _ordered(draft.proposal)


def _ordered(proposal: Proposal) -> Proposal:
    order = {part: place for place, part in enumerate(_ORDER)}
    fields = sorted(proposal.fields.items(), key=lambda pair: order.get(pair[0], len(order)))
    return replace(proposal, fields=dict(fields))
