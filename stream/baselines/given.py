"""The baselines that a configuration gives to models, and to versions of models. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import Config

#: The baselines of versions that have their own, by model and version.
Versions = Mapping[str, Mapping[str, Baseline]]
#: Where no version has its own.
NO_VERSIONS: Final[Versions] = MappingProxyType({})


def select_watched(config: Config, baselines: Mapping[str, Baseline]) -> dict[str, Baseline]:
    """The baselines, by model, without the signals that the configuration leaves out. Raises BaselineError."""
    return {model: each.select_signals(config.for_model(model).signals.selects) for model, each in baselines.items()}


def select_watched_versions(config: Config, versions: Versions) -> dict[str, dict[str, Baseline]]:
    """The same of versions."""
    return {
        model: {version: each.select_signals(config.for_model(model).signals.selects) for version, each in own.items()}
        for model, own in versions.items()
    }


def kinds_of(baselines: Mapping[str, Baseline], versions: Versions) -> dict[str, dict[str, str]]:
    """By model, the kind of each signal of its baselines; where these differ, that of the last version."""
    kinds = {model: dict(each.signal_kinds) for model, each in baselines.items()}
    for model, own in versions.items():
        for each in own.values():
            kinds.setdefault(model, {}).update(each.signal_kinds)
    return kinds


def mistaken_versions(versions: Versions) -> Iterator[Remark]:
    """A remark on each baseline that was built for another version than the one that it is given to."""
    for model, own in versions.items():
        for version, baseline in own.items():
            built_for = baseline.about.get("version")
            if built_for not in (None, version):
                path = ("models", model, "baselines", version)
                message = f"{dotted_path(path)}: the file says that it is the baseline of version {built_for}"
                yield Remark(path, message, f"name the file of version {version}, or build it with --version {version}")
