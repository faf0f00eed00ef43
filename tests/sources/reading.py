"""What the tests of file readers share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from driftline.stream.sources.files import read_messages
from driftline.stream.sources.inputs import Note


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def messages(*paths: Path, **options: Any) -> list[bytes]:
    return [event for events in read_messages([str(path) for path in paths], **options) for event in events]


def events(*paths: Path, **options: Any) -> list[Any]:
    return [json.loads(message) for message in messages(*paths, **options)]


def noted(*paths: Path, **options: Any) -> dict[str, str]:
    """What is said of each column."""
    notes: list[Note] = []
    messages(*paths, on_note=notes.append, **options)
    return dict(notes)
