"""`driftline baseline`: building baselines and printing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.text import Text

from driftline.detectors.decision.rates import HOUR
from driftline.detectors.summaries.codes import BINS, Kind
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.cycles import cycle_remarks
from driftline.stream.baselines.file import FORMAT_VERSION, encode_baseline, manifest
from driftline.stream.baselines.kinds import NAMED_KINDS, check_kinds
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.baselines.rates import rates_of
from driftline.stream.baselines.remarks import unpromised
from driftline.stream.baselines.sample import read_events
from driftline.stream.cli.accept import baseline_accept
from driftline.stream.cli.terminal import (
    MAX_REJECTED,
    ConfigFile,
    EventFiles,
    MaxRejected,
    err,
    out,
    parse_share,
    parse_stretches,
    print_json,
    print_remarks,
    read_config,
    reading_messages,
    writable,
)
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.remarks import unused_settings
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.events.columns import LABEL
from driftline.stream.events.event import Event
from driftline.stream.events.rejections import Rejections
from driftline.stream.judge.calibration import Calibration, calibrate
from driftline.stream.judge.resolution import small_baseline_remarks
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.sentences import figure_text, metric_name
from driftline.stream.panes.coverage import Coverage, unwatched
from driftline.stream.panes.pane import SLOT_MS
from driftline.stream.replay.summary import rejected_rows
from driftline.stream.reports.calibration import calibration_json, print_calibration
from driftline.stream.reports.replay import print_baseline, print_unwatched
from driftline.stream.sources.baselines import load_baseline
from driftline.stream.sources.calendars import load_calendars
from driftline.stream.text.phrases import counted, listed
from driftline.stream.text.printable import printable

app = typer.Typer()
baseline_app = typer.Typer(
    help="Build and print baselines: what a model's traffic should look like.",
    epilog="Example: driftline baseline show fraud.driftline",
    no_args_is_help=True,
)
app.add_typer(baseline_app, name="baseline")
baseline_app.command(
    name="accept", epilog="Example: driftline baseline accept 60afd81abfda6cd6 -c driftline.yaml --by dana"
)(baseline_accept)

# Reasons of rejections printed, the commonest ones: enough to see what is wrong with a file.
_SHOWN_CAUSES = 5
# Signals of which a baseline is replayed against itself once it is built: 20 take 3 s, so these take half a minute.
_CALIBRATED = 200

Kinds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=KIND",
        help="Kind of a signal, instead of the one inferred: numeric, categorical or boolean. Repeat for more.",
    ),
]
Unordered = Annotated[
    bool,
    typer.Option(
        "--unordered",
        help="Ignore the events' times; table rows need none. The baseline then knows nothing of how traffic varies "
        "over time.",
    ),
]

Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FROM..TO",
        help="Leave out the events of this time, in which the model was not well: two dates (whole days, UTC) or "
        "RFC 3339 times. Repeat for more.",
    ),
]

Format = Annotated[
    int,
    typer.Option(
        "--format",
        min=1,
        max=FORMAT_VERSION,
        help="Version of the file's format; workers of earlier versions of Driftline read 1, or 1 and 2, only.",
    ),
]


_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", callback=writable, help="File to write; MODEL.driftline by default."),
]


def _manifest(help_: str, metavar: str | None = None) -> Any:
    return typer.Option(metavar=metavar, help=f"For the manifest: {help_}")


@baseline_app.command(
    name="build",
    epilog="Example: driftline baseline build train.jsonl.gz --model fraud --version 4.2 -o fraud.driftline",
)
def baseline_build(
    paths: EventFiles,
    model: Annotated[str, typer.Option(help="Model of the baseline; events of other models are skipped.")],
    version: Annotated[str | None, typer.Option(help="Version of the model.")] = None,
    output: _Output = None,
    config: ConfigFile = None,
    kind: Kinds = None,
    bins: Annotated[int, typer.Option(min=2, max=1000, help="Quantile bins of a numeric signal.")] = BINS,
    unordered: Unordered = False,
    format_version: Format = FORMAT_VERSION,
    git_commit: Annotated[str | None, _manifest("commit of the training code.")] = None,
    training_snapshot: Annotated[str | None, _manifest("snapshot of the training data.")] = None,
    hyperparameter: Annotated[list[str] | None, _manifest("a hyperparameter. Repeat for more.", "NAME=VALUE")] = None,
    seed: Annotated[int | None, _manifest("seed of the training.")] = None,
    max_rejected: MaxRejected = MAX_REJECTED,
    exclude: Exclude = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the summary.")] = False,
) -> None:
    """Build a model's baseline from its training data or from past traffic, and say what it would have paged.

    Exit code 0: the baseline is written. 2: failed, or more messages were rejected than --max-rejected allows.
    """
    allowed = parse_share(max_rejected, "--max-rejected")
    settings = read_config(config)
    target = output or Path(f"{model}.driftline")
    chosen = settings.for_model(model)
    kinds, cut = _pairs(kind, "--kind"), parse_stretches(exclude or (), "--exclude")
    facts = {
        "version": version, "git_commit": git_commit, "training_snapshot": training_snapshot, "seed": seed,
        "hyperparameters": _pairs(hyperparameter, "--hyperparameter") or None,
    }  # fmt: skip
    wanted = BuildSettings(
        bins=bins, ordered=not unordered, kinds=_kinds({**chosen.kinds, **kinds}), selects=chosen.signals.selects,
        most=settings.limits.signals, format_version=format_version, timezone=chosen.calendar.stated_timezone,
    )  # fmt: skip
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with reading_messages(paths, settings, model, ts=now if unordered else None) as batches:
        events, rejections = _events(batches, model, settings)
    _report_rejections(rejections, events, unordered, allowed)
    events, excluded = _without(events, cut)
    about = _about(model, facts, paths, now, rejections.total) | ({"excluded": excluded} if excluded else {})
    check_kinds(wanted.kinds, events)
    built, has_order = build_baseline(events, about, wanted), not unordered and format_version > 1
    built = _with_outcomes(built, events) if has_order else built
    if chosen.absence.rates:
        built = _with_rates(built, events, cut, settings, config, ordered=has_order)
    _check_names(kinds, built)
    target.write_bytes(encode_baseline(built.with_derived() if format_version > 1 else built))
    print_remarks(unused_settings(settings, {model: built.signal_kinds}))
    print_remarks(small_baseline_remarks(built, chosen))
    found = _calibrated(built, chosen, events)
    if json:
        rejected, known = rejected_rows(rejections), {"calibration": calibration_json(found)} if found else {}
        print_json({"file": str(target), **manifest(built), "rejected_by_reason": rejected, **known})
    else:
        _print_built(built, target, rejections.total)
        print_unwatched(out, unwatched(built, chosen.signals, Coverage()))
        _print_calibrated(found, built, target)


def _print_calibrated(found: Calibration | None, built: Baseline, target: Path) -> None:
    """What a calibration found, of which signals it promises nothing included."""
    if found:
        print_calibration(out, found)
    else:
        for remark in unpromised(built):
            out.print(Text(printable(remark)))
        out.print(Text(f"what its history would have paged: driftline calibrate {target}"), soft_wrap=True)


def _calibrated(built: Baseline, chosen: ModelConfig, events: Sequence[Event]) -> Calibration | None:
    """What is known of the model before it is live; None where that takes minutes."""
    if len(built.layout.signals) > _CALIBRATED:
        return None
    return calibrate(built, chosen, np.sort([each.ts for each in events]))


def _without(events: list[Event], cut: Sequence[tuple[int, int]]) -> tuple[list[Event], list[dict[str, int]]]:
    """The events outside of stretches of time [from, to), epoch ms, and for the manifest what was cut out."""
    kept, excluded = events, []
    for first, end in cut:
        before, kept = len(kept), [each for each in kept if not first <= each.ts < end]
        excluded.append({"from": first, "to": end, "events": before - len(kept)})
    if events and not kept:
        raise BaselineError("--exclude leaves no event")
    return kept, excluded


def _with_outcomes(built: Baseline, events: Sequence[Event]) -> Baseline:
    """The baseline with the outcomes of its rows with labels; what is wrong with these is a remark."""
    try:
        return replace(built, outcomes=outcomes_of(events))
    except OutcomesError as error:
        print_remarks([f"model {built.model}: the baseline holds no outcomes: {error}"])
        return built


def _with_rates(
    built: Baseline,
    events: Sequence[Event],
    cut: Sequence[tuple[int, int]],
    settings: Config,
    path: Path | None,
    *,
    ordered: bool,
) -> Baseline:
    """The baseline with the rates of its events. Raises BaselineError if it cannot hold them."""
    if not ordered:
        raise BaselineError(
            f"{dotted_path(('models', built.model, 'absence', 'rates'))} needs the events' times and a baseline of "
            "format 2: leave out --unordered and --format 1, or set it to false"
        )
    calendar = load_calendars(settings, path.parent if path else Path()).for_model(built.model)
    # What is cut out says nothing of how many events come then.
    closed = ((first // SLOT_MS, -(-end // SLOT_MS)) for first, end in cut)
    calendar = replace(calendar, excluded=(*calendar.excluded, *closed))
    rates = rates_of((event.ts for event in events), calendar)
    if not rates.ready:
        days = rates.learned / (24 * HOUR)
        print_remarks(
            [
                f"model {built.model}: the files cover {days:.3g} days; its traffic is judged fully once two weeks are "
                "known, and until then by the longest silence so far"
            ]
        )
    return replace(built, rates=rates)


@baseline_app.command(name="show", epilog="Example: driftline baseline show fraud.driftline")
def baseline_show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Baseline file.")],
    json: Annotated[bool, typer.Option("--json", help="Print its facts and signals as one JSON document.")] = False,
) -> None:
    """Print a baseline: its facts, and every signal with a small histogram."""
    baseline = load_baseline(path)
    if json:
        print_json(manifest(baseline))
    else:
        print_baseline(out, baseline)


def _about(model: str, facts: Mapping[str, Any], paths: Sequence[str], now: str, rejected: int) -> dict[str, Any]:
    """The manifest's facts about where a baseline comes from; those that nobody gave are left out."""
    return {
        "model": model,
        **{name: fact for name, fact in facts.items() if fact is not None},
        "source": [Path(path).name for path in paths],
        "created": now,
        "created_by": f"driftline {installed_version('driftline')}",
        "rejected": rejected,
    }


