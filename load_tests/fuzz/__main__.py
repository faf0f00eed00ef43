"""Hostile inputs for every parser of foreign bytes: no crash, no wrong value, no endless loop, flat memory.

    python -m load_tests.fuzz                                   all targets, a minute
    python -m load_tests.fuzz --seconds 900 --seed 3            a quarter of an hour
    python -m load_tests.fuzz --targets 'message-*,pane-*'      some of them
    python -m load_tests.fuzz --targets baseline --input FILE   one input, as a run has saved it

Valid inputs are damaged in their structure, with checksums that fit, or in their bytes. A parser may raise its own
error and nothing else; a valid input it must accept. Messages are also read a second time, naively. What fails is
saved, and a command that repeats it is printed. Exit code 0: nothing failed. 1: something did.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from driftline.stream.text.printable import printable
from load_tests.fuzz import alerts, answers, batches, files, messages, relay, settings, stored
from load_tests.fuzz.run import Outcome, fuzz, limit_memory, within
from load_tests.fuzz.target import Target

FAULTS = Path("fuzz-faults")


def all_targets() -> dict[str, Target]:
    """Every target by name."""
    modules = (messages, batches, files, stored, alerts, relay, answers, settings)
    return {each.name: each for module in modules for each in module.targets()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--targets", default="*", help="names with wildcards, separated by commas (*)")
    parser.add_argument("--input", type=Path, help="a saved input: read only this one")
    arguments = parser.parse_args()
    globs = arguments.targets.split(",")
    chosen = [each for name, each in all_targets().items() if any(fnmatchcase(name, glob) for glob in globs)]
    if not chosen:
        parser.error(f"no target has a name like {arguments.targets}; there are: {', '.join(all_targets())}")
    if arguments.input:
        sys.exit(repeat(chosen, arguments.input.read_bytes()))
    seconds = arguments.seconds / len(chosen)
    outcomes = [
        fuzz(each, arguments.seed, within(seconds), FAULTS)
        for each in track(chosen, "fuzzing", console=Console(stderr=True), transient=True)
    ]
    sys.exit(report(outcomes))


def repeat(targets: list[Target], data: bytes) -> int:
    """Read one input again, by each of the targets; returns the exit code."""
    limit_memory()
    failed = 0
    for target in targets:
        try:
            target.read(data)
            print(f"{target.name}: accepted")
        except target.refusals as error:
            print(f"{target.name}: refused: {type(error).__name__}: {printable(str(error))}")
        except Exception:  # noqa: BLE001 # as in a run
            traceback.print_exc()
            failed = 1
    return failed


def report(outcomes: list[Outcome]) -> int:
    """Print what came of the targets; returns the exit code."""
    console, table = Console(), Table("target", box=None, pad_edge=False)
    for heading in ("inputs", "accepted", "refused", "slowest, ms", "growth, MB"):
        table.add_column(heading, justify="right")
    for each in outcomes:
        figures = (each.inputs, each.accepted, each.refused)
        table.add_row(each.name, *(f"{n:,}" for n in figures), f"{each.slowest * 1e3:.0f}", f"{each.growth:.0f}")
    console.print(table)
    console.print(f"{sum(each.inputs for each in outcomes):,} inputs for {len(outcomes)} targets")
    for each in outcomes:
        for what, path in each.faults:
            command = f"\n    python -m load_tests.fuzz --targets {each.name} --input {path}" if path else ""
            console.print(f"{each.name}: {printable(what)}{command}", style="red", markup=False, soft_wrap=True)
    return int(any(each.faults for each in outcomes))


if __name__ == "__main__":
    main()
