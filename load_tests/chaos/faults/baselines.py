"""A baseline is exchanged under traffic: its file is replaced, and all workers are told to read it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from driftline.stream.baselines.file import decode_baseline, encode_baseline
from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site
from load_tests.chaos.traffic import GIVEN, baseline_of

# What another baseline is made of: other events, or the same ones without a signal, with which history goes on.
_OTHERS = ({}, {"without": "age"}, {"seed": 0xBB})


@contextmanager
def _exchange(site: Site, fault: Fault) -> Iterator[None]:
    model = GIVEN[fault.victim % len(GIVEN)]
    path = site.deployment.path.with_name(f"{model}.driftline")
    before = decode_baseline(path.read_bytes())
    others = (baseline_of(model, **each) for each in _OTHERS[fault.victim // len(GIVEN) % 2 :])
    after = next(each for each in others if each.content_hash != before.content_hash)
    site.exchanged.append(before)
    written = path.with_suffix(".new")
    written.write_bytes(encode_baseline(after))
    os.replace(written, path)
    site.fleet.send_all(signal.SIGHUP)
    yield


KINDS = (Kind("baseline exchanged", "configuration", _exchange),)
