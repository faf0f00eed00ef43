"""The section `signals`: which signals are monitored."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pydantic import Field

from driftline.stream.config.fields import Section, Text


class Signals(Section):
    """Which signals are monitored: globs over names such as `features.amount`, `prediction`, `score`."""

    include: tuple[Text, ...] = Field(("*",), min_length=1, description="Globs of the signals to monitor.")
    exclude: tuple[Text, ...] = Field((), description="Globs of the signals to leave out, even if included.")

    def selects(self, name: str) -> bool:
        """Whether the signal `name` is monitored."""
        return self.left_out_by(name) is None

    def left_out_by(self, name: str) -> str | None:
        """What leaves out the signal `name`: the first glob of `exclude`, or `include`; None if it is monitored."""
        if (glob := _first_match(name, self.exclude)) is not None:
            return f"signals.exclude: {glob}"
        return "signals.include" if _first_match(name, self.include) is None else None


def _first_match(name: str, globs: Iterable[str]) -> str | None:
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)
