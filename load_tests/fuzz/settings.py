"""What the operator writes: configurations, and values on the command line."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import typer

from driftline.stream.cli import resume
from driftline.stream.cli.terminal import parse_share, parse_time
from driftline.stream.config.diagnostics import ConfigError
from driftline.stream.config.fields import RuleError, parse_duration
from driftline.stream.config.load import check_config, parse_config
from load_tests.fuzz.target import Target, WrongError

ROOT = Path(__file__).parents[2]
WORDS = (
    b"models:", b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"- ", b"\t", b"|\n", b"? ", b"'", b"1e999",
    b".nan", b"%YAML 9.9\n---\n", b"\xe2\x80\xa8", b"0x", b"{a: [", b"31d", b"*: x",
)  # fmt: skip
ARGUMENTS = ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00.5+02:00", "5%", "0.05", "90s", "15m", "31d")
OPTIONS = (
    b"--at", b"begin", b"end", b"END", b"--yes", b"--no-yes", b"--new-cluster", b"--at=", b"-c", b"--", b"\0", b"-",
    b"@x",
)  # fmt: skip
# What a command raises that is called in another way than it says: typer has no name for it.
USAGE = typer.BadParameter.__base__ or Exception
_COMMAND = typer.main.get_command(resume.app)
COMMANDS = ("", "--yes", "--at end", "--at begin --yes", "--new-cluster", "--at=end --new-cluster --yes")
_PARSERS: tuple[Callable[[str], object], ...] = (
    parse_duration, lambda text: parse_time(text, "--from"), lambda text: parse_share(text, "--max-rejected"),
)  # fmt: skip


def targets() -> list[Target]:
    """Configurations and arguments."""
    return [
        Target("configuration", _write, _read, (ConfigError, UnicodeDecodeError), _damage, WORDS),
        Target("resume-arguments", _write_command, _resume, (USAGE, typer.Exit), None, OPTIONS),
        Target("argument", lambda rng: rng.choice(ARGUMENTS).encode(), _parse, (typer.BadParameter,)),
    ]


@cache
def _texts() -> list[bytes]:
    return [(ROOT / name).read_bytes() for name in ("driftline.example.yaml", "deploy/driftline.compose.yaml")]


def _write(rng: random.Random) -> bytes:
    return rng.choice(_texts())


def _damage(data: bytes, rng: random.Random) -> bytes:
    """Lines moved, doubled, indented or uncommented."""
    lines = data.split(b"\n")
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(lines))
        line = lines.pop(at)
        new = [[line] * 2, [b"  " + line], [line.replace(b"# ", b"", 1)], [line[1:]], [line.swapcase()], []]
        lines[rng.choice([at, rng.randrange(len(lines) + 1)]) : 0] = rng.choice(new)
    return b"\n".join(lines)


def _read(data: bytes) -> None:
    text = data.decode()  # a file that is no UTF-8 is refused where it is read
    check_config(text)
    parse_config(text)


def _parse(data: bytes) -> None:
    """Read a value by all parsers. Raises BadParameter if none accepts it."""
    text, refused = data.decode("utf-8", "surrogateescape"), 0
    for parser in _PARSERS:
        try:
            parser(text)
        except (RuleError, typer.BadParameter):
            refused += 1
    if refused == len(_PARSERS):
        raise typer.BadParameter("no option takes this")


def _write_command(rng: random.Random) -> bytes:
    """The arguments of `driftline resume`, each ended by a zero byte, as the kernel passes them."""
    arguments = ["-c", str(ROOT / "driftline.example.yaml"), *rng.choice(COMMANDS).split()]
    return "\0".join(arguments).encode()


def _resume(data: bytes) -> None:
    """Parse the arguments, and run nothing. What was misspelt must not pass for an order to move positions."""
    arguments = data.decode("utf-8", "surrogateescape").split("\0")
    found = _COMMAND.make_context("resume", list(arguments)).params
    if found["at"] not in ("begin", "end") or (found["yes"] and "--yes" not in arguments):
        raise WrongError(f"{arguments} are taken for {found}")
