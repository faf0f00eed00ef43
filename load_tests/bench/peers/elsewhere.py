"""Detectors of Frouros and alibi-detect as peers of `bench.peers`, which runs this in an environment that has them.

    python3.11 -m venv peers && peers/bin/pip install frouros==0.9.0 alibi-detect==0.13.0
    nice python -m load_tests.bench.peers --peers-python peers/bin/python

They need NumPy 1.26, older than Driftline's. This reads cases from standard input, an npz file without pickled
objects, and writes figures to standard output as JSON.

- Frouros CUSUM at its default and at the threshold that keeps the rate. Its ADWIN refuses negative sums.
- Frouros IncrementalKSTest, 500 values beside 5,000 of the baseline, with the rate as its level, since its p-values are
  exact: at a millisecond a value, more cannot be measured. It fails with more than 10,000 values of a baseline.
- Frouros MMDStreaming, 100 values beside 1,000, has no threshold: it gets the highest distance of 100,000 normal
  values, which keeps twenty times the rate.
- alibi-detect's CVMDriftOnline, windows of 20, 50 and 100 beside 500, promises an expected run time. It simulates ten
  times as many streams, 50,000 for an alarm in 5,000 values. The rate of the others, one in two millions, would take
  20 millions: ten hours, and 96 GB of statistics. MMDDriftOnline and LSDDDriftOnline need PyTorch or TensorFlow.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import numpy as np

from load_tests.bench.peers.cases import PER_VALUE, Alarmed, Case, Floats, Peer, most_sensitive, normal

_RUN_TIME = 5000
_DISTANCES = 100_000


def encode(cases: list[Case]) -> bytes:
    """Cases as an npz file."""
    file = io.BytesIO()
    arrays = {f"values {i}": case.values for i, case in enumerate(cases)}
    at = [[case.known, -1 if case.at is None else case.at] for case in cases]
    np.savez(file, at=np.array(at, np.int64), **arrays)  # type: ignore[arg-type]  # numpy 2.2's stub takes these for its options
    return file.getvalue()


def decode(content: bytes) -> list[Case]:
    """What `encode` has made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        at = arrays["at"].tolist()
        return [Case(arrays[f"values {i}"], known, None if at < 0 else at) for i, (known, at) in enumerate(at)]


def _spread_out(known: Floats, count: int) -> Floats:
    """Values of a baseline, evenly apart, so that they are of all of its time."""
    return known[:: max(1, len(known) // count)][:count]


def _cusum(limit: float) -> Callable[[Floats], Alarmed]:
    from frouros.detectors.concept_drift import CUSUM, CUSUMConfig  # type: ignore[import-not-found]  # elsewhere

    def start(_: Floats) -> Alarmed:
        detector = CUSUM(config=CUSUMConfig(lambda_=limit))

        def alarmed(value: float) -> bool:
            detector.update(value=value)
            found = bool(detector.drift)
            if found:
                detector.reset()
            return found

        return alarmed

    return start


def _over_again(make: Callable[[Floats], Callable[[float], bool]]) -> Callable[[Floats], Alarmed]:
    """A detector that starts over after each alarm, with an empty window."""

    def start(known: Floats) -> Alarmed:
        watched = make(known)

        def alarmed(value: float) -> bool:
            nonlocal watched
            found = watched(value)
            if found:
                watched = make(known)
            return found

        return alarmed

    return start


def _ks(known: Floats) -> Alarmed:
    from frouros.detectors.data_drift import IncrementalKSTest  # type: ignore[import-not-found]  # elsewhere

    test = IncrementalKSTest(window_size=500)
    test.fit(X=_spread_out(known, 5000))

    def alarmed(value: float) -> bool:
        found, _ = test.update(value=value)
        return found is not None and bool(found.p_value <= PER_VALUE)

    return alarmed


def _distances(known: Floats) -> Callable[[float], float]:
    from frouros.detectors.data_drift import MMDStreaming
    from frouros.utils.kernels import rbf_kernel  # type: ignore[import-not-found]  # elsewhere

    detector = MMDStreaming(window_size=100, kernel=partial(rbf_kernel, sigma=1.0))
    detector.fit(X=_spread_out(known, 1000)[:, None])

    def distance(value: float) -> float:
        found, _ = detector.update(value=np.array([value]))
        return -np.inf if found is None else float(found.distance)

    return distance


def _mmd(limit: float) -> Callable[[Floats], Alarmed]:
    def make(known: Floats) -> Alarmed:
        distance = _distances(known)
        return lambda value: distance(value) > limit

    return _over_again(make)


def _highest_distance() -> float:
    quiet = np.random.default_rng(7).standard_normal(_DISTANCES)
    return max(map(_distances(normal(20_000)), quiet.tolist()))


def _cvm() -> Callable[[Floats], Alarmed]:
    from alibi_detect.cd import CVMDriftOnline  # type: ignore[import-not-found]  # elsewhere

    # Its thresholds depend on sizes alone, so it is configured once, and gets the reference of each case afterwards.
    detector = CVMDriftOnline(
        normal(500), ert=_RUN_TIME, window_sizes=[20, 50, 100], n_bootstraps=10 * _RUN_TIME, verbose=False
    )

    def start(known: Floats) -> Alarmed:
        detector.x_ref = _spread_out(known, 500)[:, None]
        detector._configure_ref()
        detector.reset_state()

        def alarmed(value: float) -> bool:
            found = bool(detector.predict(np.array([value]))["data"]["is_drift"])
            if found:
                detector.reset_state()
            return found

        return alarmed

    return start


def peers() -> Iterator[Peer]:
    """Each at the settings that the head of this file names, quick ones first: they take minutes to find."""
    limit = most_sensitive(_cusum, (50, 100, 200, 400, 800, 1600, 3200))
    for each in dict.fromkeys((50.0, limit)):
        yield Peer(f"Frouros CUSUM {each:g}", _cusum(each), is_looser=each < limit)
    yield Peer(f"Frouros KS {PER_VALUE:g}", _over_again(_ks), slow=True)
    distance = _highest_distance()
    yield Peer(f"Frouros MMD {distance:.3g}", _mmd(distance), slow=True, is_looser=True)
    yield Peer(f"alibi-detect CVM {1 / _RUN_TIME:g}", _cvm(), slow=True, is_looser=True)


def main() -> None:
    logging.disable(logging.WARNING)
    cases, found = decode(sys.stdin.buffer.read()), {}
    for peer in peers():
        figures = [peer.figure(case) for case in cases]
        found[peer.name] = {"figures": figures, "cost": peer.cost(), "is_looser": peer.is_looser}
        print(f"{peer.name}: {found[peer.name]}", file=sys.stderr, flush=True)
    versions = {name: version(name) for name in ("frouros", "alibi-detect", "numpy")}
    print(json.dumps({"versions": versions, "peers": found}))


if __name__ == "__main__":
    main()
