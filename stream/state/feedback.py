"""What people say of pages, in Redis, for `driftline incidents`.

NS is the namespace (the consumer group).

| key            | type | lives                        | holds                                                    |
|----------------|------|------------------------------|----------------------------------------------------------|
| NS:feedback    | hash | 400 days after the last one  | feedback by incident, see `stream.alerts.feedback`       |

Nothing is decided by it, and it belongs to no commit. Feedback that is older than the key lives is removed when
somebody next gives some.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftline.stream.alerts.feedback import Feedback, FeedbackError, read_feedback, write_feedback
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.scripts import Script

# s. As long as relays remember incidents: a year of pages can be looked back on.
_LIFE = 400 * 86_400

# KEYS: feedback. ARGV: incident, feedback, seconds to live.
_SET = Script("""
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
""")


@dataclass(frozen=True)
class FeedbackStore:
    """The feedback of a group. Every call raises StoreError, and RedisUnreachableError after 10 seconds."""

    client: Client
    namespace: str

    async def add(self, feedback: Feedback) -> None:
        """Store feedback; it replaces what was said of the same incident before."""
        await _SET.run(self.client, [self._key], feedback.incident, write_feedback(feedback), _LIFE)
        old = [name for name, each in (await self.read()).items() if each.at < feedback.at - _LIFE]
        if old:
            await call_redis(self.client.hdel, self._key, *old)

    async def read(self) -> dict[str, Feedback]:
        """The feedback by incident; what cannot be read is left out."""
        found = dict[str, Feedback]()
        for name, stored in (await call_redis(self.client.hgetall, self._key)).items():
            try:
                found[name.decode(errors="replace")] = read_feedback(stored)
            except FeedbackError:  # of a later version
                continue
        return found

    @property
    def _key(self) -> str:
        return f"{self.namespace}:feedback"
