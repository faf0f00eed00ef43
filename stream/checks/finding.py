"""What a check of an installation finds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from driftline.stream.config.remarks import Remark

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One result of a check: its name, how bad it is, what was found, and what helps ("" if nothing is wrong)."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def as_findings(check: str, remarks: Iterable[Remark]) -> list[Finding]:
    """Remarks on the configuration as findings of a check."""
    return [Finding(check, severity, message, help) for _, message, help, severity in remarks]
