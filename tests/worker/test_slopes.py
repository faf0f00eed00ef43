"""Slopes that live events show, or overrule, through both stages of the worker, crashes among them, beside a replay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orjson
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server
from load_tests.harness.oracle import Replay, alert_bodies
from tests.baselines.test_slopes import remembering
from tests.harness.brokers import unique
from tests.judge.test_live_slopes import KEEP, LEARNING, PANE, shuffled
from tests.judge.test_overruled import believed
from tests.worker.test_stages import Bench, play

_CONFIG = f"""
panes: {{{{events: {PANE}, seconds: 0.1}}}}
defaults: {{{{false_alarms_per_event: 1.0e-5}}}}
worker: {{{{group: {{group}}}}}}
"""
# After what teaches the slope, some panes of what is usual, and a drift.
_CALM, _DRIFT = 8 * PANE, 12 * PANE


def log() -> list[bytes]:
    values = remembering(KEEP, LEARNING + _CALM + _DRIFT, seed=4)
    values[-_DRIFT:] += 3.0
    return [
        orjson.dumps({"id": f"{i}", "ts": 10**12 + 1000 * i, "model": "m", "features": {"x": each}})
        for i, each in enumerate(values.tolist())
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("baseline", "overrules"), [(shuffled, False), (believed, True)])
def test_after_crashes_a_worker_judges_by_the_slopes_of_the_replay(
    redis_server: Server, baseline: Callable[[], Baseline], overrules: bool
) -> None:
    rng = np.random.default_rng(6)

    async def scenario(this: Bench) -> None:
        for _ in range(6):
            await this.crash(crash_at=int(rng.integers(20, 120)), late=bool(rng.integers(2)), fetch_size=1000)
        await this.driver(fetch_size=1000).work()
        replay = Replay(this.config, this.baselines)
        replay.read(0, this.log)
        assert await this.states() == replay.model_states()
        assert alert_bodies(this.alerts()) == alert_bodies(replay.alerts)
        judge = (await this.state("m")).judge
        assert judge is not None
        assert judge.live_slopes is not None
        assert judge.live_slopes.known is not None
        assert (judge.live_slopes.overruled is not None) == overrules
        changes = [signal["change"] for alert in this.alerts() for signal in alert["data"]["evidence"]["signals"]]
        assert ("slope_ratio" in changes[-1]) == overrules

    this = Bench(f"redis://{redis_server.address}", [], {"m": baseline()})
    this.config = parse_config(_CONFIG.format(group=unique("group")))
    this.append(log())
    play(this, scenario)
