"""The Dockerfile: read, since there is no Docker to build it with."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
INSTRUCTIONS = [tuple(line.split(maxsplit=1)) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]


def given(instruction: str) -> list[str]:
    return [arguments for name, arguments in INSTRUCTIONS if name == instruction]


def reaches_docker(path: str) -> bool:
    """Whether .dockerignore lets `path` through; its last line that fits decides."""
    verdict = True
    for line in (ROOT / ".dockerignore").read_text().split():
        if fnmatch(path, line.removeprefix("!")):
            verdict = line.startswith("!")
    return verdict


def test_the_image_starts_from_a_pinned_slim_python_and_runs_driftline_as_nobody() -> None:
    (image,) = {each.partition(" ")[0] for each in given("FROM")}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-trixie(@sha256:[0-9a-f]{64})?", image)
    assert len(given("FROM")) == 2  # what builds it does not stay in it
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", given("USER")[-1])
    assert given("ENTRYPOINT") == ['["driftline"]']


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = [each.split()[:-1] for each in given("COPY") if not each.startswith("--from")]
    sources = [source for each in copied for source in each]
    assert {"pyproject.toml", "requirements-run.lock", "detectors", "stream", "driftline"} <= set(sources)
    assert all((ROOT / source).exists() and reaches_docker(source) for source in sources)
    assert not any(reaches_docker(secret) for secret in (".env", ".git", "deploy", "tests"))


def test_the_image_has_the_locked_dependencies_before_the_source_and_no_extras() -> None:
    *dependencies, source = [each.strip() for run in given("RUN") for each in run.split("&&") if " install " in each]
    assert all(re.search(r"--require-hashes --requirement requirements-\w+\.lock$", each) for each in dependencies)
    assert "--no-index --no-deps /wheels/" in source
    assert "--no-build-isolation" in given("RUN")[-1]
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("RUN") < INSTRUCTIONS.index(("COPY", "stream stream"))
