"""What commands read more than once: tables in files, and topics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn

from driftline.stream.cli.inspect import described, model_name
from driftline.stream.cli.terminal import progress_bar, reading_messages, reporting_kafka_errors, schemas_of
from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.sources.files import STDIN
from driftline.stream.sources.inputs import InputError, OnNote

if TYPE_CHECKING:
    from driftline.stream.sources.topic_history import TopicPosition


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


class Topic:
    """A topic of the configured Kafka, from `first` up to `end`. folder: of the configuration."""

    def __init__(
        self,
        settings: Config,
        folder: Path,
        topic: str,
        first: TopicPosition | None = None,
        end: TopicPosition | None = None,
    ) -> None:
        self._settings, self._topic, self._first, self._end = settings, topic, first, end
        self._loader = schemas_of(settings, folder)
        self.title = f"topic {topic}"
        self.schemas = self._loader.schemas if self._loader else None

    def read(self) -> Iterator[tuple[int, LogBatch]]:
        """The batches of its partitions, one partition after the other, with a progress bar over their offsets."""
        settings = self._settings
        with reporting_kafka_errors():
            from driftline.stream.sources.topic_history import open_history

            with (
                open_history(
                    settings.kafka, self._topic, self._first, self._end, settings.limits.batch_bytes
                ) as history,
                progress_bar("reading", history.total, MofNCompleteColumn()) as advance,
            ):
                for partition, log in history.logs(advance).items():
                    for batch in self._loader.before(log) if self._loader else log:
                        yield partition, batch
