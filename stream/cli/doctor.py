"""`driftline doctor`: checks the configuration against the servers that it names, and receivers by a test page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.text import Text

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import Versions, kinds_of, mistaken_versions
from driftline.stream.checks.finding import Finding, as_findings
from driftline.stream.cli.relay import RECEIVERS, receiver_names
from driftline.stream.cli.terminal import EXIT_FOUND, err, out, read_config
from driftline.stream.config.remarks import Remark, doubtful_settings, unused_settings
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.judge.floors import unjudged_outcomes
from driftline.stream.judge.resolution import order_remarks, proof_remarks, small_baseline_remarks
from driftline.stream.sources.baselines import read_baselines, read_versions
from driftline.stream.sources.calendars import calendar_remarks

app = typer.Typer()

# s that a check may take: a healthy server answers within 1, and Kafka's client asks several brokers.
_TIMEOUT = 10.0
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


class _Check(NamedTuple):
    """A check. needs: the name of the check without whose success this one says nothing new."""

    name: str
    run: Callable[[], Iterable[Finding]]
    needs: str = ""
    seconds: float = _TIMEOUT


@app.command(
    name="doctor",
    epilog="Examples:\n\ndriftline doctor -c driftline.yaml\n\n"
    "driftline doctor -c driftline.yaml --to pagerduty --to slack --page",
)
def doctor_command(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True, dir_okay=False)
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(callback=receiver_names, metavar="RECEIVER", help=f"One of {', '.join(RECEIVERS)}. Repeat."),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Send a page marked as a test to each of the receivers, and resolve it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Check a configuration against its servers: Kafka, topics, rights, Redis, the newest events, receivers.

    Each line is ok, a warning or an error with its remedy. Without --page, nothing is written or sent.

    Receivers are those of --to, or those with a section under `relay`. Secrets are read from the environment.

    Exit code 0: nothing is wrong; there may be warnings. 1: something is wrong. 2: it could not run.
    """
    settings = read_config(config)
    found = []
    for finding in _run_all(_checks(settings, config, to or [], page)):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        out.print_json(orjson.dumps({"findings": [each._asdict() for each in found]}).decode())
    raise typer.Exit(EXIT_FOUND if any(each.level == "error" for each in found) else 0)


def _checks(config: Config, path: Path, to: list[str], page: bool) -> Iterator[_Check]:
    # The clients of Kafka and Redis take half a second to import, which no other command should pay.
    from driftline.stream.ops import probes
    from driftline.stream.relay.trial import HEARTBEAT, check_receiver, configured_receivers, try_page

    folder = path.parent
    (baselines, remarks), (versions, more) = read_baselines(config, folder), read_versions(config, folder)
    yield _Check("configuration", partial(_configuration, config, folder, baselines, versions))
    yield _Check("baselines", partial(_baselines, config, baselines, versions, [*remarks, *more]))
    yield _Check("redis", partial(probes.probe_redis, config))
    yield _Check("level", partial(probes.probe_level, config, path), needs="redis")
    yield _Check("codecs", probes.probe_codecs)
    yield _Check("kafka", partial(probes.probe_kafka, config))
    yield _Check("topics", partial(probes.probe_topics, config), needs="kafka")
    yield _Check("rights", partial(probes.probe_rights, config), needs="kafka")
    yield _Check("traffic", partial(probes.probe_traffic, config, folder, baselines, versions), needs="kafka")
    receivers = to or configured_receivers(config.relay)
    if not receivers:
        yield _Check("receivers", lambda: [Finding("receivers", "warning", "none is checked", "name them with --to")])
    for name in [*receivers, *([HEARTBEAT] if config.relay.heartbeat_url_env else [])]:
        yield _Check(name, partial(check_receiver, config.relay, name, os.environ))
    for name in receivers if page else ():
        # A page is a firing and a resolved alert.
        seconds = 2 * config.relay.timeout_seconds + _TIMEOUT
        yield _Check(f"{name} page", partial(try_page, config, name, os.environ), needs=name, seconds=seconds)


def _configuration(
    config: Config, folder: Path, baselines: Mapping[str, Baseline], versions: Versions
) -> list[Finding]:
    kinds, calendars = kinds_of(baselines, versions), calendar_remarks(config, folder)
    remarks = chain(doubtful_settings(config), unused_settings(config, kinds), calendars)
    found = as_findings("configuration", remarks)
    return found or [Finding("configuration", "ok", "it is valid, and no setting is in doubt")]


def _baselines(
    config: Config, baselines: Mapping[str, Baseline], versions: Versions, remarks: Iterable[Remark]
) -> list[Finding]:
    """Baselines that cannot be read are errors, since no worker starts without them; small ones are warnings."""
    broken = [each._replace(level="error") for each in as_findings("baselines", remarks)]
    names = [*baselines, *(f"{model} {version}" for model, own in versions.items() for version in own)]
    read = ", ".join(names) or "none is configured: each model learns one from its first events"
    given = {(model, ""): each for model, each in baselines.items()}
    given |= {(model, version): each for model, own in versions.items() for version, each in own.items()}
    useless = [
        remark._replace(message=_with_version(remark.message, *name))
        for name, each in given.items()
        for remark in _doubts(each, config.for_model(each.model))
    ]
    doubtful = as_findings("baselines", [*mistaken_versions(versions), *useless])
    return [*broken, *doubtful] or [Finding("baselines", "ok", read)]


def _with_version(message: str, model: str, version: str) -> str:
    """A remark on a model's baseline, of which other versions may have one, too."""
    return message.replace(f"model {model}:", f"model {model} {version}:", 1) if version else message


def _doubts(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """What a baseline cannot show, or not yet."""
    yield from small_baseline_remarks(baseline, config)
    yield from order_remarks(baseline, config)
    yield from proof_remarks(baseline, config)
    yield from unjudged_outcomes(baseline, config)


def _run_all(checks: Iterable[_Check]) -> Iterator[Finding]:
    """The findings of all checks, each as soon as it is there."""
    failed = set()
    for check in checks:
        if check.needs in failed:
            yield Finding(check.name, "error", f"not checked, because of what is wrong with {check.needs}")
            continue
        with _progress(check.name):
            findings = _run(check)
        if any(each.level == "error" for each in findings):
            failed.add(check.name)
        yield from findings


def _run(check: _Check) -> list[Finding]:
    """The findings of a check; an exception and silence are findings, too.

    It runs in a thread of its own, since no client of a server can be relied on to give up in time.
    """
    found: list[Finding] = []

    def work() -> None:
        try:
            found.extend(check.run())
        except Exception as error:  # noqa: BLE001 # one check must not hide the others
            found.append(Finding(check.name, "error", str(error) or type(error).__name__))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [
            Finding(check.name, "error", f"no result within {check.seconds:g} s", "check the network and the server")
        ]
    return found


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """On a terminal, show which check is running."""
    if not err.is_terminal:
        yield
        return
    with err.status(Text(f"checking {name}")):
        yield


def _print(finding: Finding) -> None:
    line = Text.assemble((f"{finding.level:8}", _STYLES[finding.level]), f"{finding.check}: {finding.message}")
    if finding.remedy:
        line.append(f"; {finding.remedy}")
    out.print(line, soft_wrap=True)
