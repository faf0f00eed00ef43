"""Like with like: what a baseline expects of events, by their phase in a daily or weekly cycle.

Traffic at night is no drift from traffic by day. So a baseline counts a signal's codes by phase, and a window is
compared with the mixture of phases that it has itself: of N_h events in phase h, with shares P_h in the baseline,

    E = Σ N_h P_h     are expected, and the window's residual is its counts less E.

The baseline knows P_h from m_h events. So E is uncertain as if the reference had n² / Σ (N_h² / m_h) events, n = Σ N_h.
One phase, H = 1, is one reference for all of time; nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.phases import phases_at

# Multiplications of a matrix product, up to which OpenBLAS stays on one processor. Beyond, it starts threads for
# products that take microseconds, and waits for them ten times as long where processors are busy.
_ALONE = 1 << 18
#: Groups of cycles at most. With more, what the others expect is hardly surer, but five years of days would take a
#: gigabyte. Neighbours go together, as to leave out old cycles would leave out their events.
GROUPS: Final = 120


def mixed(phases: FloatArray, of_phases: FloatArray) -> FloatArray:
    """Sums (w, F) of figures of phases (H, F), weighed by windows' events by phase (w, H)."""
    if len(of_phases) == 1:
        return np.asarray(phases * of_phases)
    columns = max(_ALONE // max(phases.size, 1), 1)
    parts = [phases @ of_phases[:, first : first + columns] for first in range(0, of_phases.shape[1], columns)]
    return np.hstack(parts) if parts else np.zeros((len(phases), 0))


@dataclass(frozen=True, eq=False)
class Reference:
    """A signal's counts by phase and code (H, K) in a baseline with at least one event."""

    counts: FloatArray

    @cached_property
    def events(self) -> FloatArray:
        """Events of each phase (H,)."""
        return np.asarray(self.counts.sum(1))

    @cached_property
    def pooled(self) -> FloatArray:
        """Shares (K,) of the codes in all of the baseline."""
        return np.asarray(self.counts.sum(0) / self.counts.sum())

    @cached_property
    def shares(self) -> FloatArray:
        """Shares (H, K) of the codes by phase; of a phase without events, those of all."""
        some = self.events[:, None] > 0
        return np.where(some, self.counts / np.where(some, self.events[:, None], 1), self.pooled)

    def expected(self, phases: FloatArray) -> FloatArray:
        """Events (w, K) expected in windows that have `phases` (w, H) events by phase."""
        return mixed(phases, self.shares)

    def size(self, phases: FloatArray) -> FloatArray:
        """Events (w,) of a single sample that would tell what to expect of windows (w, H) as well as this one does."""
        n = phases.sum(1)
        return np.asarray(n * n / np.maximum((phases**2 / np.maximum(self.events, 1)).sum(1), 1e-12))


@dataclass(frozen=True, eq=False)
class History:
    """A signal in a baseline, in the order of time.

    blocks: counts (P, K) of P >= 2 stretches. phases: their events by phase (P, H). cycle: of each block (P,), from 0.
    visits: counts (C, H, K) by cycle, phase and code, exact; with H = 1 only their sum counts. cycles: how many there
    are. Of more than `GROUPS`, neighbours are one cycle in all the rest, C <= cycles.
    """

    blocks: FloatArray
    phases: FloatArray
    cycle: IntArray
    visits: FloatArray
    cycles: int

    @classmethod
    def of(cls, codes: IntArray, n_codes: int, seconds: IntArray, phases: int, blocks: int) -> History:
        """The history of events in order, from their codes (n,) and local times (n,). blocks: their number, at most n.

        seconds: since the epoch. Cycles without an event are none.
        """
        phase, cycle = phases_at(seconds, phases)
        cycle = np.unique(cycle, return_inverse=True)[1].reshape(-1)
        cycles = int(cycle.max()) + 1
        groups = min(cycles, GROUPS)
        cycle = cycle * groups // cycles
        block = np.arange(len(codes)) * blocks // len(codes)
        middle = np.searchsorted(block, np.arange(blocks)) + np.bincount(block) // 2
        return cls(
            _counted((block, codes), (blocks, n_codes)),
            _counted((block, phase), (blocks, phases)),
            cycle[middle],
            _counted((cycle, phase, codes), (groups, phases, n_codes)),
            cycles,
        )

    @classmethod
    def steady(cls, blocks: IntArray) -> History:
        """The history of a signal without phases, from the counts (P, K) of P >= 2 stretches."""
        counts = blocks.astype(float)
        none = np.zeros(len(blocks), np.int64)
        return cls(counts, counts.sum(1, keepdims=True), none, counts.sum(0)[None, None], 1)

    @cached_property
    def reference(self) -> Reference:
        """What all of it expects."""
        return Reference(self.visits.sum(0))

    @cached_property
    def residuals(self) -> FloatArray:
        """Counts (P, K) of the blocks, less what the other cycles expect of them.

        Each cycle is compared with the others, as live traffic is, and not with a sum in which it counts itself. What
        the others are uncertain about is not the blocks' own, so residuals are less by √((C - 1) / C).
        """
        c = len(self.visits)
        if self.phases.shape[1] == 1 or c < 2:
            return np.asarray(self.blocks - self.reference.expected(self.phases))
        residuals = np.empty(self.blocks.shape)
        for cycle in range(c):
            own = self.cycle == cycle
            residuals[own] = self.blocks[own] - self._without(cycle).expected(self.phases[own])
        return np.asarray(residuals * np.sqrt((c - 1) / c))

    def of_visits(self) -> FloatArray:
        """Counts (C, H, K) of whole visits to a phase, less what the other cycles expect: as `residuals`."""
        c, n = len(self.visits), self.visits.sum(2)[..., None]
        shares = np.stack([self._without(cycle).shares for cycle in range(c)])
        return np.asarray((self.visits - n * shares) * np.sqrt((c - 1) / c))

    def _without(self, cycle: int) -> Reference:
        return Reference(np.maximum(self.reference.counts - self.visits[cycle], 0))


def _counted(at: tuple[IntArray, ...], shape: tuple[int, ...]) -> FloatArray:
    """How often each place of an array of this shape occurs."""
    counts = np.bincount(np.ravel_multi_index(at, shape), minlength=int(np.prod(shape)))
    return np.asarray(counts.reshape(shape), float)
