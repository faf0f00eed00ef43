"""Reading baseline files: those given by name, and those of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.config.diagnostics import DiagnosticSeverity
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import Remark, unused_settings
from driftline.stream.config.sections import Config

_NONE_GIVEN: Mapping[str, Baseline] = MappingProxyType({})


class MissingBaselineError(BaselineError):
    """There is no baseline file at this path."""


def load_baselines(config: Config, folder: Path, given: Mapping[str, Baseline] = _NONE_GIVEN) -> dict[str, Baseline]:
    """By model, the baselines of a configuration, whose paths are relative to `folder`; `given` ones replace them.

    Raises BaselineError, which names the file, the field and what is wrong.
    """
    named = [name for name, section in config.models.items() if section.baseline is not None and name not in given]
    return {name: _load_configured(config, name, folder) for name in named} | dict(given)


def load_given(paths: Sequence[Path]) -> dict[str, Baseline]:
    """The baselines in files, by model. Raises BaselineError, also if two are of one model."""
    found: dict[str, Baseline] = {}
    path_of: dict[str, Path] = {}
    for path in paths:
        baseline = load_baseline(path)
        if baseline.model in found:
            both = f"{_described(path_of[baseline.model], found[baseline.model])} and {_described(path, baseline)}"
            raise BaselineError(
                f"two baselines of model {baseline.model!r}: {both}. Events of all versions of a model are judged by "
                "one baseline: give one of them, or give each version a model name of its own"
            )
        found[baseline.model], path_of[baseline.model] = baseline, path
    return found


def read_baselines(config: Config, folder: Path) -> tuple[dict[str, Baseline], list[Remark]]:
    """By model, the baselines of a configuration that can be used, and what is wrong with the others.

    An absent file is a warning, since a configuration may be checked where the files are not.
    """
    loaded: dict[str, Baseline] = {}
    remarks = []
    for name, section in config.models.items():
        if section.baseline is not None:
            try:
                baseline = _load_configured(config, name, folder)
                baseline.select_signals(config.for_model(name).signals.selects)
                loaded[name] = baseline
            except BaselineError as error:
                severity: DiagnosticSeverity = "warning" if isinstance(error, MissingBaselineError) else "error"
                remarks.append(Remark(("models", name, "baseline"), str(error), "", severity))
    return loaded, remarks


def baseline_remarks(config: Config, folder: Path) -> list[Remark]:
    """What is wrong with the baseline files of a configuration, and its settings that match no signal in them."""
    baselines, remarks = read_baselines(config, folder)
    return [*remarks, *unused_settings(config, {name: each.signal_kinds for name, each in baselines.items()})]


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


def _load_configured(config: Config, name: str, folder: Path) -> Baseline:
    field, path = dotted_path(("models", name, "baseline")), folder / (config.models[name].baseline or "")
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
