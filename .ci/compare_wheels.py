"""Fails unless two wheels hold the same files, byte for byte, and nothing beside `driftline/` and the metadata."""

from __future__ import annotations

import sys
from zipfile import ZipFile


def contents(path: str) -> dict[str, bytes]:
    with ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def main(one: str, other: str) -> None:
    first, second = contents(one), contents(other)
    differing = sorted(name for name in first | second if first.get(name) != second.get(name))
    if differing:
        sys.exit(f"{one} and {other} differ in {', '.join(differing)}")
    tops = {name.split("/")[0] for name in first if ".dist-info/" not in name}
    if tops != {"driftline"}:
        sys.exit(f"{one} installs {sorted(tops)}, expected driftline alone")


if __name__ == "__main__":
    main(*sys.argv[1:])
