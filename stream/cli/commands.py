"""The commands of `driftline` by name. The module of a command is imported when it is called: all of them together take
most of a second of CPU, which help, completion and each other command should not pay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

#: By name, the module in this folder that has the command, and the first paragraph of its help.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "worker": ("worker", "Monitor the predictions topic until stopped: sketch events, judge models, publish alerts."),
    "check": ("check", "Check a configuration file; for each error, print its line, its column and a suggestion."),
    "calibrate": (
        "calibrate",
        "Say what is promised of each model with a baseline, what its history would have paged, and what would be "
        "seen.",
    ),
    "baseline": ("baseline", "Build and print baselines: what a model's traffic should look like."),
    "demo": (
        "demo",
        "Watch Driftline find seven faults in synthetic traffic, with a broker, a store and two workers here.",
    ),
    "doctor": (
        "doctor",
        "Check a configuration against its servers: Kafka, topics, rights, Redis, the newest events, receivers.",
    ),
    "incidents": (
        "incidents",
        "List open incidents, the most severe first, and the fields that no signal watches. Only reads Redis.",
    ),
    "explain": (
        "incidents",
        "Explain an alert: what changed, by how much, since when and where, the test's evidence, and what to do.",
    ),
    "feedback": (
        "incidents",
        "Say of a page whether it was real: it is shown in the list of incidents, and counted beside what is allowed.",
    ),
    "inspect": (
        "inspect",
        "Show what files or a topic hold, and propose the configuration with which the other commands read them.",
    ),
    "models": ("models", "List the models that the workers remember, and forget some of them."),
    "performance": (
        "performance",
        "Show how often a model is right and since when it is less so: by the mix of its scores, or by concept drift.",
    ),
    "relay": ("relay", "Send alerts to PagerDuty, Alertmanager, Slack or a webhook until stopped."),
    "replay": (
        "replay",
        "Run the detection over events from files or from a topic's history, and print what drifted.",
    ),
    "resume": (
        "resume",
        "Let workers go on after a topic was created again, cut or restored, or the topics moved to another cluster.",
    ),
    "scan": (
        "scan",
        "Compare a table with a reference: which columns changed, since when, how much, at a known rate of false "
        "alarms.",
    ),
    "schema": ("schema", "Print a JSON Schema (draft 2020-12) or the AsyncAPI document (YAML)."),
    "serve": (
        "serve",
        "Show incidents, models and Driftline's own health in a browser until stopped. Only reads Redis and Kafka.",
    ),
    "silence": ("silence", "Mute notifications for a while: silences and maintenance windows."),
    "produce": (
        "topics",
        "Write events from files to a topic, in order: at once, at a rate, or at a multiple of their own pace.",
    ),
    "top": (
        "serve",
        "Show open incidents, models and Driftline's own health on this terminal until Ctrl-C; once where it is none.",
    ),
    "topics": ("topics", "Create and show the topics that Driftline uses."),
    "upgrade": ("upgrade", "Show the format level of the workers' group, and raise it once all of them are upgraded."),
}


#: Commands that run until they are stopped. They log; all others end, and have --json and --quiet.
UNTIL_STOPPED: Final = frozenset({"worker", "relay", "serve"})


class LateCommand(TyperCommand):
    """A command whose module is imported when it is called."""

    def __init__(self, name: str, module: str, says: str) -> None:
        super().__init__(name, help=says)
        self._name, self._module = name, module

    def load(self) -> Any:
        """The command itself, with what all commands have: --quiet, and help without frames in a pipe."""
        command = get_group(import_module(f"driftline.stream.cli.{self._module}").app).commands[self._name]
        for each in _with_subcommands(command):
            if not _is_for_people():
                each.rich_markup_mode = None
            if self._name not in UNTIL_STOPPED:
                each.params.append(_quiet())
        return command

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """The context of the command itself, by which it is called, completed, and prints its help."""
        from driftline.stream.cli import terminal

        terminal.be_quiet(False)
        return self.load().make_context(*arguments, **more)


def _with_subcommands(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _with_subcommands(each)


def _is_for_people() -> bool:
    """Whether help and errors are read on a terminal."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def _set_quiet(is_wanted: bool) -> None:
    from driftline.stream.cli import terminal

    if is_wanted:
        terminal.be_quiet(True)


#: A mistake on the command line, which typer itself prints as text. Typer does not export click's name of it.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


@contextmanager
def _usage_errors_as_json() -> Iterator[None]:
    """Print a mistake on the command line as JSON, too, for a program that asked for JSON."""
    try:
        yield
    except _UsageError as error:
        from driftline.stream.cli.failures import print_error_if_json

        print_error_if_json(error.format_message())
        raise


class Commands(TyperGroup):
    """All of `COMMANDS`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        if not _is_for_people():
            self.rich_markup_mode = None
        self.commands = {name: LateCommand(name, *rest) for name, rest in COMMANDS.items()}

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """The context of `driftline` itself."""
        with _usage_errors_as_json():
            return super().make_context(*arguments, **more)

    def invoke(self, *arguments: Any) -> Any:
        """Run the command that is named."""
        with _usage_errors_as_json():
            return super().invoke(*arguments)


def _of_all(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_set_quiet,
            expose_value=False,
            help="Show neither progress nor hints on standard error; results, warnings and errors stay.",
        ),
    ] = False,
) -> None:
    """What all commands have, though none takes it as an argument."""


def _quiet() -> Any:
    """The option of `_of_all`."""
    app = typer.Typer(add_completion=False)
    app.command()(_of_all)
    return get_command(app).params[0]
