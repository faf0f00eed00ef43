"""Baselines are exchanged under traffic: a file is replaced, and SIGHUP lets all workers read it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site
from load_tests.chaos.traffic import GIVEN, baseline_of

# What another baseline is made of: other events, or the same ones without a signal, with which history goes on.
_OTHERS = ({}, {"without": "age"}, {"seed": 0xBB})


@contextmanager
def _exchange(site: Site, fault: Fault) -> Iterator[None]:
    path, others = _others(site, fault)
    _replace(site, path, others[0])
    yield


@contextmanager
def _exchange_twice(site: Site, fault: Fault) -> Iterator[None]:
    """The second time before workers are done with the first: what counts in the end is the file as it is then."""
    path, others = _others(site, fault)
    for each in others:
        _replace(site, path, each)
        time.sleep(fault.delay)
    yield


def _others(site: Site, fault: Fault) -> tuple[Path, list[Baseline]]:
    """The file of a model's baseline, and two baselines that it does not hold."""
    model = GIVEN[fault.victim % len(GIVEN)]
    path = site.deployment.path.with_name(f"{model}.driftline")
    before = decode_baseline(path.read_bytes()).content_hash
    others = [each for each in (baseline_of(model, **own) for own in _OTHERS) if each.content_hash != before]
    return path, others if fault.victim // len(GIVEN) % 2 else others[::-1]


def _replace(site: Site, path: Path, after: Baseline) -> None:
    site.exchanged.append(decode_baseline(path.read_bytes()))
    written = path.with_suffix(".new")
    written.write_bytes(encode_baseline(after))
    os.replace(written, path)
    site.fleet.send_all(signal.SIGHUP)


KINDS = (
    Kind("baseline exchanged", "configuration", _exchange),
    Kind("baseline exchanged twice at once", "configuration", _exchange_twice, delay=(0.0, 0.5)),
)
