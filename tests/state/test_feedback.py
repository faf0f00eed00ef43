"""What people say of pages, in Redis: it replaces what was said before, and is forgotten after more than a year."""

from __future__ import annotations

from driftline.stream.alerts.feedback import Feedback
from driftline.stream.state.feedback import FeedbackStore
from driftline.stream.state.store import Store
from tests.harness.redis_servers import on_every_redis, redis_url

__all__ = ["redis_url"]

DAY = 86_400.0


def said(incident: str, real: bool, at: float = 1000 * DAY) -> Feedback:
    return Feedback(incident, "fraud", real, "ann", at, "a release")


@on_every_redis
async def test_feedback_is_kept_by_incident_and_the_last_word_counts(store: Store) -> None:
    own = FeedbackStore(store.client, store.namespace)
    assert await own.read() == {}
    await own.add(said("a", real=True))
    await own.add(said("b", real=True))
    await own.add(said("a", real=False))
    assert await own.read() == {"a": said("a", real=False), "b": said("b", real=True)}


@on_every_redis
async def test_feedback_ends_with_the_key_or_when_it_is_as_old(store: Store) -> None:
    own, key = FeedbackStore(store.client, store.namespace), f"{store.namespace}:feedback"
    await own.add(said("old", real=True, at=10 * DAY))
    await own.add(said("new", real=True, at=500 * DAY))
    assert set(await own.read()) == {"new"}
    assert 399 * DAY < await store.client.ttl(key) <= 400 * DAY


@on_every_redis
async def test_feedback_that_cannot_be_read_is_left_out(store: Store) -> None:
    own = FeedbackStore(store.client, store.namespace)
    await own.add(said("a", real=True))
    await store.client.hset(f"{store.namespace}:feedback", "b", b"[]")
    assert set(await own.read()) == {"a"}
