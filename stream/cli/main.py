"""The command line: reads arguments, wires the parts, prints, and turns errors into one line and an exit code.

Exit codes of every command: 0 nothing found or done, 1 drift or errors found, 2 it could not run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from driftline.detectors.summaries.codes import BINS, Kind
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli import demo as cli_demo
from driftline.stream.cli import incidents as cli_incidents
from driftline.stream.cli import relay as cli_relay
from driftline.stream.cli import replay as cli_replay
from driftline.stream.cli import schema as cli_schema
from driftline.stream.cli import silence as cli_silence
from driftline.stream.cli import topics as cli_topics
from driftline.stream.cli.terminal import (
    FAILED,
    FOUND,
    CommandError,
    ConfigFile,
    Files,
    err,
    out,
    read_config,
    read_text,
    reading,
)
from driftline.stream.config.diagnostics import ConfigError, render_diagnostics
from driftline.stream.config.load import check as check_config
from driftline.stream.events.event import Event
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.reports import replay as report
from driftline.stream.sources import files
from driftline.stream.sources.baselines import load_baseline

app = typer.Typer(
    name="driftline",
    help="Pages a team when a model's live traffic has really changed: which signal, since when, how much.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
baseline_app = typer.Typer(
    help="Build and read baselines: what a model's traffic should look like.", no_args_is_help=True
)
app.add_typer(baseline_app, name="baseline")
app.add_typer(cli_demo.app)
app.add_typer(cli_incidents.app)
app.add_typer(cli_relay.app)
app.add_typer(cli_replay.app)
app.add_typer(cli_schema.app)
app.add_typer(cli_silence.app)
app.add_typer(cli_topics.app)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except (files.InputError, BaselineError, CommandError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ConfigError as error:
        err.print(render_diagnostics(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(FAILED)


def _fail(reason: str) -> NoReturn:
    err.print(Text.assemble(("error: ", "red"), reason), soft_wrap=True)
    sys.exit(FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(installed_version("driftline"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Pages a team when a model's live traffic has really changed: which signal, since when, how much."""


