"""Where a receiver is reached and what is sent to it: one POST. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a service is reached, and its secrets. key: PagerDuty's routing key, or that of a webhook's signature."""

    url: str = field(repr=False)
    key: str = field(default="", repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def json_request(access: Access, body: bytes) -> Request:
    """A POST of JSON."""
    return Request(access.url, body, {"Content-Type": JSON, **authorization(access)})


def authorization(access: Access) -> dict[str, str]:
    """The header of that name, if the receiver wants one."""
    return {"Authorization": access.authorization} if access.authorization else {}
