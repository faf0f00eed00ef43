"""Lua scripts, sent by their SHA-1, since a server keeps the text of what it has run.

A server that was restarted or promoted has lost it and answers NOSCRIPT; then the text is sent. redis-py's
`register_script` does the same, but not in the pipeline of a cluster's client, which a durable run needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import AskError, ConnectionError, NoScriptError, ResponseError, TimeoutError

from driftline.stream.state.client import Client, call_once, call_redis

log = logging.getLogger(__name__)

Argument = int | str | bytes

# ms to wait for a sync of the append-only file. `everysec` syncs within 1 s, or 2 while the disk is busy. It must be
# shorter than the time-out of a call.
_SYNC_MS = 5000
# s. With everysec, Redis 7.4.0 to 7.4.2 and Valkey (9.1.2 too) may report a sync before it has happened
# (redis/redis#13793). The sync begins within 1 s, and Redis looks at its clock 10 times a second.
_SYNC_MARGIN = 1.1


@dataclass(frozen=True)
class Script:
    """A Lua script. It must bear being run twice, since its first answer may be lost."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The name under which a server keeps the script."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, keys: Sequence[str], *args: Argument) -> Any:
        """What the script answers. Retries like `call_redis`, and raises the same errors."""
        return await call_redis(self._run, client, keys, args)

    async def run_once(self, client: Client, keys: Sequence[str], *args: Argument) -> Any:
        """What the script answers. Does not retry; raises the errors of `call_redis`."""
        return await call_once(self._run, client, keys, args)

    async def run_durably(self, client: Client, keys: Sequence[str], *args: Argument, replicas: int = 0) -> Any:
        """What the script answers, once its writes are on the disk of a server that has an append-only file.

        replicas: on how many of its replicas' disks, too. The script must write each time it runs: WAITAOF waits for
        what its own connection has written.
        """
        return await call_redis(self._run_durably, client, keys, args, replicas)

    async def _run(self, client: Client, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        try:
            return await client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self.text, len(keys), *keys, *args)

    async def _run_durably(self, client: Client, keys: Sequence[str], args: Sequence[Argument], replicas: int) -> Any:
        policy = await _sync_policy(client)
        if policy == "no" and not replicas:
            _warn_once("Redis leaves it to its operating system when to write to disk (appendfsync no)")
            return await self._run(client, keys, args)
        node = {"target_nodes": client.get_node_from_key(keys[0])} if isinstance(client, RedisCluster) else {}
        process = await _process(client, node)
        answer, synced = await _and_sync(client, node, replicas, "EVALSHA", self.sha, len(keys), *keys, *args)
        if isinstance(answer, NoScriptError):
            answer, synced = await _and_sync(client, node, replicas, "EVAL", self.text, len(keys), *keys, *args)
        if isinstance(answer, AskError):
            await self._run(client, keys, args)  # unlike the pipeline, it learns where the keys are now
        if isinstance(answer, Exception):
            raise answer
        if _is_synced(synced, replicas) and policy != "always":
            await asyncio.sleep(_SYNC_MARGIN)
            if await _process(client, node) != process:
                raise ConnectionError("the server was restarted before it had synced its append-only file")
        return answer


async def _and_sync(
    client: Client, node: Mapping[str, Any], replicas: int, command: str, *arguments: Argument
) -> list[Any]:
    """The answers, or errors, of a script's command and of WAITAOF, which must go down the same connection."""
    both = client.pipeline(transaction=False)
    # Not `evalsha`, which a cluster's pipeline refuses. To the same node: redirected, only one of them would follow.
    both.execute_command(command, *arguments, **node)
    both.execute_command("WAITAOF", 1, replicas, _SYNC_MS, **node)
    options = {"allow_redirections": False} if isinstance(client, RedisCluster) else {}
    return list(await both.execute(raise_on_error=False, **options))


def _is_synced(synced: Any, replicas: int) -> bool:
    """Whether WAITAOF says so; False if this server cannot say. Raises if the sync did not happen."""
    if isinstance(synced, ResponseError):
        if replicas:
            raise synced
        _warn_once(f"Redis cannot say what is on its disk ({synced})")
        return False
    if isinstance(synced, Exception):
        raise synced
    local, remote = synced
    if not local:
        raise TimeoutError(f"its append-only file was not synced within {_SYNC_MS / 1000:g} s")
    if remote < replicas:
        raise TimeoutError(
            f"{remote} of {replicas} replicas have synced their append-only file within {_SYNC_MS / 1000:g} s "
            "(redis.replicas)"
        )
    return True


async def _process(client: Client, node: Mapping[str, Any]) -> str:
    """The id of the server's process: another one after a restart or a failover."""
    return str((await client.info("server", **node))["run_id"])


async def _sync_policy(client: Client) -> str:
    """When the server syncs its append-only file; everysec, the default, if it does not say."""
    try:
        return str((await client.config_get("appendfsync")).get("appendfsync", "everysec"))
    except ResponseError:
        return "everysec"


@cache
def _warn_once(reason: str) -> None:
    log.warning("%s: if it loses its last writes, events may be lost with them", reason)
