"""Baseline files with other members."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable


def changed(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The file with other members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()
