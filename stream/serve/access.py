"""Who may read the pages: whoever is on this machine, or holds the token."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from driftline.stream.config.serve import Serve
from driftline.stream.ops.secrets import MissingSecretError


@dataclass(frozen=True)
class Access:
    """What a request must show. token: "" if none is asked for; then `hosts` are the names that it may ask for."""

    token: str
    hosts: frozenset[str]

    @classmethod
    def of(cls, serve: Serve, environment: Mapping[str, str]) -> Access:
        """What the configuration and the environment ask for. Raises MissingSecretError."""
        host, token = _host(serve.http), environment.get(serve.token_env, "")
        if not token and not _is_loopback(host):
            raise MissingSecretError(
                f"serve.http: {host} is reached from other machines, which need a token: set the environment variable "
                f"{serve.token_env}, or listen on 127.0.0.1"
            )
        public = _host(serve.public_url.partition("://")[2].partition("/")[0]) if serve.public_url else host
        return cls(token, frozenset({host, public, "localhost", "127.0.0.1", "::1"}))

    def allows_host(self, asked: str) -> bool:
        """Whether the pages may be asked for by this header Host.

        Without a token, a page of another site could have its own name resolve to this machine and read ours.
        """
        return bool(self.token) or _host(asked) in self.hosts

    def allows(self, authorization: str) -> bool:
        """Whether the header Authorization holds the token, or none is asked for."""
        kind, _, given = authorization.partition(" ")
        if kind.casefold() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except ValueError:  # no base64, or no UTF-8
                given = ""
        elif kind.casefold() != "bearer":
            given = ""
        # aiohttp and the environment pass bytes that are no UTF-8 on as surrogates.
        here, there = (each.encode(errors="surrogateescape") for each in (self.token, given))
        return not self.token or hmac.compare_digest(here, there)


def _host(address: str) -> str:
    """The host of host:port, or of a host alone, in lower case and without brackets."""
    if address.startswith("["):
        return address[1:].partition("]")[0].casefold()
    host, _, port = address.rpartition(":")
    return (host if host and port.isdigit() and ":" not in host else address).casefold()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
