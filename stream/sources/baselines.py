"""Reading baseline files: those given by name, and those of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.baselines.given import kinds_of, mistaken_versions
from driftline.stream.config.diagnostics import DiagnosticSeverity
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import Remark, unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.judge.resolution import order_remarks, proof_remarks

_NONE_GIVEN: Mapping[str, Baseline] = MappingProxyType({})


class MissingBaselineError(BaselineError):
    """There is no baseline file at this path."""


def load_baselines(config: Config, folder: Path, given: Mapping[str, Baseline] = _NONE_GIVEN) -> dict[str, Baseline]:
    """By model, the baselines of a configuration, whose paths are relative to `folder`; `given` ones replace them.

    Raises BaselineError, which names the file, the field and what is wrong.
    """
    named = [name for name, section in config.models.items() if section.baseline is not None and name not in given]
    return {name: _load_configured(config, folder, name, "baseline") for name in named} | dict(given)


def load_versions(
    config: Config, folder: Path, given: Mapping[str, Baseline] = _NONE_GIVEN
) -> dict[str, dict[str, Baseline]]:
    """By model and version, the baselines of versions that have their own, but of models with a `given` baseline.

    Paths are relative to `folder`. Raises BaselineError, which names the file, the field and what is wrong.
    """
    return {
        name: {version: _load_configured(config, folder, name, "baselines", version) for version in section.baselines}
        for name, section in config.models.items()
        if section.baselines and name not in given
    }


def load_given(paths: Sequence[Path]) -> dict[str, Baseline]:
    """The baselines in files, by model. Raises BaselineError, also if two are of one model."""
    found: dict[str, Baseline] = {}
    path_of: dict[str, Path] = {}
    for path in paths:
        baseline = load_baseline(path)
        if baseline.model in found:
            both = f"{_described(path_of[baseline.model], found[baseline.model])} and {_described(path, baseline)}"
            raise BaselineError(
                f"two baselines of model {baseline.model!r}: {both}. Give one of them, or name each by its version in "
                f"a configuration, under `models.{baseline.model}.baselines`"
            )
        found[baseline.model], path_of[baseline.model] = baseline, path
    return found


def read_baselines(config: Config, folder: Path) -> tuple[dict[str, Baseline], list[Remark]]:
    """By model, the baselines of a configuration that can be used, and what is wrong with the others.

    An absent file is a warning, since a configuration may be checked where the files are not.
    """
    read = _Reading(config, folder)
    named = [name for name, section in config.models.items() if section.baseline is not None]
    loaded = {name: each for name in named if (each := read.baseline(name, "baseline"))}
    return loaded, read.remarks


def read_versions(config: Config, folder: Path) -> tuple[dict[str, dict[str, Baseline]], list[Remark]]:
    """By model and version, the same of versions that have baselines of their own."""
    read = _Reading(config, folder)
    loaded = {
        name: {version: each for version in section.baselines if (each := read.baseline(name, "baselines", version))}
        for name, section in config.models.items()
        if section.baselines
    }
    return loaded, read.remarks


def baseline_remarks(config: Config, folder: Path) -> list[Remark]:
    """What is wrong with the baseline files of a configuration, and its settings that match no signal in them."""
    baselines, remarks = read_baselines(config, folder)
    versions, more = read_versions(config, folder)
    given: dict[tuple[str, ...], Baseline] = {(name, "baseline"): each for name, each in baselines.items()}
    given |= {(name, "baselines", version): each for name, own in versions.items() for version, each in own.items()}
    doubts = dict.fromkeys(remark for path, each in given.items() for remark in _doubts(config, each, *path))
    unused = unused_settings(config, kinds_of(baselines, versions))
    return [*remarks, *more, *mistaken_versions(versions), *doubts, *unused]


def _doubts(config: Config, baseline: Baseline, name: str, *where: str) -> Iterator[Remark]:
    """What a baseline, named at `where` of a model's section, cannot tell."""
    own = config.for_model(name)
    yield from (remark._replace(path=("models", name, *where)) for remark in order_remarks(baseline, own))
    section = ("models", name) if config.models[name].signals.bet_on else ("defaults",)
    yield from (remark._replace(path=(*section, "signals", "rules")) for remark in proof_remarks(baseline, own))


@dataclass
class _Reading:
    """Reads the baselines of a configuration, and keeps what is wrong with them."""

    config: Config
    folder: Path
    remarks: list[Remark] = field(default_factory=list)

    def baseline(self, model: str, *where: str) -> Baseline | None:
        """The baseline that a field of a model's section names; None if it cannot be used."""
        try:
            baseline = _load_configured(self.config, self.folder, model, *where)
            baseline.select_signals(self.config.for_model(model).signals.selects)
        except BaselineError as error:
            severity: DiagnosticSeverity = "warning" if isinstance(error, MissingBaselineError) else "error"
            self.remarks.append(Remark(("models", model, *where), str(error), "", severity))
            return None
        return baseline


def load_baseline(path: Path) -> Baseline:
    """The baseline in a file. Raises BaselineError, which names the file and what is wrong."""
    try:
        return decode_baseline(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingBaselineError(f"{path}: {error.strerror}; `driftline baseline build` makes one") from error
    except OSError as error:
        raise BaselineError(f"{path}: {error.strerror}; name a file that `driftline baseline build` wrote") from error
    except BaselineError as error:
        raise BaselineError(f"{path}: {error}") from error


def _load_configured(config: Config, folder: Path, name: str, *where: str) -> Baseline:
    section = config.models[name]
    named, dotted = (section.baselines[where[1]] if len(where) > 1 else section.baseline), ("models", name, *where)
    field, path = dotted_path(dotted), folder / (named or "")
    try:
        baseline = load_baseline(path)
    except MissingBaselineError as error:
        raise MissingBaselineError(f"{field}: {error}. The path is relative to the configuration file") from error
    except BaselineError as error:
        raise BaselineError(f"{field}: {error}") from error
    if baseline.model != name:
        raise BaselineError(f"{path}: is the baseline of {baseline.model!r}, but `{field}` names it")
    return baseline


def _described(path: Path, baseline: Baseline) -> str:
    version = baseline.about.get("version")
    return f"{path} ({'no version' if version is None else f'version {version}'})"
