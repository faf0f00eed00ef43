"""Lineage: which model uses the output of which. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_circle(depends_on: Mapping[str, Iterable[str]]) -> list[str]:
    """Models that depend on each other in a circle, with the first one repeated at the end; empty if there is none.

    >>> find_circle({"ltv": ["churn"], "churn": ["fraud"]}), find_circle({"fraud": ["fraud"]})
    ([], ['fraud', 'fraud'])
    """
    try:
        TopologicalSorter(depends_on).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]  # graphlib's order leads from a model to those that depend on it
    return []


def upstream(depends_on: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """By model, all models that it depends on, directly or indirectly. There must be no circle.

    >>> upstream({"ltv": ["churn"], "churn": ["fraud"]}) == {"churn": {"fraud"}, "ltv": {"churn", "fraud"}}
    True
    """
    found: dict[str, frozenset[str]] = {}
    for model in TopologicalSorter(depends_on).static_order():
        direct = depends_on.get(model, ())
        found[model] = frozenset(direct).union(*(found[each] for each in direct))
    return {model: above for model, above in found.items() if above}
