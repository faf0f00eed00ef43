"""Reading baseline files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.config.sections import Config


def load_baselines(config: Config, paths: Sequence[Path], folder: Path) -> list[Baseline]:
    """The baselines in `paths` and those in the configuration, relative to `folder`; `paths` win for the same model.

    Raises BaselineError.
    """
    found = {name: folder / each.baseline for name, each in config.models.items() if each.baseline}
    loaded = {name: load_baseline(path) for name, path in found.items()}
    for name, baseline in loaded.items():
        if baseline.model != name:
            raise BaselineError(
                f"{found[name]}: is the baseline of {baseline.model!r}, but `models.{name}.baseline` names it"
            )
    return list((loaded | {baseline.model: baseline for baseline in map(load_baseline, paths)}).values())


def load_baseline(path: Path) -> Baseline:
    """The baseline in a file. Raises BaselineError, which names the file and what is wrong."""
    try:
        return decode_baseline(path.read_bytes())
    except OSError as error:
        raise BaselineError(f"{path}: {error.strerror}; `driftline baseline build` makes one") from error
    except BaselineError as error:
        raise BaselineError(f"{path}: {error}") from error
