"""What a scan reads: a table, from a file or from memory, that can be read more than once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.sources.inputs import OnNote


class Table(Protocol):
    """Rows that become messages as the mapping and the section `files` of a configuration say."""

    @property
    def name(self) -> str:
        """The name of the model if no column has it."""
        ...

    @property
    def title(self) -> str:
        """What people call it: its path, or its place among the arguments."""
        ...

    def messages(self, settings: Config, on_note: OnNote) -> Iterator[bytes]:
        """Its rows from the first one on. Raises InputError."""
        ...

    def describe(self, options: FileOptions) -> str:
        """Its title and format. Raises InputError."""
        ...
