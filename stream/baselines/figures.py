"""Figures that baselines keep of what they measured, one after another in a file of one row. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import LongRun, window_lengths
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.encoding import canonical_json, read_array


class Row:
    """Numbers that are read from the first to the last."""

    def __init__(self, rest: Any) -> None:
        self.rest = rest

    def take(self, *shape: int) -> Any:
        """The next numbers, in this shape. Raises ValueError if there are fewer."""
        n = math.prod(shape)
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken.reshape(shape)


def figures_hash(says: Mapping[str, Any], file: bytes) -> str:
    """The hash of a file of figures and of what the manifest says of it, but for the hash itself."""
    rest = {key: each for key, each in says.items() if key != "hash"}
    return hashlib.sha256(canonical_json(rest) + file).hexdigest()


def known_figures(facts: Mapping[str, Any], files: Mapping[str, bytes], name: str, version: int) -> Row | None:
    """The figures of a file, of which the manifest states `facts`.

    None if another version derived them, or if one that does not know them has copied the facts without the file.
    Raises ValueError if they do not match their hash, or are not finite.
    """
    if facts["version"] != version or name not in files:
        return None
    if facts["hash"] != figures_hash(facts, files[name]):
        raise ValueError(f"{name} does not match its hash")
    figures = read_row(name, files, "<f8")
    if not np.isfinite(figures.rest).all():
        raise ValueError(f"{name} has figures that nothing can have")
    return figures


def read_row(name: str, files: Mapping[str, bytes], *dtypes: str) -> Row:
    """The numbers of a file. Raises ValueError if they are not one row of one of these types."""
    array = read_array(files[name], *dtypes)
    if len(array) != 1:
        raise ValueError(f"{name} has {len(array)} rows instead of one")
    return Row(array[0])


def run_figures(runs: Iterable[LongRun]) -> FloatArray:
    """The figures of long-run variances, one after another."""
    return np.concatenate([part for run in runs for part in ([run.lag, run.short], run.variance.ravel())])


def runs_from(figures: Row, functionals: Functionals, blocks: int) -> tuple[LongRun, ...]:
    """The long-run variances of each family, measured in `blocks` blocks: the inverse of `run_figures`."""
    lengths, runs = _lengths(blocks), []
    for family in functionals.families:
        lag, short = figures.take(2).tolist()
        runs.append(LongRun(lengths, figures.take(len(lengths), family.stop - family.start), int(lag), bool(short)))
    return tuple(runs)


def codes_of_columns(layout: Layout) -> IntArray:
    """The code in its own signal (C,) of each column."""
    codes = np.empty(layout.width, np.int64)
    for columns in layout.columns:
        codes[columns] = np.arange(len(columns))
    return codes


_lengths = cache(window_lengths)
