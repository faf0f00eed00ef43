"""What models are compared with: what this worker's configuration says, and what is in effect by the panes topic.

    configuration loaded ──► generation ──► baselines by hash to Redis ──► a record for each model ──► its panes

The configuration that was loaded last is in effect, in every worker: `docs/decisions/0029-references.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from itertools import chain

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.state.references import StoredBaselines

log = logging.getLogger(__name__)

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
# Models whose baselines are stored at once; a worker has 32 connections.
_AT_ONCE = 16


class References:
    """Baselines by model and hash, from a configuration and from Redis.

    given: the configuration's, by model. versions: those of versions that have their own, by model.
    """

    def __init__(
        self, given: Mapping[str, Baseline], stored: StoredBaselines, versions: Versions = NO_VERSIONS
    ) -> None:
        self._stored, self._known = stored, dict[tuple[str, str], Baseline]()
        self.replace(given, versions)

    def replace(self, given: Mapping[str, Baseline], versions: Versions = NO_VERSIONS) -> None:
        """Take the baselines of a configuration that was loaded again."""
        self.given = {model: self._take(model, each) for model, each in given.items()}
        self.versions = {
            model: {version: self._take(model, each) for version, each in own.items()}
            for model, own in versions.items()
        }

    def _take(self, model: str, baseline: Baseline) -> Baseline:
        """A baseline of the configuration; one that is known already stays the same object, and keeps its monitors."""
        known = self._known.get((model, baseline.content_hash))
        # The hash says nothing of rates: two models, or two files of one, may differ in these alone.
        if known is None or known.rates != baseline.rates:
            self._known[model, baseline.content_hash] = known = baseline
        return known

    def of(self, model: str, in_effect: ReferenceMessage | None) -> Baseline | None:
        """The given baseline of a model; None if it learns its own, or if `load` has not found it."""
        if in_effect is None:
            return self.given.get(model)
        return self._known.get((model, in_effect.baselines.get("", "")))

    def of_versions(self, in_effect: ReferenceMessage | None) -> dict[str, Baseline]:
        """The baselines of a model's versions. Without a record there are none: a judge may not know of them yet."""
        if in_effect is None:
            return {}
        found = {version: self._known.get((in_effect.model, hash_)) for version, hash_ in in_effect.baselines.items()}
        return {version: each for version, each in found.items() if version and each}

    def has(self, in_effect: ReferenceMessage | None) -> bool:
        """Whether the baselines of a record are loaded."""
        return in_effect is None or all(
            (in_effect.model, hash_) in self._known for hash_ in in_effect.baselines.values()
        )

    async def load(self, record: ReferenceMessage) -> None:
        """Load the baselines of a record. Raises FormatError if one is not there."""
        for hash_ in record.baselines.values():
            if await self.find(record.model, hash_) is None:
                raise FormatError(
                    f"baseline {hash_[:12]}… of model {record.model!r} is not in Redis: restart a worker that has it"
                )

    async def find(self, model: str, content_hash: str) -> Baseline | None:
        """A baseline of a model by its hash; None if neither the configuration nor Redis has it as we can read it."""
        if (model, content_hash) not in self._known:
            content = await self._stored.load(model, content_hash)
            if content is None:
                return None
            try:
                self._known[model, content_hash] = await asyncio.to_thread(decode_baseline, content)
            except BaselineError as error:
                log.error("model %s: baseline %s… in Redis is of no use: %s", model, content_hash[:12], error)
                return None
        return self._known[model, content_hash]

    def keep(self, hashes: Iterable[str]) -> None:
        """Drop the baselines that neither the configuration nor one of these hashes names."""
        versions = chain.from_iterable(own.values() for own in self.versions.values())
        kept = {*hashes, *(each.content_hash for each in (*self.given.values(), *versions))}
        self._known = {key: each for key, each in self._known.items() if key[1] in kept}

    async def announce(self, publish: Publish, panes: str) -> None:
        """Say on the panes topic what this configuration compares each model with; then it is in effect.

        Models that an earlier configuration gave a baseline, and this one does not, get a record that says so.
        """
        generation = await self._stored.next_generation()
        models = sorted(self.given.keys() | self.versions.keys())
        for first in range(0, len(models), _AT_ONCE):
            await asyncio.gather(*(self._store(each, generation) for each in models[first : first + _AT_ONCE]))
        # Who has read the records must find what they name, even after a power cut.
        await self._stored.sync(generation, models)
        gone = sorted(await self._stored.models() - {*models})
        records = [ReferenceMessage(each, generation, self._hashes(each)) for each in (*models, *gone)]
        await publish(OutgoingRecord(panes, each.model.encode(), each.to_bytes()) for each in records)
        for model in gone:
            await self._stored.drop(model)

    def _hashes(self, model: str) -> dict[str, str]:
        return {track: each.content_hash for track, each in self._by_track(model).items()}

    def _by_track(self, model: str) -> dict[str, Baseline]:
        own = {"": self.given[model]} if model in self.given else {}
        return own | dict(self.versions.get(model, {}))

    async def _store(self, model: str, generation: int) -> None:
        files = {each.content_hash: partial(_slim, each) for each in self._by_track(model).values()}
        await self._stored.use(model, generation, files)


def _slim(baseline: Baseline) -> bytes:
    return encode_baseline(baseline.without_blocks())
