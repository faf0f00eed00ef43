"""Runs targets, each in a process of its own: a crash, an endless loop or a lack of memory ends that process alone.

The input in work lies in a file, so that the parent has it whatever happens to the child.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import multiprocessing
import os
import random
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from load_tests.fuzz.mutations import damage_bytes
from load_tests.fuzz.target import Target

# Address space that a child may take beyond what it has: an event of 1 MiB may make objects of 800 MB (`MAX_VALUES` in
# stream/events/frames.py), and everything else far less.
_MEMORY = 1500 << 20
# Different faults of one target after which it is left: more would hide the first ones.
_MOST_FAULTS = 10
# Share of the inputs that stay valid.
_WHOLE = 0.2
# How much longer than its processor time an input may take: other programs may keep the machine busy.
_IDLE = 6
# Share of the work after which caches are full, and memory must not grow any more.
_SETTLED = 0.1
_OWN = re.compile(r"/(?=(?:stream|detectors|load_tests)/)")

# The share of the work that is done after a number of inputs; at 1, it is over.
Done = Callable[[int], float]


@dataclass
class Outcome:
    """What the inputs of a target came to.

    slowest: processor time of an input, in s. growth: of memory, in MB. faults: what is wrong, with the file that holds
    the input.
    """

    name: str
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    growth: float = 0.0
    faults: list[tuple[str, str]] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.accepted + self.refused


class Fuzzer:
    """Writes, damages and reads the inputs of a target. folder: for the input in work and for those that fail."""

    def __init__(self, target: Target, seed: int, folder: Path) -> None:
        self.target, self.rng, self._folder = target, random.Random(f"{seed}/{target.name}"), folder
        self.outcome, self._kinds = Outcome(target.name), set[str]()
        self._file = os.open(in_work(folder, target), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._other = b""

    def step(self) -> None:
        """One input."""
        whole = self.target.write(self.rng)
        if self.rng.random() < _WHOLE:
            self._read(whole, damaged=False)
        elif self.target.damage and self.rng.random() < 0.5:
            self._read(self.target.damage(whole, self.rng), damaged=True)
        else:
            self._read(damage_bytes(whole, self.rng, self.target.words, self._other), damaged=True)
        self._other = whole

    def _read(self, data: bytes, *, damaged: bool) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data, 0)
        # The kernel ends a process that has no handler for these signals, even within a loop in C.
        signal.setitimer(signal.ITIMER_PROF, self.target.seconds)
        signal.setitimer(signal.ITIMER_REAL, _IDLE * self.target.seconds)
        started = time.process_time()
        try:
            self.target.read(data)
            self.outcome.accepted += 1
        except self.target.refusals as error:
            self.outcome.refused += 1
            if not damaged:
                self._fail("a valid input is refused", f"a valid input is refused: {error}", data)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is what this tool looks for
            self.outcome.refused += 1
            self._fail(_place(error), f"{_place(error)}: {type(error).__name__}: {str(error)[:300]}", data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.outcome.slowest = max(self.outcome.slowest, time.process_time() - started)

    def _fail(self, kind: str, what: str, data: bytes) -> None:
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.outcome.faults.append((what, str(save(self._folder, self.target, data))))

    def run(self, done: Done) -> Outcome:
        """Read inputs, one at least, and measure how memory grows."""
        settled, share = 0.0, 0.0
        while share < 1 and len(self.outcome.faults) < _MOST_FAULTS:
            self.step()
            if self.outcome.inputs == 1:  # it took what the target prepares once, too
                self.outcome.slowest = 0.0
            share = done(self.outcome.inputs)
            if not settled and share >= _SETTLED:
                settled = megabytes()
        self.outcome.growth = megabytes() - settled if settled else 0.0
        if self.outcome.growth > self.target.growth:
            self.outcome.faults.append((f"memory grew by {self.outcome.growth:.0f} MB", ""))
        return self.outcome


def within(seconds: float) -> Done:
    """The share of some seconds that is over, from the first time on that it is asked for."""
    began = 0.0

    def done(_: int) -> float:
        nonlocal began
        began = began or time.monotonic()
        return (time.monotonic() - began) / seconds

    return done


def fuzz(target: Target, seed: int, done: Done, folder: Path) -> Outcome:
    """The outcome of a target, worked out by a child. folder: for inputs that fail."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, target, seed, done, folder))
    child.start()
    theirs.close()
    try:
        outcome: Outcome = ours.recv()
    except EOFError:
        child.join()
        outcome = _ended(target, child.exitcode or 0, folder)
    child.join()
    in_work(folder, target).unlink(missing_ok=True)
    return outcome


def _child(results: Connection, target: Target, seed: int, done: Done, folder: Path) -> None:
    limit_memory()
    logging.disable()  # each refusal may be logged; thousands of them say nothing
    results.send(Fuzzer(target, seed, folder).run(done))


def _ended(target: Target, code: int, folder: Path) -> Outcome:
    """The outcome of a target whose child ended before it had one."""
    took = f"an input took more than {target.seconds:g} s"
    what = took if -code in (signal.SIGPROF, signal.SIGALRM) else f"an input ended the process, exit code {code}"
    path = save(folder, target, in_work(folder, target).read_bytes())
    return Outcome(target.name, faults=[(what, str(path))])


def limit_memory() -> None:
    """Limit the address space of this process to what it has and `_MEMORY` more."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, resource.RLIM_INFINITY))


def in_work(folder: Path, target: Target) -> Path:
    """The file with the input that a child has in work."""
    return folder / f"{target.name}.in-work"


def save(folder: Path, target: Target, data: bytes) -> Path:
    """Save an input under a name that its content gives."""
    path = folder / f"{target.name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return path


def megabytes() -> float:
    """Memory that this process holds now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _place(error: BaseException) -> str:
    """Where an exception comes from: the innermost line of Driftline, or of this tool."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if _OWN.search(each.filename)]
    return f"{_OWN.split(frames[-1].filename)[-1]}:{frames[-1].lineno}" if frames else "outside"
