"""What ticks cost a judge: processor time of one tick for all models of a partition of the panes topic.

    python -m load_tests.bench.ticks                    1000 and 5000 models
    python -m load_tests.bench.ticks --models 100 --json

Every 10 s comes a tick of each partition of the predictions topic. Most say nothing that traffic could be judged by;
the one with which a slot of 10 s is complete in all partitions has it judged for every model. Once an hour, what is
known of each model's traffic changes, and is written. The models have 100 events a slot, and none has an incident.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.detectors.decision.rates import HOUR
from driftline.detectors.decision.traffic import Traffic
from driftline.stream.baselines.rates import learn_rates
from driftline.stream.codec.state import state_delta
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState, TrafficState
from driftline.stream.panes.pane import SLOT_MS, Source

_DAY = 24 * HOUR
# Slot at which what is known of traffic ends, and slots from there to the first tick.
_KNOWN_TO, _SINCE = 480_000 * HOUR, HOUR + HOUR // 2
# Events in a slot, as many as one model of 10 events a second has.
_EVENTS = 100


def ticked(models: int, days: int) -> dict[str, float]:
    """CPU ms of ticks for `models` models whose traffic is known for `days` days."""
    state = _state(days)
    own = [(Monitor(f"model-{i}", ModelConfig()), state) for i in range(models)]
    now = _KNOWN_TO + _SINCE
    until = {"nothing": 0, "slot": now + 1, "hour": _KNOWN_TO + 2 * HOUR + 1}
    return {name: _tick(own, now, at) for name, at in until.items()}


def _tick(models: Sequence[tuple[Monitor, ModelState]], now: int, until: int) -> float:
    began = time.process_time()
    changed = [(state, monitor.tick(state, (until or now) * SLOT_MS, until * SLOT_MS)[0]) for monitor, state in models]
    for before, after in changed:
        if after is not before:
            state_delta(before, after)
    return 1000 * (time.process_time() - began)


def _state(days: int) -> ModelState:
    """A model that learns its baseline, and whose traffic is known for `days` days."""
    rng, size = np.random.default_rng(1), days * _DAY
    rates = learn_rates(np.arange(_KNOWN_TO - size, _KNOWN_TO), rng.poisson(_EVENTS, size))
    traffic = Traffic.start(_KNOWN_TO, rates)
    slots = np.arange(_KNOWN_TO, _KNOWN_TO + _SINCE)
    traffic = traffic.observe(slots, rng.poisson(_EVENTS, len(slots)), _KNOWN_TO + _SINCE)
    event = Event("0", 0, "model", "", {"score": 1.0})
    return ModelState({Source(0): 0}, sample=(event,), traffic=TrafficState(traffic))


def _print(rows: Mapping[tuple[int, int], Mapping[str, float]]) -> None:
    table = Table()
    for heading in ("models", "days known", "a tick, ms", "with a slot of time, ms", "with an hour, ms"):
        table.add_column(heading, justify="right")
    for (models, days), row in rows.items():
        table.add_row(f"{models:,}", str(days), *(f"{each:,.3g}" for each in row.values()))
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--days", type=int, nargs="+", default=[3, 28], help="days of traffic that are known")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = {(models, days): ticked(models, days) for models in options.models for days in options.days}
    if options.json:
        print(json.dumps([{"models": models, "days": days, **row} for (models, days), row in rows.items()]))
    else:
        _print(rows)


if __name__ == "__main__":
    main()
