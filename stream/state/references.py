"""Baselines by hash in Redis, so that whoever judges can read panes that another worker's configuration has counted.

NS is the namespace (the consumer group), M a model.

| key                   | type   | holds                                                                    |
|-----------------------|--------|--------------------------------------------------------------------------|
| NS:generation         | string | how many configurations were loaded: the newest one is in effect         |
| NS:references         | set    | the names of the models that a configuration has given baselines         |
| NS:{baselines/M}      | hash   | by content hash, the file's bytes of a baseline that was given, slim      |
| NS:{baselines/M}:used | zset   | the same hashes, by the generation that used them last                   |

The newest baselines of a model are kept: panes of older ones than that were judged long ago. It belongs to no commit;
what is in effect is committed by the judges, from the records of the panes topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from redis.asyncio import RedisCluster

from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.scripts import Script

# Former baselines of a model that are kept beside those in use: of a model that is exchanged every minute, by mistake,
# those of the last minutes; with 20 signals, they take 13 kB each.
_FORMER = 8

# KEYS: baselines, used. ARGV: generation, how many to keep, hashes. Answers which of them are not stored yet.
_USE = Script("""
local missing = {}
for i = 3, #ARGV do
    redis.call('ZADD', KEYS[2], 'GT', ARGV[1], ARGV[i])
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then missing[#missing + 1] = ARGV[i] end
end
for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[2]))) do
    redis.call('HDEL', KEYS[1], old)
    redis.call('ZREM', KEYS[2], old)
end
return missing
""")
# Both write each time they run, as what is durable must: the first what it found, if Redis has not lost it, the second
# no lower number.
# KEYS: used.
_REWRITE = Script("""
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not newest[1] then return end
redis.call('ZREM', KEYS[1], newest[1])
redis.call('ZADD', KEYS[1], newest[2], newest[1])
""")
# KEYS: generation. ARGV: one that was given out.
_REACH = Script("""
redis.call('SET', KEYS[1], math.max(tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])))
""")


@dataclass(frozen=True)
class StoredBaselines:
    """The given baselines of a group's models. replicas: as in `Store`. Each call may raise StoreError."""

    client: Client
    namespace: str
    replicas: int = 0

    async def next_generation(self) -> int:
        """The generation of a configuration that is loaded now."""
        return int(await call_redis(self.client.incr, self._generation))

    async def models(self) -> set[str]:
        """The models that have been given baselines."""
        return {model.decode() for model in await call_redis(self.client.smembers, f"{self.namespace}:references")}

    async def use(self, model: str, generation: int, files: Mapping[str, Callable[[], bytes]]) -> bool:
        """Store the baselines that a generation uses; False if all are there already. files: by content hash."""
        await call_redis(self.client.sadd, f"{self.namespace}:references", model)
        key = self._key(model)
        absent = await _USE.run(self.client, [key, f"{key}:used"], generation, len(files) + _FORMER, *files)
        for missing in absent:
            # Packing a baseline of format 1, which derives what its blocks are for, may take a second.
            content = await asyncio.to_thread(files[missing.decode()])
            await call_redis(self.client.hset, key, missing, content)
        return bool(absent)

    async def sync(self, generation: int, models: Iterable[str]) -> None:
        """Return once a generation and the baselines that it uses are on disk. models: those that have baselines.

        A server writes to its file in order. So one more write to each is enough, and the last to be waited for.
        """
        keys = {self._server_of(key): key for key in map(self._key, models)}
        used = (_REWRITE.run_durably(self.client, [f"{key}:used"], replicas=self.replicas) for key in keys.values())
        reached = _REACH.run_durably(self.client, [self._generation], generation, replicas=self.replicas)
        await asyncio.gather(*used, reached)

    async def load(self, model: str, content_hash: str) -> bytes | None:
        """The file's bytes of a baseline, None if it is not kept."""
        found: bytes | None = await call_redis(self.client.hget, self._key(model), content_hash)
        return found

    async def drop(self, model: str) -> None:
        """Take a model off those that have been given baselines. What panes in flight need is kept."""
        await call_redis(self.client.srem, f"{self.namespace}:references", model)

    def _server_of(self, key: str) -> str:
        """Name of the server of a cluster that has a key; "" without a cluster."""
        node = self.client.get_node_from_key(key) if isinstance(self.client, RedisCluster) else None
        return node.name if node else ""

    @property
    def _generation(self) -> str:
        return f"{self.namespace}:generation"

    def _key(self, model: str) -> str:
        return f"{self.namespace}:{{baselines/{model}}}"
