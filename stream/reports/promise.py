"""What is promised of models, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from driftline.stream.judge.promise import Promise
from driftline.stream.judge.shares import Share
from driftline.stream.text.printable import printable


def print_promises(console: Console, promises: Sequence[Promise], shares: Mapping[str, Sequence[Share]]) -> None:
    """Print what is promised of each model, a line each, and the shares of its signals. shares: by model."""
    for each in promises:
        console.print(Text(f"{printable(each.model)}: {each}"), soft_wrap=True)
        for share in shares.get(each.model, ()):
            console.print(Text(f"  {printable(str(share))}"), soft_wrap=True)
