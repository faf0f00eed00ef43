"""Versions of the detectors' snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_version(what: str, snapshot: Mapping[str, Any], newest: int) -> None:
    """Raises ValueError unless the snapshot's version is one of 1 .. `newest`, those that this program reads."""
    version = snapshot.get("version")
    if not isinstance(version, int) or not 1 <= version <= newest:
        raise ValueError(f"{what} snapshot has version {version!r}; this program reads versions 1 to {newest}")
