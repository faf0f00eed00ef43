"""`driftline calibrate`: what is promised of a model, what its own history would have paged, and what would be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.cli.terminal import CommandError, ConfigFile, out, print_json, read_config
from driftline.stream.config.sections import Config
from driftline.stream.judge.calibration import calibrate
from driftline.stream.reports.calibration import calibration_json, print_calibration
from driftline.stream.sources.baselines import load_baseline, load_baselines, load_versions

app = typer.Typer()


@app.command(name="calibrate", epilog="Example: driftline calibrate driftline.yaml")
def calibrate_command(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Configuration (YAML), or a baseline file.", exists=True)
    ],
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what is promised of each model with a baseline, what its history would have paged, and what would be seen.

    Each quarter of a baseline's history is judged against the other three, by the configuration.

    Then the smallest change of each signal is computed that is seen within an hour, a day and a week of its traffic.

    Exit code 0: done. 2: failed.
    """
    is_config = path.suffix.lower() in (".yaml", ".yml")
    settings = read_config(path if is_config else config)
    given = _configured(settings, path.parent) if is_config else iter([load_baseline(path)])
    found = []
    for each in given:
        own = settings.for_model(each.model)
        found.append(calibrate(each.select_signals(own.signals.selects), own))
        if not json:
            print_calibration(out, found[-1])
    if not found:
        raise CommandError(f"{path} gives no model a baseline; `driftline baseline build` makes one of past traffic")
    if json:
        print_json({"models": [calibration_json(each) for each in found]})


def _configured(settings: Config, folder: Path) -> Iterator[Baseline]:
    yield from load_baselines(settings, folder).values()
    for versions in load_versions(settings, folder).values():
        yield from versions.values()
