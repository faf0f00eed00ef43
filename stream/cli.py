"""The command line: reads arguments, wires the parts, prints, and turns errors into one line and an exit code.

Exit codes of every command: 0 nothing found or done, 1 drift or errors found, 2 it could not run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from detectors.grid import BINS, Kind
from stream import config as configuration
from stream import files, report
from stream.alerts import to_line
from stream.baseline import Baseline, BaselineError, Settings, build_baseline
from stream.config import Config, ConfigError
from stream.events import Event
from stream.mapping import EventMapping
from stream.messages import BadEvent, decode_event, epoch_ms
from stream.replay import Message, between, load_baseline, load_baselines, one_log, replay

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

out, err = Console(), Console(stderr=True)
FOUND, FAILED = 1, 2

Files = Annotated[
    list[str], typer.Argument(help="JSONL (also .gz), CSV or Parquet files; - reads JSONL from standard input.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True, dir_okay=False)
]


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except (files.InputError, BaselineError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ConfigError as error:
        err.print(configuration.render_problems(error), markup=False, highlight=False, soft_wrap=True)
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


@app.command(
    name="replay",
    epilog="Example: driftline replay live.jsonl.gz --baseline fraud.driftline --alerts alerts.jsonl",
)
def replay_command(
    paths: Files,
    config: ConfigFile = None,
    baseline: Annotated[
        list[Path] | None, typer.Option("--baseline", "-b", help="Baseline file; repeat for more models.")
    ] = None,
    alerts: Annotated[Path | None, typer.Option(help="Write the alerts to this file, one line of JSON each.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Only events from this time on (RFC 3339).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Only events before this time (RFC 3339).")] = None,
    model: Annotated[str | None, typer.Option(help="Model of table rows that name none.")] = None,
) -> None:
    """Run events from files through the whole detection and say what has drifted.

    Exit code 0: no drift. 1: drift found. 2: failed.
    """
    settings = read_config(config)
    baselines = load_baselines(settings, baseline or [], config.parent if config else Path())
    if not baselines:
        err.print(f"no baseline given: the first {settings.defaults.learn_events:,} events of each model become one")
    started = time.monotonic()
    with _reading(paths, model) as batches, alerts.open("wb") if alerts else nullcontext() as file:

        def tell(message: Message) -> None:
            report.print_alert(out, message)
            if file:
                file.write(to_line(message) + b"\n")

        log = between(one_log(batches), settings.mapping.paths(), _time(from_, "--from"), _time(to, "--to"))
        outcome = replay(settings, baselines, {0: log}, tell)
    report.print_summary(out, outcome, time.monotonic() - started)
    raise typer.Exit(FOUND if outcome.alerts else 0)


@app.command(epilog="Example: driftline check driftline.yaml")
def check(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Check a configuration and say what is wrong: line, column and what may help.

    Exit code 0: valid. 1: something is wrong.
    """
    problems = configuration.check(_text(path), str(path))
    if problems:
        out.print(configuration.render_problems(problems), markup=False, highlight=False, soft_wrap=True)
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
        bool, typer.Option("--unordered", help="The events' times mean nothing: take no variation from them.")
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
    chosen = settings.defaults if model not in settings.models else configuration.model_config(settings, model)
    kinds = {**chosen.kinds, **dict(_pairs(kind, "--kind"))}
    with _reading(paths, model) as batches:
        events, refused = _events(batches, model, settings.mapping.paths())
    for reason in refused[:5]:
        err.print(Text(f"rejected: {reason}", style="yellow"))
    facts = {
        "version": version, "git_commit": git_commit, "training_snapshot": training_snapshot, "seed": seed,
        "hyperparameters": dict(_pairs(hyperparameter, "--hyperparameter")) or None,
    }  # fmt: skip
    about = {
        "model": model,
        **{name: fact for name, fact in facts.items() if fact is not None},
        "source": [Path(path).name for path in paths],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_by": f"driftline {installed_version('driftline')}",
        "rejected": len(refused),
    }
    built = build_baseline(
        events, about, Settings(bins=bins, ordered=not unordered, kinds=_kinds(kinds), selects=chosen.signals.selects)
    )
    _check_names(kind, built)
    target.write_bytes(built.to_bytes())
    _print_built(built, target, len(refused))


@baseline_app.command(name="show", epilog="Example: driftline baseline show fraud.driftline")
def baseline_show(path: Annotated[Path, typer.Argument(help="Baseline file.")]) -> None:
    """Print a baseline: its facts and every signal with a small histogram."""
    report.print_baseline(out, load_baseline(path))


def read_config(path: Path | None) -> Config:
    """The configuration in a file; all defaults without one."""
    return configuration.parse_config(_text(path), str(path)) if path else Config()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise files.InputError(f"{path}: byte {error.start + 1}: not UTF-8; save the file as UTF-8") from None


def _print_built(built: Baseline, target: Path, refused: int) -> None:
    kinds = ", ".join(f"{sum(each.kind is kind for each in built.layout.signals)} {kind.value}" for kind in Kind)
    events = f"{built.total.n:,} events, {refused:,} rejected"
    out.print(Text(f"{target}: {events}; {len(built.layout.signals)} signals ({kinds})"))


def _events(batches: Iterator[list[bytes]], model: str, mapping: EventMapping) -> tuple[list[Event], list[str]]:
    events, refused, others = [], [], set()
    for batch in batches:
        for message in batch:
            try:
                event = decode_event(message, mapping)
            except BadEvent as error:
                refused.append(str(error))
                continue
            events.append(event) if event.model == model else others.add(event.model)
    if not events and others:
        raise BaselineError(f"no event of model {model!r}; the files hold {', '.join(sorted(others)[:5])}")
    return events, refused


@contextmanager
def _reading(paths: Sequence[str], model: str | None) -> Iterator[Iterator[list[bytes]]]:
    """The files' messages, under a progress bar over their bytes."""
    total = files.total_bytes(paths)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # On the console that the alerts are printed on, the bar makes room for them.
    console = out if out.is_terminal else err
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=total)
        yield files.read_messages(paths, model=model, on_progress=lambda done: progress.update(task, completed=done))


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


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return epoch_ms(msgspec.convert(text, datetime))
    except ValueError:
        raise typer.BadParameter(f"{option}: expected RFC 3339 such as 2026-01-31T00:00:00Z, got {text!r}") from None


if __name__ == "__main__":
    main()
