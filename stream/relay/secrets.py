"""The secrets that must not reach a log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from yarl import URL

from driftline.stream.paging.receivers.request import Access

# Characters. Shorter ones are no secrets, and would star half of every message.
_SECRET = 8


def secrets_of(accesses: Mapping[str, Sequence[Access]]) -> set[str]:
    """What must not be said: keys, and URLs of which the path may be one."""
    words = (word for several in accesses.values() for each in several for word in _words(each))
    return {word for word in words if len(word) >= _SECRET}


def _words(access: Access) -> Iterator[str]:
    """What a service, or a library, may repeat in an error."""
    url, query = URL(access.url), access.url.partition("?")[2]
    yield from (access.key, access.authorization, *access.authorization.split())
    yield from (access.url, url.path, url.raw_path, url.password or "")
    yield from (query, *re.findall("=([^&#]+)", query), *url.query.values())
