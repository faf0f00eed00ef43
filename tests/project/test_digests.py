"""deploy/digests.py against a registry on loopback that speaks the OCI distribution API."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, StreamRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.project.test_image import ROOT

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


class Registry(BaseHTTPRequestHandler):
    """A registry with one tag, which wants an anonymous token."""

    repository, tag, stated, token = "library/python", "3.11", DIGEST, "token"

    def do_GET(self) -> None:
        """Tokens and manifests."""
        url = urlsplit(self.path)
        if url.path == "/token":
            (scope,) = parse_qs(url.query)["scope"]
            return self.answer(200, json.dumps({self.token: f"for {scope}"}).encode())
        scope = f"repository:{self.repository}:pull"
        if self.headers.get("Authorization") != f"Bearer for {scope}":
            host = "http://{}:{}".format(*self.server.server_address[:2])
            challenge = f'Bearer realm="{host}/token",service="here",scope="{scope}"'
            return self.answer(401, b"", {"WWW-Authenticate": challenge})
        found = url.path == f"/v2/{self.repository}/manifests/{self.tag}" and "image.index" in self.headers["Accept"]
        return self.answer(200 if found else 404, MANIFEST, {"Docker-Content-Digest": self.stated})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Mail(StreamRequestHandler):
    """A server that does not speak HTTP."""

    def handle(self) -> None:
        """Greet as a mail server does."""
        self.wfile.write(b"220 mail.example ESMTP\r\n")


class Interrupted(BaseHTTPRequestHandler):
    """A server that is cut off within its answer, which states no digest."""

    def do_GET(self) -> None:
        """Half of a manifest."""
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 21\r\n\r\n" + MANIFEST[:10])

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving(handler: type[BaseRequestHandler] = Registry, **fields: str) -> Iterator[str]:
    """The URL of a registry, or of another server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Other", (handler,), fields)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def digests(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "digests.py", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.fixture
def dockerfile(tmp_path: Path) -> Path:
    path = tmp_path / "Dockerfile"
    path.write_text("# python:3.11 here\nFROM python:3.11 AS build\nRUN x\nFROM python:3.11\nCOPY --from=build /a /a\n")
    return path


def test_each_tag_gets_the_digest_that_the_registry_has_for_it(dockerfile: Path) -> None:
    with serving() as url:
        run = digests("--registry", url, dockerfile)
        assert (run.returncode, run.stderr) == (0, "")
        assert dockerfile.read_text() == (
            f"# python:3.11 here\nFROM python:3.11@{DIGEST} AS build\nRUN x\nFROM python:3.11@{DIGEST}\n"
            "COPY --from=build /a /a\n"
        )
        again = digests("--registry", url, "--check", dockerfile)
        assert (again.returncode, again.stdout) == (0, f"python:3.11@{DIGEST}\n")


def test_an_image_in_a_compose_file_keeps_its_comment_and_gets_the_new_digest(tmp_path: Path) -> None:
    path = tmp_path / "docker-compose.yml"
    path.write_text(f"services:\n  a:\n    image: team/app:1.2@sha256:{'0' * 64} # ours\n")
    with serving(repository="team/app", tag="1.2") as url:
        assert digests("--registry", url, "--check", path).returncode == 1
        assert "@sha256:0000" in path.read_text()
        assert digests("--registry", url, path).returncode == 0
    assert path.read_text() == f"services:\n  a:\n    image: team/app:1.2@{DIGEST} # ours\n"


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        ({"tag": "3.12"}, "404"),
        ({"stated": f"sha256:{'0' * 64}"}, f"the manifest has the digest {DIGEST}, not sha256:0"),
        ({"token": "other"}, "/token gives no token"),
        ({"handler": Mail}, "220 mail.example ESMTP"),
        ({"handler": Interrupted}, "the answer was cut off"),
    ],
)
def test_a_registry_that_does_not_say_what_the_tag_is_is_named_and_changes_nothing(
    dockerfile: Path, registry: dict[str, Any], reason: str
) -> None:
    before = dockerfile.read_text()
    with serving(**registry) as url:
        run = digests("--registry", url, dockerfile)
    assert run.returncode == 2
    assert run.stderr.startswith("library/python:3.11: ")
    assert reason in run.stderr
    assert dockerfile.read_text() == before


def test_a_registry_that_is_away_is_named(dockerfile: Path) -> None:
    run = digests("--registry", "http://127.0.0.1:1", dockerfile)
    assert run.returncode == 2
    assert "library/python:3.11: no manifest from http://127.0.0.1:1: " in run.stderr
