"""Reports fit narrow and wide terminals, whatever names are in the traffic."""

from __future__ import annotations

import io
from collections import Counter
from itertools import dropwhile
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console
from scipy.stats import expon, norm

from driftline.detectors.summaries.codes import Kind
from driftline.stream.alerts.build import build_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.monitor import Monitor
from driftline.stream.replay.pipeline import ModelCounts
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.verdict import decide
from driftline.stream.reports.replay import print_alert, print_baseline, print_summary
from tests.alerts.test_alerts import event, step
from tests.harness.traffic import Batch, Driver, baseline_of

ODD = "features.[/b][red]odd\n[link=x]"
WIDTHS = pytest.mark.parametrize("width", [60, 80, 120])


def console(width: int, *, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


def printed(own: Console) -> list[str]:
    return own.file.getvalue().splitlines()  # type: ignore[attr-defined]


def baseline(names: list[str]) -> Baseline:
    rng = np.random.default_rng(1)
    numbers = {name: rng.normal(0.4268, 0.01, 300).tolist() for name in names}
    columns: dict[str, list[Any]] = {
        **numbers,
        "features.unit": [0.003467] * 300,
        "features.gaps": [None, 1.0, 2.0] * 100,
        "prediction": ["DOWN", "UP", "UP"] * 100,
    }
    rows = zip(*columns.values(), strict=True)
    events = [
        Event(str(i), 10**12 + i, "fraud", None, dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)
    ]
    return build_baseline(events, {"model": "fraud", "version": "[/x]", "source": ["[b]a.jsonl"]})


@WIDTHS
def test_a_baseline_fits_the_terminal_and_figures_keep_their_digits(width: int) -> None:
    own = console(width)
    print_baseline(own, baseline(["features.nswdemand", "score"]))
    lines = printed(own)
    assert max(map(len, lines)) <= width
    (demand,) = (line for line in lines if "nswdemand" in line)
    assert "numeric" in demand
    assert demand.split()[2 if width < 100 else 3].startswith("0.42")
    assert any(bar in demand for bar in "▂▃▄▅▆▇█")
    (gaps,) = (line for line in lines if line.startswith(("gaps ", "features.gaps ")))
    assert "33.33 %" in gaps
    assert any("0.003467 100 %" in line for line in lines) or width == 60


@pytest.mark.parametrize(
    ("values", "picture"),
    [
        ([*range(1, 8)] * 9, "███████"),
        ([0.0] * 80 + [1.0] * 20, "█▃"),
        (np.linspace(0, 1, 3000).tolist(), "████████████████"),
        (norm.ppf((np.arange(3000) + 0.5) / 3000).tolist(), "▂▃▃▄▆▇████▇▆▄▃▃▂"),
        (expon.ppf((np.arange(3000) + 0.5) / 3000).tolist(), "█▆▅▄▃▃▂▂▂▂▂▁▁▁▁▁"),
        ([-1e308, 1e308] * 3, "██"),
        ([-1e308, 1e308, *np.linspace(0, 1, 2998).tolist()], "████████████████"),
        (["N/A"] * 4, ""),
    ],
)
def test_a_histogram_shows_the_shape_instead_of_the_equal_shares_of_the_grid(values: Any, picture: str) -> None:
    kinds = {"features.x": Kind.NUMERIC}
    events = [Event("", 0, "m", None, {"features.x": value}) for value in values]
    own = console(120)
    print_baseline(own, build_baseline(events, {"model": "m"}, BuildSettings(kinds=kinds)))
    assert "".join(character for character in printed(own)[-1] if character in "▁▂▃▄▅▆▇█") == picture


def test_wide_terminals_show_whole_names_and_more_columns() -> None:
    narrow, wide = console(80), console(120)
    for own in (narrow, wide):
        print_baseline(own, baseline(["features.nswdemand"]))
    table = dropwhile(lambda line: not line.startswith("signal"), printed(narrow))
    assert not any("features." in line for line in table)
    assert any(line.startswith("features.nswdemand ") for line in printed(wide))
    assert any({"codes", "min", "max"} <= set(line.split()) for line in printed(wide))


def incident(names: list[str]) -> list[IncidentAlert]:
    """Alerts of a drift in all of these signals, and of its end."""
    rng = np.random.default_rng(2)

    def batch(n: int, shift: float) -> Batch:
        return {name: (rng.normal(size=n) + shift).astype(object) for name in names}

    driver = Driver(baseline_of(batch(2000, 0), "fraud"), ModelConfig())
    batches = (batch(1000, 0), batch(1000, 3), batch(3000, 0))
    steps = [step for each in batches for _, step in driver.feed(each)]
    monitor = Monitor("fraud", driver.config, driver.baseline)
    return [build_alert(monitor, step, mode="replay", topic="t", emitted_at=step.at) for step in steps]


@WIDTHS
def test_an_alert_fits_the_terminal_and_no_word_is_broken(width: int) -> None:
    names = ["features.customer_account_balance", "features.vicdemand"]
    fired, resolved = incident(names)
    own = console(width, terminal=True)
    print_alert(own, fired.data, verbose=True)
    print_alert(own, resolved.data)
    lines = printed(own)
    assert {len(line) for line in lines} == {width}
    text = " ".join(line.strip("│ ") for line in lines)
    for word in ("FIRING", "fraud", *names, "mean", "nats", "PSI", "(+3", "RESOLVED"):
        assert word in text
    (evidence, _) = fired.data.evidence.signals
    assert f"{evidence.evidence_nats:.1f} > {evidence.threshold_nats:.1f} nats" in text
    assert f"since {evidence.since[:16]}Z" in text


def test_an_incident_that_comes_back_is_no_mere_update() -> None:
    own, (fired, _) = console(120), incident(["features.amount"])
    back = msgspec.structs.replace(fired.data, status=Status.UPDATED, reopened=True)
    print_alert(own, back)
    assert printed(own)[0].split() == ["REOPENED", "fraud"]


def test_names_and_values_of_the_traffic_are_text_and_no_markup() -> None:
    """A signal called "[/b]" once was read as a closing tag without an opening one, which ended the replay."""
    own = console(120)
    print_baseline(own, baseline([ODD]))
    for message in incident([ODD]):
        print_alert(own, message.data)
    result = ReplayResult(events=5, defects=Counter({ODD: 3}), examples={ODD: "got '[/i]'"})
    result.counts = {"[/b]": ModelCounts(learned_from=5), "[bold]": ModelCounts(too_few=3)}
    print_summary(own, result, decide(result, Config(), []), 1.0)
    text = "\n".join(printed(own))
    for part in ("[/b][red]odd", "[/x]", "[b]a.jsonl", "got '[/i]'", '"[bold]": its 3 events are too few'):
        assert part in text


@pytest.mark.parametrize(
    ("statuses", "last"),
    [
        ([], "no drift"),
        (["firing"], "1 incident, 0 resolved, 1 still open"),
        (["firing", "updated", "resolved"], "1 incident, 1 resolved, 0 still open"),
        (["firing", "resolved", "updated"], "1 incident, 0 resolved, 1 still open"),
    ],
)
def test_a_summary_ends_with_what_was_found(statuses: list[str], last: str) -> None:
    own = console(80)
    result = ReplayResult([event(step(status=Status(status))) for status in statuses], events=12_345)
    result.counts, result.watched = {"fraud": ModelCounts(judged=12_345)}, {"fraud": ("score", "features.amount")}
    print_summary(own, result, decide(result, Config(), []), 2.0)
    watched = "watched 2 signals of 1 model, judged 12,345 of 12,345 events"
    assert printed(own) == ["12,345 events in 2.0 s (6,172/s)", watched, last]
