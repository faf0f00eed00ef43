"""What a partition in Redis holds, as values."""

from __future__ import annotations

from typing import NamedTuple


class Seal(NamedTuple):
    """The runs of a predictions partition that were sealed last: offsets, ends exclusive and rising.

    ends: none if `driftline resume` has moved the partition to `start`. progress: the frame of what is known up to
    `start`, b"" if none was stored. tick: the time of the last tick and when that was so, epoch ms, None
    before the first.
    """

    start: int
    ends: tuple[int, ...]
    progress: bytes = b""
    tick: tuple[int, int, int] | None = None

    @property
    def end(self) -> int:
        """Up to where everything is sealed."""
        return self.ends[-1] if self.ends else self.start


class ResumePosition(NamedTuple):
    """Where the reader of a partition resumes. read_to: the offset up to which this group has read it before."""

    offset: int
    read_to: int


class DecidedAlert(NamedTuple):
    """An alert to keep and publish. incident: its id. resolved: whether the alert ends it."""

    message: bytes
    incident: str
    resolved: bool = False


class OutboxAlert(NamedTuple):
    """An alert of an outbox. position: how many alerts entered the outbox up to this one."""

    position: int
    message: bytes
