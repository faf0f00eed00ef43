"""The endpoint of a receiver, and the POST request that is sent to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a service, and its secrets. key: PagerDuty's routing key, or the signing key of a webhook."""

    url: str = field(repr=False)
    key: str = field(default="", repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST request."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def json_request(endpoint: Endpoint, body: bytes) -> Request:
    """A POST request with a JSON body."""
    return Request(endpoint.url, body, {"Content-Type": JSON, **authorization(endpoint)})


def authorization(endpoint: Endpoint) -> dict[str, str]:
    """The Authorization header, if the endpoint has one."""
    return {"Authorization": endpoint.authorization} if endpoint.authorization else {}