def _events(batches: Iterator[list[bytes]], model: str, settings: Config) -> tuple[list[Event], Rejections]:
    """The model's events, and the rejected messages. Raises BaselineError if all events are of other models."""
    found = read_events(batches, settings, model, extras=[LABEL])
    if not found.events and found.others:
        raise BaselineError(f"no event of model {model!r}; the files hold {', '.join(sorted(found.others)[:5])}")
    return found.events.get(model, []), found.rejected


def _report_rejections(rejections: Rejections, events: Sequence[Event], unordered: bool, allowed: float) -> None:
    causes = rejections.causes()
    for cause in causes[:_SHOWN_CAUSES]:
        first = f"the first {cause.where(of_files=True)}: {cause.summary}"
        err.print(Text(f"rejected {cause.times:,} × for {cause.place}, {first}", style="yellow"))
    if causes and not events and not unordered and {cause.example for cause in causes} == {"ts: missing"}:
        raise BaselineError(
            "no event has a time; `driftline inspect FILE -o driftline.yaml` finds it, and -c reads by that; with "
            "--unordered, rows of a table need none"
        )
    if excess := rejections.excess(rejections.total + len(events), allowed):
        raise BaselineError(f"nothing is written: {excess}")


def _pairs(options: Sequence[str] | None, name: str) -> dict[str, str]:
    pairs = {}
    for option in options or ():
        key, equals, value = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"{name}: expected NAME=VALUE, got {option!r}")
        pairs[key] = value
    return pairs


