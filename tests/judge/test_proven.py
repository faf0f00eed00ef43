"""`guarantee: proven`: bets in place of all other tests, from the alarm to the end of an incident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from driftline.detectors.decision.battery import Column
from driftline.detectors.summaries.codes import Special
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from driftline.stream.judge.calibration import calibrate, replay_itself
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.promise import Promise, promises
from driftline.stream.judge.resolution import order_remarks, proof_remarks
from driftline.stream.judge.shares import shares
from driftline.stream.judge.sight import sights
from driftline.stream.judge.state import ModelState
from driftline.stream.worker.worker import Worker
from load_tests.bench.detection import ar
from tests.harness.days import baseline_of_days, events
from tests.harness.traffic import Batch, Driver, baseline_of
from tests.judge.test_alike import Live
from tests.judge.test_least import baseline, draw

PANE, RATE = 250, 1e-6
PROVEN, MEASURED = SignalRule(guarantee="proven"), SignalRule(guarantee="measured")


def config(**rules: SignalRule) -> ModelConfig:
    """rules: by signal, without `features.`; none: all are proven."""
    of = {f"features.{name}": rule for name, rule in rules.items()} or {"*": PROVEN}
    return ModelConfig(
        signals=Signals(rules=of), false_alarms_per_event=RATE, incidents=Incidents(recovery="1s", cooldown="1s")
    )


def steps(settings: ModelConfig, *batches: Batch, own: Baseline | None = None) -> list[tuple[int, Step]]:
    driver = Driver(own or baseline(), settings, PANE)
    return [each for batch in batches for each in driver.feed(batch)]


@pytest.mark.parametrize(
    ("change", "name", "special", "within"),
    [
        ({"shift": 0.5}, "number", None, 500),
        ({"missing": 0.05}, "number", Special.MISSING, 500),
        ({"at_one": 0.1}, "number", None, 500),
        ({"lost": 0.1}, "city", None, 1500),
    ],
)
def test_changes_of_level_missing_values_single_places_and_shares_are_found_and_end(
    change: Mapping[str, float], name: str, special: Special | None, within: int
) -> None:
    live = draw(1, 10_000), draw(2, 5000, **change), draw(3, 20_000)
    found = steps(config(), *live)
    assert [step.status for _, step in found] == [Status.FIRING, Status.RESOLVED]
    (at, fired), (end, _) = found
    (finding,) = fired.findings
    assert (finding.signal, *finding.test[::2]) == (f"features.{name}", "bets", special)
    assert 10_000 < at <= 10_000 + within
    assert finding.evidence >= finding.threshold
    assert 15_000 < end <= 25_000


@pytest.mark.parametrize("seed", [2, 4, 8])
def test_a_weak_drift_that_goes_on_does_not_end_because_its_alarm_came_early_by_luck(seed: int) -> None:
    settings = config().model_copy(update={"false_alarms_per_event": 1e-5})
    found = steps(settings, draw(seed, 5000), draw(100 + seed, 25_000, missing=0.005))
    assert [step.status for _, step in found] == [Status.FIRING]


def test_a_second_drift_after_the_end_of_the_first_is_an_alarm_of_later_events_alone() -> None:
    driver = Driver(baseline(), config(), PANE)
    ends = [at for batch in (draw(1, 5000, shift=0.5), draw(2, 10_000)) for at, step in driver.feed(batch)]
    # A quiet window begins before the change has ended.
    assert 5000 < driver.state.reference_start[driver.judge.index("features.number")] <= ends[-1]
    (at, again) = next(driver.feed(draw(3, 2000, shift=0.5)))
    assert at <= 15_000 + 500
    assert again.findings[0].start > 5000


def test_signals_that_are_not_proven_keep_their_tests_and_all_share_what_is_promised() -> None:
    judge = Judge(baseline(), config(number=PROVEN))
    plain = Judge(baseline(), config(number=SignalRule()))
    alike, usual = judge.alike, plain.alike
    assert alike
    assert usual
    assert alike.shares.sum() == pytest.approx(1.0)
    # Of a number ten tests are replaced, of a category there are seven.
    assert alike.shares.tolist() == pytest.approx([10 / 17, 7 / 17])
    none = np.zeros((1, len(judge.battery.columns)))
    nats, before = (each.thresholds(none, RATE, PANE)[0] for each in (alike, usual))
    changed = {
        column: nats[alike.columns.index(column)] - before[usual.columns.index(column)]
        for column in usual.columns
        if column.signal == 1
    }
    assert changed[Column("chi2", 1)] == pytest.approx(np.log(usual.shares[1] / alike.shares[1]), abs=0.6)
    assert not any(column.statistic == "bets" and column.signal == 1 for column in alike.columns)
    found = steps(config(number=PROVEN), draw(1, 5000), draw(2, 5000, lost=0.1))
    assert found[0][1].findings[0].test.statistic == "chi2"


@pytest.mark.parametrize("slopes", [True, False])
def test_thresholds_are_those_at_which_a_share_of_the_rate_is_proven(slopes: bool) -> None:
    own = baseline() if slopes else replace(baseline(), slopes=None, bins=None)
    settings = config().model_copy(update={"clock": 100})
    judge = Judge(own, settings)
    alike = judge.alike
    assert alike
    nats = alike.thresholds(np.zeros((1, len(judge.battery.columns))), RATE, 400)[0]
    bets = [nats[c] for c, column in enumerate(alike.columns) if column.statistic == "bets"]
    # 1 / (rate s 100) checks of 100 events at least; the s of all bets are all that there is.
    assert len(bets) == 2 * (1 + len(Special))
    assert sum(np.exp(-each) for each in bets) == pytest.approx(RATE * 100)
    assert np.isinf([nats[c] for c, column in enumerate(alike.columns) if column.statistic != "bets"]).all()
    assert alike.shares.sum() == pytest.approx(1.0)


def test_a_signal_of_high_priority_needs_less() -> None:
    rules = {"number": SignalRule(guarantee="proven", priority="high"), "city": PROVEN}
    found = {each.signal: each for each in shares(Judge(baseline(), config(**rules)), RATE)}
    ratio = found["features.number"].share / found["features.city"].share
    plain = Judge(baseline(), config()).alike
    assert plain
    assert ratio == pytest.approx(10 * plain.shares[0] / plain.shares[1])
    assert found["features.city"].nats - found["features.number"].nats == pytest.approx(np.log(ratio))


FAMILIES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.08, 0.02]),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.pareto(1.1, n)),
    "category": lambda rng, n: rng.choice(list("abcdefghij"), n, p=np.arange(10, 0, -1) / 55),
}


def quiet(seed: int, n: int) -> Batch:
    rng = np.random.default_rng(seed)
    batch = {f"features.{name}": make(rng, n).astype(object) for name, make in FAMILIES.items()}
    batch["features.normal"][rng.random(n) < 0.02] = None
    return batch


def test_false_alarms_of_heavy_tails_and_ties_are_no_more_than_promised_whatever_the_rate() -> None:
    rate, alarms, live = 0.01, 0, 0
    for seed in range(5):
        own = baseline_of(quiet(seed, 3000))
        settings = config().model_copy(update={"false_alarms_per_event": rate, "clock": 25})
        driver = Driver(own, settings, 25)
        alarms += sum(len(step.findings) for _, step in driver.feed(quiet(100 + seed, 2500)) if step.findings)
        live += 2500
    # 125 are promised.
    assert alarms <= rate * live
    shifted = {**quiet(7, 250), "features.normal": np.full(250, 9.0, object)}
    assert [step.status for _, step in driver.feed(shifted)][:1] == [Status.FIRING]


@pytest.mark.parametrize(
    ("rules", "words", "names"),
    [
        ({"features.[nm]*": PROVEN}, "features.[nm]*", "features.number"),
        ({"*": PROVEN, "features.c*": MEASURED}, "*, not features.c*", "features.number"),
        ({"features.*": PROVEN, "*": MEASURED}, "", ""),
        ({"features.*": MEASURED, "*": PROVEN}, "*", "features.number, features.city"),
        ({"features.*": PROVEN, "*": SignalRule(min_share=0.1)}, "features.*", "features.number, features.city"),
    ],
)
def test_a_promise_names_the_signals_that_are_proven_and_globs_where_they_are_not_known(
    rules: Mapping[str, SignalRule], words: str, names: str
) -> None:
    settings = ModelConfig(signals=Signals(rules=dict(rules)))
    assert Promise.of("m", settings, None).proven == settings.signals.bet_on == words
    assert Promise.of("m", settings, None, baseline()).proven == names
    found = promises(Config(models={"m": settings}), {"m": baseline()})
    assert [each.proven for each in found if each.model == "m"] == [names]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("rule", ["guarantee: proven", "priority: high", "min_share: 0.01"])
def test_a_worker_says_once_that_rules_have_no_effect_at_its_level(
    level: int, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"models: {{fraud: {{signals: {{rules: {{score: {{{rule}}}}}}}}}, churn: {{}}}}"
    worker = Worker(parse_config(text), {})
    for _ in range(2):
        worker._use_level(level)
    said = "`signals.rules` of fraud have no effect before format level 3"
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [said]
    caplog.clear()
    worker._use_level(3)
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


@pytest.mark.parametrize("level", [1, 2])
def test_below_level_three_nothing_is_bet_on(level: int) -> None:
    def found(settings: ModelConfig) -> Iterator[tuple[ModelState, list[Step]]]:
        monitor, state = Monitor("m", settings, baseline(), **monitor_settings(level)), ModelState()
        for pane in Driver(baseline(), settings, PANE).panes(draw(2, 5000, missing=0.05)):
            state, steps_now = monitor.judge(state, pane)
            yield state, steps_now

    own = [step for _, step in found(config())]
    assert own == [step for _, step in found(config(number=SignalRule()))]


def test_signals_with_a_cycle_are_bet_on_beyond_all_of_its_phases() -> None:
    own = baseline_of_days()
    live = Live(Monitor("given", config(), own, **monitor_settings()))
    assert not live.feed([*events(0, 4, 1)])
    (_, step), *_ = live.feed([*events(4, 1, 2, shift=4)])
    assert {each.test.statistic for each in step.findings} == {"bets"}
    assert step.findings[0].cycle is None


def test_a_baseline_without_an_order_is_bet_against_from_the_first_event_on() -> None:
    shuffled = baseline_of(draw(0, 20_000), ordered=False)
    assert next(order_remarks(shuffled, config(city=PROVEN)), None)
    assert not [*order_remarks(shuffled, config())]
    (remark,) = proof_remarks(shuffled, config())
    assert calibrate(shuffled, config()).unpromised == (str(remark),)
    first, *_ = calibrate(shuffled, config(city=PROVEN)).unpromised
    assert first.startswith("no order in time is known of features.number: until ")
    assert "whether events of features.number, features.city depend on each other is not known" in str(remark)
    found = steps(config(), draw(2, 1000, shift=0.3), own=shuffled)
    assert found[0][1].findings[0].test.statistic == "bets"
    assert not steps(config(city=PROVEN), draw(2, 1000, shift=0.3), own=shuffled)


def test_events_that_depend_on_each_other_are_named() -> None:
    rng = np.random.default_rng(3)
    batch = {
        "features.slow": ar(rng, 20_000, 0.8).astype(object),
        "features.number": rng.normal(size=20_000).astype(object),
    }
    own = baseline_of(batch)
    (remark,) = proof_remarks(own, config())
    assert "features.slow (" in str(remark)
    assert "features.number" not in str(remark)
    assert str(remark) in calibrate(own, config()).unpromised
    assert not [*proof_remarks(own, config(number=PROVEN))]


def test_a_replay_of_its_own_history_and_what_is_seen_are_by_bets() -> None:
    own = baseline()
    assert replay_itself(own, own.blocks, config(), None) == []
    number, city = sights(Judge(own, config()), [500, 20_000], RATE)
    usual, _ = sights(Judge(own, config(number=SignalRule())), [500, 20_000], RATE)
    assert all((each or 9) > (before or 0) for each, before in zip(number.shift, usual.shift, strict=True))
    assert (number.shift[1] or 9) < 0.2 < (number.shift[0] or 0) < 0.8
    assert (city.share[1] or 9) < 0.05
