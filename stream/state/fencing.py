"""Fencing: an owner that was replaced can write no more, however late it wakes up.

Whoever takes over a hash raises the `epoch` in it (the fencing token), and every later write carries the epoch of its
writer: the script that writes refuses any but the newest.
"""

from __future__ import annotations

from driftline.stream.state.client import StoreError
from driftline.stream.state.scripts import Script

#: A Lua expression: the new epoch of the hash KEYS[1]. Earlier owners are fenced off from here on.
NEXT_EPOCH = "redis.call('HINCRBY', KEYS[1], 'epoch', 1)"

_FENCE = """
local epoch = redis.call('HGET', KEYS[1], 'epoch') or 'none'
if epoch ~= ARGV[1] then return {'fenced', epoch} end
"""


class FencedError(StoreError):
    """Another owner has taken over: nothing was written, and nothing may be."""


def fenced(text: str) -> Script:
    """A script that runs only under the newest epoch of the hash KEYS[1]; its writer's epoch is ARGV[1].

    Under another one it writes nothing and answers {'fenced', the newest epoch, or 'none' if there is no hash}.
    """
    return Script(_FENCE + text)
