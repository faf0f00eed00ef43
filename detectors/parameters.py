"""Checks of parameters, shared by the detectors."""

from __future__ import annotations


def at_least(least: int, name: str, value: int) -> int:
    """Return `value`. Raises ValueError, with the parameter's `name`, unless it is an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return value
