"""Tables in files, as commands name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from driftline.stream.cli.inspect import described, model_name
from driftline.stream.cli.terminal import reading_messages
from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.sources.files import STDIN
from driftline.stream.sources.inputs import InputError, OnNote


class Files:
    """Files as one table. Raises InputError for standard input, which can be read once only."""

    def __init__(self, paths: Sequence[str]) -> None:
        if STDIN in paths:
            raise InputError("standard input: tables are read twice; save it as a file")
        self._paths = paths
        self.name, self.title = model_name(paths[0]), ", ".join(paths)

    def messages(self, settings: Config, on_note: OnNote) -> Iterator[bytes]:
        """Its rows, as the mapping says."""
        with reading_messages(self._paths, settings, on_note=on_note, chunk=1000) as batches:
            for batch in batches:
                yield from batch

    def describe(self, options: FileOptions) -> str:
        """Its paths and formats."""
        return described(self._paths, options)
