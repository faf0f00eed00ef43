"""A worker judges signals that follow the time of day as a replay does, to the byte, also after crashes."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.stream.demo.servers import Server
from tests.harness.days import as_message, baseline_of_days, events
from tests.worker.test_stages import Bench, play


def bench(server: Server) -> Bench:
    log: list[bytes | None] = [as_message(each) for each in (*events(0, 1, 1), *events(1, 0.5, 1, shift=2.0))]
    return Bench(f"redis://{server.address}", log, {"given": baseline_of_days()})


@pytest.mark.parametrize("crashes", [0, 3])
def test_the_stages_end_where_the_replay_does(redis_server: Server, crashes: int) -> None:
    rng = np.random.default_rng(crashes)

    async def live(this: Bench) -> None:
        for _ in range(crashes):
            await this.crash(crash_at=int(rng.integers(1, 400)), late=bool(rng.integers(2)))
        await this.driver().work()
        await this.check()
        found = [each for alert in this.alerts() for each in alert["data"]["evidence"]["signals"]]
        assert {each["signal"] for each in found if "cycle" in each} >= {"features.wave"}

    play(bench(redis_server), live)
