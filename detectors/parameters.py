"""Checks of parameters that detectors share."""

from __future__ import annotations


def at_least(least: int, name: str, value: int) -> int:
    """`value`, or a ValueError that names the parameter unless it is an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return value
