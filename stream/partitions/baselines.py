"""The baselines that a process knows, and which of them are in effect by the panes topic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ReferenceMessage


class KnownBaselines:
    """Baselines by model and hash: those of a configuration, and others that were found by their hash.

    given: the configuration's, by model. versions: those of versions that have their own, by model.
    """

    def __init__(self, given: Mapping[str, Baseline], versions: Versions = NO_VERSIONS) -> None:
        self._by_hash = dict[tuple[str, str], Baseline]()
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
        known = self.get(model, baseline.content_hash)
        # The hash says nothing of rates and outcomes: two files of a model may differ in these alone.
        if known is None or known.rates != baseline.rates or _outcomes(known) != _outcomes(baseline):
            self.add(model, baseline.content_hash, baseline)
            return baseline
        return known

    def get(self, model: str, content_hash: str) -> Baseline | None:
        """A model's baseline of this hash, if it is known."""
        return self._by_hash.get((model, content_hash))

    def add(self, model: str, content_hash: str, baseline: Baseline) -> None:
        """Take a baseline that was found by this hash."""
        self._by_hash[model, content_hash] = baseline

    def keep(self, hashes: Iterable[str]) -> None:
        """Drop the baselines that neither the configuration nor one of these hashes names."""
        versions = chain.from_iterable(own.values() for own in self.versions.values())
        kept = {*hashes, *(each.content_hash for each in (*self.given.values(), *versions))}
        self._by_hash = {key: each for key, each in self._by_hash.items() if key[1] in kept}

    def of(self, model: str, in_effect: ReferenceMessage | None) -> Baseline | None:
        """The given baseline of a model; None if it learns its own, or if that of the record is not known."""
        if in_effect is None:
            return self.given.get(model)
        return self.get(model, in_effect.baselines.get("", ""))

    def of_versions(self, in_effect: ReferenceMessage | None) -> dict[str, Baseline]:
        """The baselines of a model's versions. Without a record there are none: a judge may not know of them yet."""
        if in_effect is None:
            return {}
        found = {version: self.get(in_effect.model, hash_) for version, hash_ in in_effect.baselines.items()}
        return {version: each for version, each in found.items() if version and each is not None}

    def has(self, in_effect: ReferenceMessage | None) -> bool:
        """Whether the baselines of a record are known."""
        return in_effect is None or not self._missing(in_effect)

    def check(self, in_effect: ReferenceMessage | None) -> None:
        """Raises FormatError if a baseline of a record is not known."""
        if in_effect is not None and (missing := self._missing(in_effect)):
            raise FormatError(
                f"baseline {missing[0][:12]}… of model {in_effect.model!r} is not in Redis: "
                "restart a worker that has it"
            )

    def _missing(self, record: ReferenceMessage) -> list[str]:
        return [hash_ for hash_ in record.baselines.values() if self.get(record.model, hash_) is None]


def _outcomes(baseline: Baseline) -> str:
    return baseline.outcomes.hash if baseline.outcomes else ""