def kinds_given(options: Sequence[str] | None) -> dict[str, Kind]:
    """The kinds of signals that --kind names."""
    return _kinds(_pairs(options, "--kind"))


def _kinds(kinds: Mapping[str, str]) -> dict[str, Kind]:
    for name, kind in kinds.items():
        if kind not in NAMED_KINDS:
            raise typer.BadParameter(
                f"--kind: {name} cannot be {kind!r}; use {listed(NAMED_KINDS[:-1])} or {NAMED_KINDS[-1]}"
            )
    return {name: Kind(kind) for name, kind in kinds.items()}


def _check_names(kinds: Mapping[str, str], built: Baseline) -> None:
    names = [signal.name for signal in built.layout.signals]
    for name in kinds:
        if name not in names:
            raise typer.BadParameter(f"--kind: no signal {name!r}; the events hold {printable(', '.join(names))}")


def _print_built(built: Baseline, target: Path, rejected: int) -> None:
    own = [each for each in built.layout.signals if each.groups_of is None]
    kinds = ", ".join(f"{sum(each.kind is kind for each in own)} {kind.value}" for kind in Kind)
    events = f"{counted(built.total.n, 'event')}, {rejected:,} rejected"
    groups = (
        f", and groups of rare values of {counted(len(built.layout.groups), 'text')}" if built.layout.groups else ""
    )
    out.print(Text(f"{target}: {events}; {counted(len(own), 'signal')} ({kinds}){groups}"))
    for remark in cycle_remarks(built.cycles, built.about):
        out.print(Text(printable(remark)))
    if (outcomes := built.outcomes) is not None:
        main = outcomes.coding.task.main
        figure = figure_text(main, outcomes.metrics()[main, ""])
        out.print(Text(f"outcomes of {outcomes.n:,} rows with labels: {metric_name(main)} {figure}"))
