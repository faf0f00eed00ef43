"""Silences: the meaning of matchers, their keys in Redis and how long these live, and the commands."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.cli.main import app
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.paging.silences import ActiveSilences, Matcher, Silence, SilenceError, read_silence, write_silence
from driftline.stream.state.client import connect
from driftline.stream.state.silences import SilenceCache, SilenceStore
from tests.harness.brokers import unique
from tests.harness.services import cloud_event

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def alert(**fields: Any) -> CompleteAlert:
    signals = [{"signal": "features.amount"}, {"signal": "score"}, {"signal": 7}, None]
    return read_complete_alert(
        cloud_event(1, **{"labels": {"model": "fraud", "team": "pay"}, "evidence": {"signals": signals}, **fields})
    )


def silence(*matchers: str, start: timedelta = -HOUR, end: timedelta = HOUR, name: str = "s1") -> Silence:
    return Silence(name, tuple(map(Matcher.parse, matchers)), NOW + start, NOW + end, "ann", "backfill")


# --- matchers


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [
        ("model=fraud", True), ("model=frau", False), ("model=", False), ("model!=churn", True),
        ("model!=fraud", False),
        ("model=~fr.*", True), ("model=~rau", False), ("model=~fraud|churn", True), ("model!~fr.*", False),
        ("model!~churn|ltv", True), ("severity=warning", True), ("class=data-drift", True), ("class!~data-.*", False),
        ("team=pay", True), ("team=~.+", True), ("region=", True), ("region!=", False), ("region=~.+", False),
        ("region!=eu", True), ("region!~eu", True), ('team="pay"', True), (' team = pay ', True),
        # The alert has features.amount and score.
        ("signal=score", False), ("signal=features.amount", False), ("signal=~features[.].*", False),
        ("signal=~score|features[.].*", True), ("signal=age", False),
        ("signal!=score", False), ("signal!=age", True), ("signal!~features[.].*", False), ("signal=", False),
    ],
)  # fmt: skip
def test_matchers_mean_the_same_as_alertmanagers(matcher: str, matches: bool) -> None:
    assert ActiveSilences([silence(matcher, "model=~.+")])(alert()) is matches


def test_all_matchers_of_a_silence_must_match() -> None:
    assert ActiveSilences([silence("model=fraud", "severity=warning")])(alert())
    assert not ActiveSilences([silence("model=fraud", "severity=critical")])(alert())


def test_a_silence_hides_no_signal_that_it_does_not_match() -> None:
    amount, score = silence("signal=features.amount"), silence("signal=score", "class=prediction-drift")
    signals = [{"signal": "features.amount"}, {"signal": "score", "class": "prediction-drift"}]
    both = alert(evidence={"signals": signals})
    assert not ActiveSilences([amount])(both)
    assert not ActiveSilences([silence("class=data-drift")])(both), (
        "the class of an alert is that of its first signal alone"
    )
    assert ActiveSilences([amount, score])(both)


def test_an_alert_without_evidence_has_the_signal_of_its_label_or_the_empty_one() -> None:
    assert ActiveSilences([silence("model=fraud", "signal=")])(alert(evidence={}))
    assert ActiveSilences([silence("signal=score")])(alert(evidence={"signals": 3}, labels={"signal": "score"}))


@pytest.mark.parametrize(
    ("matcher", "reason"),
    [
        ("fraud", "expected NAME=VALUE"), ("=x", "expected NAME"), ("model=~(", "no regular expression"),
        ("model=~" + "a" * 501, "more than 500"), ("model=~.*", "does not match everything"),
        ("model=~a)|(b", "unopened group"), ("model=~(?=a)b", "look-ahead and look-behind, is not supported"),
        (r"model=~(a)\1", "backreferences are not supported"), ("model=~(a{1000}){1000}", "exceeds size limit"),
        ("region=", "does not match everything"), ("model!=fraud", "does not match everything"),
    ],
)  # fmt: skip
def test_a_matcher_that_is_malformed_or_matches_everything_is_refused(matcher: str, reason: str) -> None:
    with pytest.raises(SilenceError, match=reason):
        silence(matcher)


@given(st.sampled_from(["=", "!="]), st.text(max_size=20), st.text(max_size=20))
def test_a_plain_value_is_not_read_as_an_expression(operator: Any, value: str, other: str) -> None:
    assert Matcher("model", operator, value).matches(other) is ((value == other) == (operator == "="))


@pytest.mark.parametrize("expression", ["(a+)+", "(a|a)*", "(a|aa)+", "(.*a){20}", "(a{1,300}){1,100}"])
def test_no_expression_takes_for_ever(expression: str) -> None:
    # Python's engine would backtrack for years.
    assert not Matcher("model", "=~", expression).matches("a" * 499 + "!")
    assert not Matcher("model", "=~", expression).matches("a" * 100_000)


@given(st.from_regex(r"[ab.|?*+()\[\]^-]{0,12}", fullmatch=True), st.text("ab.\n", max_size=6))
def test_an_expression_means_what_it_means_to_python(expression: str, value: str) -> None:
    try:
        matcher = Matcher("model", "=~", expression)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = re.fullmatch(expression, value, re.DOTALL)
    except (SilenceError, re.error, FutureWarning):
        return  # each engine refuses, or reads differently, some odd expressions, such as `a**` and `[a[]`
    assert matcher.matches(value) is (found is not None)


def test_a_silence_is_active_from_its_start_up_to_its_end() -> None:
    one = silence("model=fraud")
    moments = [-2 * HOUR, -HOUR, timedelta(0), HOUR - timedelta(seconds=1), HOUR]
    assert [one.active(NOW + each) for each in moments] == [False, True, True, True, False]
    assert not ActiveSilences()(alert())
    assert ActiveSilences([silence("model=churn"), one])(alert())


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_no_bytes_raise_anything_but_a_silence_error(stored: bytes) -> None:
    with pytest.raises(SilenceError):
        read_silence(stored)


def test_what_is_no_utf_8_is_escaped_in_a_comment_and_refused_in_a_matcher() -> None:
    of = silence("model=fraud")
    said = msgspec.structs.replace(of, creator="ann\udcff", comment="why\udcff" + "x" * 5000)
    read = read_silence(write_silence(said))
    assert read.creator == "ann\\udcff"
    assert read.comment.startswith("why\\udcffx")
    assert len(read.comment) == 1000
    for operator in ("=", "=~"):
        with pytest.raises(SilenceError, match="the value for model is not UTF-8"):
            Matcher.parse(f"model{operator}\udcff")


def test_a_silence_reads_back_as_written_and_a_malformed_one_is_refused() -> None:
    stored = write_silence(silence("model=~fraud|churn", 'signal!="x"'))
    assert read_silence(stored) == silence("model=~fraud|churn", "signal!=x")
    for wrong in (
        stored.replace(b'"=~"', b'"=="'),
        stored.replace(b"fraud|", b"("),
        stored.replace(b"ends_at", b"end"),
    ):
        with pytest.raises(SilenceError):
            read_silence(wrong)


# --- Redis


def on_store(server: Server, scenario: Callable[[SilenceStore], Awaitable[None]]) -> None:
    async def run() -> None:
        client = connect(Redis(url=f"redis://{server.address}"))
        try:
            await scenario(SilenceStore(client, unique("ns")))
        finally:
            await client.aclose()

    asyncio.run(run())


def test_ended_silences_are_removed(redis_server: Server) -> None:
    async def scenario(store: SilenceStore) -> None:
        key = f"{store.namespace}:silences"
        await store.add(silence("model=a", name="long", end=2 * HOUR))
        await store.add(silence("model=a", name="short"))
        left = (NOW + 2 * HOUR - datetime.now(UTC)).total_seconds()
        assert left - 60 < await store.client.ttl(key) <= left + 60, "until the last one ends"
        assert [each.id for each in (await store.read(NOW))[0]] == ["long", "short"]
        assert [each.id for each in (await store.read(NOW + HOUR))[0]] == ["long"]
        await store.client.hset(key, "past", write_silence(silence("model=a", name="past", end=-HOUR / 2)))
        await store.remove_ended()
        assert await store.client.hkeys(key) == [b"long", b"short"]
        assert await store.end("long")
        assert not await store.end("long")

    on_store(redis_server, scenario)


def test_an_unreadable_silence_silences_nothing_and_is_logged_once(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(store: SilenceStore) -> None:
        silences = SilenceCache(store)
        await store.add(silence("model=fraud", name="good"))
        await store.client.hset(f"{store.namespace}:silences", mapping={"bad": b"{}", "worse": b"\xff"})
        for _ in range(3):
            await silences.read()
        await store.remove_ended()
        assert silences.active()(alert())
        assert not silences.active()(alert(component="churn", labels={}))
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "the silence 'bad' silences nothing",
            "the silence 'worse' silences nothing",
        ]
        await store.client.delete(f"{store.namespace}:silences")
        await store.client.set(f"{store.namespace}:silences", "something else")
        await silences.read()
        assert not silences.active()(alert())

    on_store(redis_server, scenario)


# --- commands


@pytest.fixture
def config(redis_server: Server, tmp_path: Path) -> Path:
    path = tmp_path / "driftline.yaml"
    path.write_text(f"redis: {{url: 'redis://{redis_server.address}'}}\nworker: {{group: {unique('group')}}}\n")
    return path


def command(config: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["silence", *arguments, "-c", str(config)])
    return result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else "")


def test_a_silence_is_added_listed_and_ended(config: Path) -> None:
    assert command(config, "list") == (0, "no silences\n")
    code, result = command(
        config, "add", "--match", "model=fraud", "--for", "2h", "--comment", "backfill", "--by", "ann"
    )
    name = result.split()[1].rstrip(":")
    assert code == 0
    assert f"silence {name}: model=fraud, from now until 20" in result
    assert "counts as empty" not in result
    start, end = "2099-01-01T00:00:00Z", datetime.now(UTC) + timedelta(days=3)
    soon = datetime.now(UTC) + timedelta(days=2)
    window = ["add", "--match", "team=~pay.*", "--match", "signal!=score", "--from", soon.isoformat()]
    code, result = command(config, *window, "--until", end.isoformat(), "--comment", "move", "--by", "bob")
    assert code == 0
    assert f"from {soon:%Y-%m-%d %H:%M:%S} UTC until" in result
    assert "own alerts have no team; a missing name counts as empty" in result, "as a mistyped name does"
    code, result = command(config, "list")
    assert code == 0
    # A narrow terminal wraps the matchers.
    assert [word in result for word in (name, "ann", "bob", "backfill", "team=~pay.*", "signal!=score")] == [True] * 6
    assert command(config, "end", name) == (0, f"silence {name} has ended\n")
    assert command(config, "end", name) == (
        1,
        f"there is no silence {name!r}; list them with: driftline silence list",
    )
    assert name not in command(config, "list")[1]
    code, result = command(config, *window[:3], "--from", start, "--for", "1h", "--comment", "far")
    assert (code, "within the next 366 days" in result) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--match", "model=a"], "either --for or --until"),
        (["--match", "model=a", "--for", "1h", "--until", "2030-01-01T00:00:00Z"], "either --for or --until"),
        (["--match", "model=a", "--for", "soon"], "such as"),
        (["--match", "model=a", "--for", "0s"], "expected an end within"),
        (["--match", "model=a", "--for", "99d"], "at most 31d"),
        (["--match", "model=a", "--until", "2020-01-01T00:00:00Z"], "expected an end within"),
        (["--match", "model=a", "--until", "tomorrow"], "expected RFC 3339"),
        (["--match", "model", "--for", "1h"], "expected NAME=VALUE"),
        (["--match", "model=~(", "--for", "1h"], "no regular expression"),
        (["--match", "model!=a", "--for", "1h"], "does not match everything"),
        (["--for", "1h"], "Missing option"),
    ],
)
def test_a_wrong_option_is_explained_and_nothing_is_silenced(config: Path, arguments: list[str], reason: str) -> None:
    code, result = command(config, "add", *arguments, "--comment", "x", "--by", "ann")
    assert code == 2
    assert reason in " ".join(result.replace("│", " ").split())
    assert command(config, "list") == (0, "no silences\n")
