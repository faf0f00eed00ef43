"""Adds to each image's tag the digest that it has now, so that the same bytes run until this is run again.

    python deploy/digests.py                          rewrites Dockerfile and docker-compose.yml
    python deploy/digests.py --check                  changes nothing; exit code 1 if a tag has another digest
    python deploy/digests.py --registry https://mirror.example    asks a mirror of Docker Hub instead

The digest is the SHA-256 of the manifest that the registry serves for the tag, over the registry's HTTP API (OCI
Distribution). For an image of several platforms that is their index, so it holds for all of them. No login is sent but
the anonymous token that a registry asks for. Exit code 2: a registry did not answer, or not like a registry.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "Dockerfile", ROOT / "docker-compose.yml")
HUB = "https://registry-1.docker.io"
# An image with a tag, and a digest if it was added before.
REFERENCE = re.compile(r"^((?:FROM|\s*image:) +)([\w./:-]+:[\w.-]+)(?:@(sha256:[0-9a-f]{64}))?", re.MULTILINE)
# Indices of several platforms first: with only manifests, a registry would answer for one platform.
ACCEPT = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
])  # fmt: skip
# Bytes of a manifest or a token; registries allow manifests of 4 MiB.
MOST = 4 << 20
SECONDS = 30.0


class RegistryError(Exception):
    """A registry does not say what a tag is; the message names the image."""


class Image(NamedTuple):
    """An image: the URL of its registry, its repository and its tag."""

    registry: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, reference: str, hub: str) -> Image:
        """The image of a reference such as python:3.11 or registry.example/team/image:1. hub: where others lie.

        >>> Image.parse("python:3.11", HUB)
        Image(registry='https://registry-1.docker.io', repository='library/python', tag='3.11')
        """
        name, _, tag = reference.rpartition(":")
        host, slash, rest = name.partition("/")
        if slash and ("." in host or ":" in host):
            return cls(f"https://{host}", rest, tag)
        return cls(hub.rstrip("/"), name if slash else f"library/{name}", tag)

    def digest(self) -> str:
        """The digest of the tag's manifest. Raises RegistryError."""
        try:
            manifest, stated = self._manifest()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RegistryError(f"{self.repository}:{self.tag}: no manifest from {self.registry}: {error}") from error
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        if stated not in (None, digest):
            raise RegistryError(f"{self.repository}:{self.tag}: the manifest has the digest {digest}, not {stated}")
        return digest

    def _manifest(self) -> tuple[bytes, str | None]:
        """The manifest, and the digest that the registry states of it."""
        url, headers = f"{self.registry}/v2/{self.repository}/manifests/{self.tag}", {"Accept": ACCEPT}
        try:
            return _get(url, headers)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate") or ""
            if error.code != 401 or not challenge.startswith("Bearer "):
                raise
        return _get(url, headers | {"Authorization": f"Bearer {_token(challenge)}"})


def _get(url: str, headers: dict[str, str]) -> tuple[bytes, str | None]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS) as response:
        body = response.read(MOST + 1)
        if len(body) > MOST:
            raise ValueError(f"the answer has more than {MOST} bytes")
        if int(response.headers.get("Content-Length", len(body))) != len(body):
            raise ValueError("the answer was cut off")
        return body, response.headers.get("Docker-Content-Digest")


def _token(challenge: str) -> str:
    """The anonymous token that a registry's challenge leads to."""
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = parameters.pop("realm", "")
    if not realm.startswith(("https://", "http://127.0.0.1:")):
        raise ValueError(f"it wants a token from {realm!r}, which is no https URL")
    answer = json.loads(_get(f"{realm}?{urllib.parse.urlencode(parameters)}", {})[0])
    token = isinstance(answer, dict) and (answer.get("token") or answer.get("access_token"))
    if not token:
        raise ValueError(f"{realm} gives no token")
    return str(token)


def pinned(text: str, digest_of: Callable[[str], str]) -> str:
    """The text of a Dockerfile or a Compose file with the digest of each image behind its tag."""
    return REFERENCE.sub(lambda found: f"{found[1]}{found[2]}@{digest_of(found[2])}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="Dockerfiles and Compose files; those of the repository")
    parser.add_argument("--check", action="store_true", help="change nothing, and say what differs")
    parser.add_argument("--registry", default=HUB, help="URL of a mirror of Docker Hub, for images without a registry")
    arguments = parser.parse_args()
    digests: dict[str, str] = {}

    def digest_of(reference: str) -> str:
        if reference not in digests:
            digests[reference] = Image.parse(reference, arguments.registry).digest()
        return digests[reference]

    try:
        texts = {path: path.read_text() for path in arguments.files or FILES}
        changed = {path: new for path, text in texts.items() if (new := pinned(text, digest_of)) != text}
    except (RegistryError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for reference, digest in digests.items():
        print(f"{reference}@{digest}")
    for path, text in changed.items():
        print(f"{path}: {'differs' if arguments.check else 'written'}")
        if not arguments.check:
            path.write_text(text)
    return int(arguments.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