@app.command(epilog="Example: driftline worker -c driftline.yaml")
def worker(
    config: Annotated[Path, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Watch the predictions topic until stopped: sketch, judge, alert.

    Exit code 0: stopped by SIGTERM or SIGINT. 1: an error; start it again. 3: ended by the watchdog; start it again.
    """
    # Faust takes half a second to import, which no other command should pay.
    from driftline.stream.worker.worker import run

    run(read_config(config), config.parent)


@app.command(epilog="Example: driftline check driftline.yaml")
def check(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Check a configuration and say what is wrong: line, column and what may help.

    Exit code 0: valid. 1: something is wrong.
    """
    problems = check_config(read_text(path), str(path))
    if problems:
        out.print(render_diagnostics(problems), markup=False, highlight=False, soft_wrap=True)
    else:
        out.print(Text.assemble(f"{path}: ", ("ok", "green")))
    raise typer.Exit(FOUND if any(problem.severity == "error" for problem in problems) else 0)


@baseline_app.command(
    name="build",
    epilog="Example: driftline baseline build train.jsonl.gz --model fraud --version 4.2 -o fraud.driftline",
)
def baseline_build(
    paths: Files,
    model: Annotated[str, typer.Option(help="The model these events are of; others in the files are left out.")],
    version: Annotated[str | None, typer.Option(help="Version of the model.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [default: MODEL.driftline]")
    ] = None,
    config: ConfigFile = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="NAME=numeric|categorical|boolean, where it is not what it looks.")
    ] = None,
    bins: Annotated[int, typer.Option(min=2, max=1000, help="Quantile bins of a numeric signal.")] = BINS,
    unordered: Annotated[
        bool,
        typer.Option(
            "--unordered",
            help="The events' times mean nothing; table rows need have none. No variation is taken from them.",
        ),
    ] = False,
    git_commit: Annotated[str | None, typer.Option(help="For the manifest: commit of the training code.")] = None,
    training_snapshot: Annotated[
        str | None, typer.Option(help="For the manifest: snapshot of the training data.")
    ] = None,
    hyperparameter: Annotated[list[str] | None, typer.Option(help="For the manifest: NAME=VALUE; repeat.")] = None,
    seed: Annotated[int | None, typer.Option(help="For the manifest: seed of the training.")] = None,
) -> None:
    """Build a model's baseline from its training data or from past traffic."""
    settings = read_config(config)
    target = output or Path(f"{model}.driftline")
    chosen = settings.for_model(model)
    kinds = {**chosen.kinds, **dict(_pairs(kind, "--kind"))}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with reading(paths, model, ts=now if unordered else None) as batches:
        events, refused = _events(batches, model, settings.mapping.paths())
    for reason in refused[:5]:
        err.print(Text(f"rejected: {reason}", style="yellow"))
    if refused and not events and not unordered and all(reason == "ts: missing" for reason in refused):
        raise BaselineError("no event has a time; with --unordered, rows of a table need none")
    facts = {
        "version": version, "git_commit": git_commit, "training_snapshot": training_snapshot, "seed": seed,
        "hyperparameters": dict(_pairs(hyperparameter, "--hyperparameter")) or None,
    }  # fmt: skip
    about = {
        "model": model,
        **{name: fact for name, fact in facts.items() if fact is not None},
        "source": [Path(path).name for path in paths],
        "created": now,
        "created_by": f"driftline {installed_version('driftline')}",
        "rejected": len(refused),
    }
    built = build_baseline(
        events,
        about,
        BuildSettings(bins=bins, ordered=not unordered, kinds=_kinds(kinds), selects=chosen.signals.selects),
    )
    _check_names(kind, built)
    target.write_bytes(encode_baseline(built))
    _print_built(built, target, len(refused))


@baseline_app.command(name="show", epilog="Example: driftline baseline show fraud.driftline")
def baseline_show(path: Annotated[Path, typer.Argument(help="Baseline file.")]) -> None:
    """Print a baseline: its facts and every signal with a small histogram."""
    report.print_baseline(out, load_baseline(path))


def _print_built(built: Baseline, target: Path, refused: int) -> None:
    kinds = ", ".join(f"{sum(each.kind is kind for each in built.layout.signals)} {kind.value}" for kind in Kind)
    events = f"{built.total.n:,} events, {refused:,} rejected"
    out.print(Text(f"{target}: {events}; {len(built.layout.signals)} signals ({kinds})"))


def _events(batches: Iterator[list[bytes]], model: str, mapping: EventMapping) -> tuple[list[Event], list[str]]:
    events, refused, others = [], [], set()
    for batch in batches:
        for message in batch:
            try:
                event = parse_event(message, mapping)
            except EventError as error:
                refused.append(str(error))
                continue
            events.append(event) if event.model == model else others.add(event.model)
    if not events and others:
        raise BaselineError(f"no event of model {model!r}; the files hold {', '.join(sorted(others)[:5])}")
    return events, refused


def _pairs(options: Sequence[str] | None, name: str) -> Iterator[tuple[str, str]]:
    for option in options or ():
        key, equals, value = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"{name}: expected NAME=VALUE, got {option!r}")
        yield key, value


def _kinds(kinds: dict[str, str]) -> dict[str, Kind]:
    try:
        return {name: Kind(kind) for name, kind in kinds.items()}
    except ValueError as error:
        raise typer.BadParameter(f"--kind: {error}; use numeric, categorical or boolean") from error


def _check_names(kind: Sequence[str] | None, built: Baseline) -> None:
    names = [signal.name for signal in built.layout.signals]
    for name, _ in _pairs(kind, "--kind"):
        if name not in names:
            raise typer.BadParameter(f"--kind: no signal {name!r}; the events hold {', '.join(names)}")


if __name__ == "__main__":
    main()
