"""What is promised of models, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from driftline.stream.judge.promise import Promise
from driftline.stream.text.printable import printable


def print_promises(console: Console, promises: Sequence[Promise]) -> None:
    """Print what is promised of each model, a line each."""
    for each in promises:
        console.print(Text(f"{printable(each.model)}: {each}"), soft_wrap=True)
