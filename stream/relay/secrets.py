"""The secrets of the relay's endpoints, which `stream.relay.http` removes from every error and log line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from yarl import URL

from driftline.stream.paging.receivers.request import Endpoint

# Characters. A shorter text is no secret, and to hide it would blank half of every message.
_MIN_LENGTH = 8


def secrets_of(endpoints: Mapping[str, Sequence[Endpoint]]) -> set[str]:
    """The texts that must not be shown: keys, and URLs, whose path or query may be a key."""
    texts = (text for several in endpoints.values() for each in several for text in _texts(each))
    return {text for text in texts if len(text) >= _MIN_LENGTH}


def _texts(endpoint: Endpoint) -> Iterator[str]:
    """Everything that a service or a library may repeat in an error."""
    url, query = URL(endpoint.url), endpoint.url.partition("?")[2]
    yield from (endpoint.key, endpoint.authorization, *endpoint.authorization.split())
    yield from (endpoint.url, url.path, url.raw_path, url.password or "")
    yield from (query, *re.findall("=([^&#]+)", query), *url.query.values())
