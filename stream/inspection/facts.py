"""An inspection as plain data, for programs. No I/O, no clock."""

from __future__ import annotations

from typing import Any

from driftline.stream.inspection.columns import Column
from driftline.stream.inspection.inspect import Inspection


def inspection_facts(found: Inspection) -> dict[str, Any]:
    """All that an inspection found, as JSON types: `readable` says whether a mapping was found, `problem` why not."""
    return {
        "source": found.source.where,
        "readable": found.problem is None,
        "problem": found.problem,
        "records": found.records,
        "documents": found.documents,
        "shape": found.shape.preset if found.shape else None,
        "schemas": list(found.schemas),
        "mapping": {
            part: {"value": choice.value, "why": choice.why, "others": list(choice.others)}
            for part, choice in found.proposal.fields.items()
        },
        "columns": [_column(found, column) for column in found.columns],
        "excluded": found.proposal.excluded,
        "notes": found.notes,
        "faults": [{"reason": fault.reason, "records": fault.count, "such_as": fault.places} for fault in found.faults],
        "read": found.read,
        "events": found.events,
        "models": dict(found.models),
        "signals": list(found.signals),
        "configuration": found.configuration,
    }


def _column(found: Inspection, column: Column) -> dict[str, Any]:
    return {
        "path": column.path,
        "kind": column.kind.value,
        "use": found.use(column),
        "missing": round(column.missing, 6),
        "distinct": column.distinct,
        "numbers_in_text": column.numerals,
        "not_numbers": {"count": column.odd_count, "such_as": column.odd} if column.odd_count else None,
        "null_spellings": dict(column.nulls),
        "min": column.low,
        "max": column.high,
        "top": [{"value": value, "count": count} for value, count in column.top],
    }
