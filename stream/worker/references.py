"""What models are compared with: what this worker's configuration says, and what is in effect by the panes topic.

    configuration loaded ──► generation ──► baselines by hash to Redis ──► a record for each model ──► its panes

The configuration that was loaded last is in effect, in every worker: `docs/decisions/0029-references.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.partitions.baselines import KnownBaselines
from driftline.stream.state.references import StoredBaselines

log = logging.getLogger(__name__)

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
# Models whose baselines are stored at once; a worker has 32 connections.
_AT_ONCE = 16


class References:
    """Finds the baselines that `known` lacks in Redis, and says which this worker's configuration wants in effect."""

    def __init__(
        self, given: Mapping[str, Baseline], stored: StoredBaselines, versions: Versions = NO_VERSIONS
    ) -> None:
        self._stored, self.known = stored, KnownBaselines(given, versions)

    async def find(self, model: str, hashes: Iterable[str]) -> None:
        """Make baselines of a model known, but for those that Redis does not have as we can read them."""
        for content_hash in hashes:
            if self.known.get(model, content_hash) is None:
                await self._find(model, content_hash)

    async def _find(self, model: str, content_hash: str) -> None:
        content = await self._stored.load(model, content_hash)
        if content is None:
            return
        try:
            self.known.add(model, content_hash, await asyncio.to_thread(decode_baseline, content))
        except BaselineError as error:
            log.error("model %s: baseline %s… in Redis is of no use: %s", model, content_hash[:12], error)

    async def announce(self, publish: Publish, panes: str) -> None:
        """Say on the panes topic what this configuration compares each model with; then it is in effect.

        Models that an earlier configuration gave a baseline, and this one does not, get a record that says so.
        """
        generation = await self._stored.next_generation()
        models = sorted(self.known.given.keys() | self.known.versions.keys())
        await self._store_all(models, generation)
        # Who has read the records must find what they name, even after a power cut.
        await self._stored.sync(generation, models)
        while await self._store_all(models, generation):  # Redis has lost some of it before it was on disk
            await self._stored.sync(generation, models)
        gone = sorted(await self._stored.models() - {*models})
        records = [ReferenceMessage(each, generation, self._hashes(each)) for each in (*models, *gone)]
        await publish(OutgoingRecord(panes, each.model.encode(), each.to_bytes()) for each in records)
        for model in gone:
            await self._stored.drop(model)

    def _hashes(self, model: str) -> dict[str, str]:
        return {track: each.content_hash for track, each in self._by_track(model).items()}

    def _by_track(self, model: str) -> dict[str, Baseline]:
        given, versions = self.known.given, self.known.versions
        own = {"": given[model]} if model in given else {}
        return own | dict(versions.get(model, {}))

    async def _store_all(self, models: Sequence[str], generation: int) -> bool:
        """Store the baselines of models; False if all are there already."""
        stored = list[bool]()
        for first in range(0, len(models), _AT_ONCE):
            some = (self._store(each, generation) for each in models[first : first + _AT_ONCE])
            stored += await asyncio.gather(*some)
        return any(stored)

    async def _store(self, model: str, generation: int) -> bool:
        files = {each.content_hash: partial(_slim, each) for each in self._by_track(model).values()}
        return await self._stored.use(model, generation, files)


def _slim(baseline: Baseline) -> bytes:
    return encode_baseline(baseline.without_blocks())
