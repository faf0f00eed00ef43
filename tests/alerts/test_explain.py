"""An alert explained: found by any of its ids, whole at any width, whatever traffic or another version put in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.explain import (
    as_row,
    duration_text,
    effects,
    figures,
    picture,
    remark,
    replay_command,
    silence_command,
    verdict,
)
from driftline.stream.alerts.find import AmbiguousIdError, FoundAlert, ListedIncident, find
from driftline.stream.alerts.read import (
    AlertError,
    ReadAlert,
    ReadChange,
    ReadCycle,
    ReadHistogram,
    ReadProfile,
    ReadSignal,
    read_alert,
)
from driftline.stream.config.lineage import upstream
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import build_notification as page_of
from driftline.stream.paging.notifications import Notifications, RecordPosition
from driftline.stream.reports.alert import print_explanation, print_incidents
from driftline.stream.reports.page.alert import alert_page
from driftline.stream.reports.plot import MAX_PANELS, plot
from tests.harness.services import cloud_event
from tests.reports.test_report import ODD, WIDTHS, console, incident, printed

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def made(**fields: Any) -> bytes:
    """An alert of given fields, as its record holds it."""
    return orjson.dumps({"data": {"id": "0123456789abcdef", **fields}})


def evidence(name: str = "features.amount", **fields: Any) -> dict[str, Any]:
    return {"signal": name, "evidence_nats": 40.0, "threshold_nats": 20.0, **fields}


def shown(
    alert: ReadAlert, width: int = 80, incident: Sequence[ReadAlert] = (), allowed: str = "", verbose: bool = False
) -> list[str]:
    """The lines of its explanation."""
    own = console(width)
    print_explanation(own, alert, incident or [alert], allowed, verbose)
    return printed(own)


def text(lines: Sequence[str]) -> str:
    """Without the breaks of lines."""
    return " ".join(" ".join(lines).split())


# What is read


def test_an_alert_of_an_older_version_lacks_fields_and_one_of_a_newer_has_more() -> None:
    assert read_alert(b'{"data": {"id": "x"}}') == ReadAlert("x")
    whole = read_alert(
        made(incident_id="i", resolution=None, oncall={"who": [1]}, evidence={"signals": [evidence(x=1)]})
    )
    assert (whole.incident_id, whole.signals[0].name, whole.signals[0].ratio) == ("i", "features.amount", 2.0)
    assert read_alert(made(seq=-1, group=None, source=7)).seq == -1, "a page needs more of an alert than a reader"


@pytest.mark.parametrize(
    "line", [b"", b"a live alert", b"[]", b'{"data": {}}', b'{"data": {"id": 5}}', None, b"[" * 10**5]
)
def test_a_line_that_is_no_alert_raises_an_alert_error(line: bytes | None) -> None:
    with pytest.raises(AlertError, match="no alert"):
        read_alert(line)


# What is found

# Two incidents; the first alert of i-one was published twice, as after a crash, and the second ones came in between.
LINES = [
    made(id="aaaa1", incident_id="one1", seq=1, title="one fires"),
    b"a live alert",
    None,
    made(id="aaaa2", incident_id="two2", seq=1, title="two fires"),
    made(id="bbbb1", incident_id="one1", seq=2, status="updated"),
    made(id="aaaa1", incident_id="one1", seq=1, title="one fires"),
    made(id="cccc3", title="before there were incidents"),
    made(id="one11", incident_id="two2", seq=2, status="resolved"),
]


def found(wanted: str) -> FoundAlert:
    hit = find(lambda: LINES, wanted)
    assert hit is not None
    return hit


@pytest.mark.parametrize(
    ("wanted", "alert", "incident"),
    [
        ("aaaa1", "aaaa1", ["aaaa1", "bbbb1"]),
        ("bb", "bbbb1", ["aaaa1", "bbbb1"]),
        ("one1", "bbbb1", ["aaaa1", "bbbb1"]),
        ("two2", "one11", ["aaaa2", "one11"]),
        ("tw", "one11", ["aaaa2", "one11"]),
        ("cccc3", "cccc3", ["cccc3"]),
        ("one11", "one11", ["aaaa2", "one11"]),
    ],
)
def test_an_alert_is_found_by_its_id_or_its_incidents_or_how_they_begin(
    wanted: str, alert: str, incident: list[str]
) -> None:
    """A whole id means itself, though it be the beginning of another one, as "one1" is."""
    hit = found(wanted)
    assert hit.alert.id == alert
    assert hit.line in LINES
    assert read_alert(hit.line) == hit.alert
    assert [each.id for each in hit.incident] == incident


def test_a_beginning_of_several_incidents_ids_is_ambiguous_and_the_error_names_them() -> None:
    with pytest.raises(AmbiguousIdError, match=r"aaaa1  one fires\n  aaaa2  two fires"):
        found("aaaa")
    assert find(lambda: LINES, "nothing") is None


# What is said


def amount() -> ReadAlert:
    """The alert of a shift by 3 σ."""
    fired, _ = incident(["features.amount"])
    return read_alert(encode_alert(fired))


def test_an_alert_of_a_replay_is_neither_silenced_nor_said_to_be_false() -> None:
    alert, own = amount(), console(80)
    print_explanation(own, alert, [alert], live=False)
    plain, page = text(printed(own)), alert_page(alert, [alert], "", live=False)
    for command in ("driftline feedback", "driftline silence"):
        assert command not in plain
        assert command not in page
        assert command in text(shown(alert))
        assert command in alert_page(alert, [alert], "")


def test_an_explanation_holds_the_figures_the_evidence_and_where() -> None:
    alert = amount()
    (signal,) = alert.signals
    lines = shown(alert, allowed="one false alarm in 1,000,000 events", verbose=True)
    words = text(lines)
    plain = text(shown(alert))
    assert [each for each in ("nats", "PSI", "Jensen", "Kolmogorov", "offset") if each in plain] == []
    assert "size of the change" in plain
    for answer in ("--real", "--false"):
        assert f"driftline feedback {alert.incident_id} {answer} -c driftline.yaml" in plain
    for part in (
        "FIRING fraud: amount mean",
        f"incident {alert.incident_id}",
        f"since {signal.since}, in {signal.events:,} events, compared with the baseline",
        f"{signal.evidence_nats:.1f} nats",
        "at most one false alarm in 1,000,000 events",
        "Jensen-Shannon distance",
        "very large",
        "partition first offset end offset offsets",
        f"0 {signal.offsets[0].start:,} {signal.offsets[0].end:,} {signal.events:,}",
    ):
        assert part in words
    before, after = ([line for line in lines if line.split()[:1] == [name]] for name in ("mean", "σ"))
    assert before
    assert after


def test_that_a_least_change_decided_is_said_where_it_did() -> None:
    (signal,) = amount().signals
    held = structs.replace(signal, change=structs.replace(signal.change, least=0.05))
    assert "have changed by less than 5 %, which pages nobody (signals.rules)" in verdict(held)
    assert "signals.rules" not in verdict(signal)


def test_bars_stand_under_each_other_and_fill_the_scale() -> None:
    lines = shown(amount())
    first = next(i for i, line in enumerate(lines) if "share of events" in line)
    rows = lines[first + 1 : first + 11]
    assert {line.count("%") for line in rows} == {2}
    percents = {tuple(i for i, character in enumerate(line) if character == "%") for line in rows}
    assert len(percents) == 1
    assert "█" * 18 in rows[-1], "the largest share fills its column"
    assert max(map(len, lines)) <= 80


@given(st.floats(0.1, 600), st.floats(0.1, 600))
def test_the_verdict_says_how_often_chance_would_do_as_much(evidence_nats: float, threshold: float) -> None:
    says = verdict(ReadSignal(evidence_nats=evidence_nats, threshold_nats=threshold, test="ks"))
    assert says.startswith("Kolmogorov-Smirnov")
    assert "nats" not in says


@pytest.mark.parametrize(
    ("nats", "one_in"), [(0.0, "1"), (2.303, "10"), (13.8155, "1,000,000"), (15.6, "6,000,000"), (100.0, "10^43")]
)
def test_evidence_is_shown_as_a_chance(nats: float, one_in: str) -> None:
    assert f"one of {one_in} such windows" in verdict(ReadSignal(evidence_nats=nats, threshold_nats=1.0))


def test_a_verdict_says_which_times_the_events_are_compared_with() -> None:
    says = verdict(ReadSignal(test="level", cycle=ReadCycle(48, "Europe/Berlin")))
    assert "at the same half hour of the day (Europe/Berlin)." in says
    assert "at the same phase, one of 96 (UTC)." in verdict(ReadSignal(test="level", cycle=ReadCycle(96, "UTC")))
    assert "at the same" not in verdict(ReadSignal(test="level"))


def test_an_explanation_of_rare_values_says_how_to_find_the_group_of_one_and_shows_shares_once() -> None:
    profile = ReadProfile(500, {}, {"known values": 0.6, "group 13 of 32": 0.06})
    signal = ReadSignal(name="features.shop (rare)", test="chi2", change=ReadChange(before=profile, after=profile))

    assert "Rare values of features.shop are counted in groups" in verdict(signal)
    assert "zlib.crc32(value[:1000].encode()) % 32 + 1" in verdict(signal)
    assert [row.name for row in figures(signal)] == ["events"]


def test_a_verdict_says_that_slopes_are_provisional() -> None:
    says = "Until 15,000 live events have shown how they depend on each other, 20 count for one, and only large"
    assert says in verdict(ReadSignal(test="level", change=ReadChange(provisional=True)))
    assert says not in verdict(ReadSignal(test="level"))


def test_a_verdict_says_whether_its_threshold_supposes_independent_events() -> None:
    proven, measured = (verdict(ReadSignal(evidence_nats=20, threshold_nats=14, test=test)) for test in ("bets", "ks"))
    assert proven.startswith("An e-detector bets that ranks and shares have moved")
    assert "supposes that its events are independent" in proven
    assert "the dependence between its events" in measured


def test_a_verdict_of_an_unknown_test_names_it() -> None:
    assert verdict(ReadSignal(test="wavelet")) == "The test is wavelet."
    assert verdict(ReadSignal(test="{x}{0}")) == "The test is {x}{0}."
    assert verdict(ReadSignal(test="rate", code="nan")) == "An exact tail bound compares one share: NaN."
    assert "its own past" in verdict(ReadSignal(test="adwin", against="past"))


def test_figures_show_of_either_side_only_what_it_has() -> None:
    before = ReadProfile(9000, {"missing": 0.25}, {"at": 0.75}, mean=1.5)
    signal = ReadSignal(change=ReadChange(before=before, after=ReadProfile(50, {"nan": 1.0})))
    assert [tuple(row) for row in figures(signal)] == [
        ("events", "9,000", "50"),
        ("mean", "1.5", ""),
        ("missing", "25 %", "0 %"),
        ("NaN", "0 %", "100 %"),
        ("most common", "at 75 %", ""),
    ]
    assert remark(signal) == "From 50 events, effect sizes come out too large by chance."
    assert effects(ReadSignal()) == []


def test_bins_are_shares_of_all_events_and_their_edges_are_distinct() -> None:
    histogram = ReadHistogram([1.00001, 1.00002], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0])
    change = ReadChange(before=ReadProfile(10), after=ReadProfile(10, {"missing": 0.4}), histogram=histogram)
    drawn = picture(ReadSignal(change=change))
    assert drawn is not None
    assert drawn.labels == ("≤ 1.00001", "1.00001 – 1.00002", "> 1.00002", "missing")
    assert drawn.before == (0.5, 0.3, 0.2, 0.0)
    assert drawn.after == (0.0, 0.0, 0.6, 0.4)


def test_values_are_drawn_with_all_others_together() -> None:
    before, after = ReadProfile(9, values={"a": 0.5, "b": 0.2}), ReadProfile(9, {"unseen": 0.1}, {"c": 0.6})
    drawn = picture(ReadSignal(change=ReadChange(before=before, after=after)))
    assert drawn is not None
    assert drawn.labels == ("a", "b", "c", "all others", "unseen values")
    assert drawn.before == (0.5, 0.2, None, pytest.approx(0.3), 0.0)
    assert drawn.after == (None, None, 0.6, pytest.approx(0.3), 0.1)


@pytest.mark.parametrize("edges", [[], [1.0], [1.0, 2.0, 3.0, 4.0]])
def test_a_histogram_that_does_not_fit_its_edges_is_not_drawn(edges: list[float | None]) -> None:
    assert (
        picture(ReadSignal(change=ReadChange(histogram=ReadHistogram(edges, [0.5, 0.3, 0.2], [0.0, 0.0, 1.0])))) is None
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (11_520, "3 h 12 min"), (90_000, "1 d 1 h")]
)
def test_durations(seconds: int, text: str) -> None:
    assert duration_text(NOW, NOW + timedelta(seconds=seconds)) == text


def test_an_incident_that_begins_by_a_clock_ahead_has_lasted_no_time() -> None:
    alert = ReadAlert("x", starts_at=NOW + timedelta(hours=3))
    assert as_row(ListedIncident.of(alert, []), NOW)["seconds"] == 0
    assert as_row(ListedIncident.of(alert, []), NOW + timedelta(hours=4))["seconds"] == 3600


def test_commands_end_with_the_alert_and_are_quoted() -> None:
    replay = "driftline replay kafka://p -c driftline.yaml --from 2026-01-01T00:00:00.000Z"
    alert = ReadAlert("x", component="my model; rm -rf ~", emitted_at=NOW, commands=["driftline explain x", replay])
    assert replay_command(alert) == f"{replay} --to 2026-01-02T00:01:00Z"
    assert replay_command(ReadAlert("x", commands=[replay])) == replay
    assert replay_command(ReadAlert("x")) == ""
    assert "--match 'model=my model; rm -rf ~' --for" in silence_command(alert)


def test_an_alert_of_a_topic_names_it_as_one_and_silences_it() -> None:
    topic = {"topic": "predictions", "signal": "rejected"}
    alert = ReadAlert("x", component="predictions", emitted_at=NOW, kind="schema", labels=topic)
    assert re.search(r"^ *topic +predictions *$", "\n".join(shown(alert)), re.MULTILINE)
    assert "model  " not in "\n".join(shown(alert))
    assert "--match topic=predictions --for" in silence_command(alert)


# Whatever an alert holds


def test_the_course_names_every_alert_of_the_incident_and_says_what_is_missing() -> None:
    fired, over = (read_alert(encode_alert(each)) for each in incident(["features.amount"]))
    lines = text(shown(fired, incident=[fired, over]))
    assert "History of the incident" in lines
    assert "no longer drifting" in lines
    assert "earlier alerts are missing" not in lines
    assert "earlier alerts are missing" in text(shown(over, incident=[over]))


@WIDTHS
def test_names_and_values_of_the_traffic_are_text_and_no_markup(width: int) -> None:
    change = {
        "headline": "[/b] \x1b[31m 0 % → 9 %",
        "before": {"values": {"[/i]": 1.0}},
        "after": {"values": {"\x07": 1}},
    }
    raw = made(
        title="[/x] drifts",
        component="[bold]m",
        commands=["driftline replay '[/c]'"],
        links=["https://[/l]", {"href": "https://wiki"}],
        evidence={"signals": [evidence(ODD, change=change)], "likely_origin": ["[/o]"]},
    )
    lines = shown(read_alert(raw), width)
    words = text(lines)
    for part in (
        "[/x] drifts",
        "[bold]m",
        "[/b]",
        "[/i]",
        "[/c]",
        "https://[/l]",
        "https://wiki",
        "[/o]",
        "[/b][red]odd",
    ):
        assert part in words
    assert not set("\x1b\x07") & set(words)
    assert max(map(len, lines)) <= width


@WIDTHS
@pytest.mark.parametrize("count", [0, 1, 40])
def test_any_number_of_signals_is_explained(width: int, count: int) -> None:
    long = "features." + "customer_account_balance_" * 8
    signals = [evidence(f"{long}{i}", evidence_nats=30.0 + i) for i in range(count)]
    lines = shown(read_alert(made(title="t" * 130, description="d", evidence={"signals": signals})), width)
    assert max(map(len, lines)) <= width
    assert sum("customer" in line for line in lines) >= count
    assert ("Description" in lines) == (count == 0)


def test_a_relays_page_of_several_incidents_names_them() -> None:
    """Its evidence is another one: members instead of signals, and who may have been the origin."""
    rules = GroupingRules(group_wait=5, outage_models=3, outage_window=600)
    outage = pages(rules, "fraud", "churn", "ltv", "mail")
    cascade = pages(GroupingRules(group_wait=5, upstream=upstream({"churn": ["fraud"]})), "fraud", "churn")
    for page, models in ((outage, ("fraud", "churn", "ltv", "mail")), (cascade, ("churn",))):
        words = text(shown(read_alert(page), 120))
        assert "Incidents on this page" in words
        for model in models:
            assert f"{model} open" in words
    assert "likely origin fraud" in words


def pages(rules: GroupingRules, *models: str) -> bytes:
    """The one page that a relay tells when these models drift at once."""
    records = [
        (cloud_event(1, incident=model, key=model), RecordPosition("alerts", 0, i)) for i, model in enumerate(models)
    ]
    notifications = decide(Notifications().receive(records, 1000.0), rules, lambda _: False, 1010.0)
    (name,) = notifications.due(lambda _: False)
    return page_of(notifications, name, rules, 1010.0).raw


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 10**9)
shares = st.dictionaries(st.text(max_size=30) | st.sampled_from(["missing", "nan"]), numbers, max_size=5)
profiles = st.fixed_dictionaries(
    {},
    optional={
        "events": st.integers(0, 10**12),
        "special": shares,
        "values": shares,
        **dict.fromkeys(("mean", "deviation", "low", "high"), numbers),
    },
)
histograms = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("edges", "before", "after"), st.lists(numbers, max_size=4))
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "headline": st.text(max_size=60),
        "before": profiles,
        "after": profiles,
        "histogram": st.none() | histograms,
        **dict.fromkeys(("psi", "jensen_shannon", "distance", "wasserstein"), numbers),
    },
)
places = st.integers(0, 2**60)
signals = st.fixed_dictionaries(
    {},
    optional={
        "signal": st.text(max_size=300),
        "class": st.text(max_size=30),
        "test": st.sampled_from(["ks", "rate"]) | st.text(max_size=30),
        "code": st.none() | st.just("missing") | st.text(max_size=30),
        "against": st.text(max_size=30),
        "since": st.text(max_size=30),
        "evidence_nats": numbers,
        "threshold_nats": numbers,
        "change": changes,
        "offsets": st.lists(st.fixed_dictionaries({"partition": places, "start": places, "end": places}), max_size=3),
    },
)
odd_alerts = st.fixed_dictionaries(
    {},
    optional={
        "incident_id": st.text(max_size=20),
        "status": st.sampled_from(["firing", "updated", "resolved"]),
        "resolution": st.none() | st.text(max_size=20),
        "title": st.text(max_size=200),
        "description": st.text(max_size=200),
        "severity": st.text(max_size=10),
        "emitted_at": st.none() | st.just("2026-01-01T00:00:00.5+05:00"),
        "starts_at": st.none() | st.just("2025-12-31T23:00:00Z"),
        "labels": st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
        "evidence": st.fixed_dictionaries(
            {}, optional={"signals": st.lists(signals, max_size=3), "version": st.none() | st.text(max_size=9)}
        ),
    },
)


@given(odd_alerts, st.sampled_from([60, 80, 120]))
def test_whatever_an_alert_holds_it_is_explained_and_listed(fields: dict[str, Any], width: int) -> None:
    alert = read_alert(made(**fields))
    own = console(width)
    print_explanation(own, alert, [alert], "one false alarm in 1,000,000 events")
    print_incidents(own, [ListedIncident.of(alert, [alert], "firing")], NOW)
    assert alert.id in "".join(printed(own))
    assert "".join(printed(own)).isprintable()


# The list


def test_open_incidents_come_first_then_the_worst_then_the_oldest() -> None:
    def one(name: str, status: str, severity: str, day: int) -> ListedIncident:
        alert = ReadAlert(name, status=status, severity=severity, starts_at=datetime(2026, 1, day, tzinfo=UTC))  # type: ignore[arg-type]
        return ListedIncident.of(alert, [])

    incidents = [
        one("past", "resolved", "critical", 1),
        one("young", "updated", "error", 3),
        one("strange", "firing", "unheard of", 1),
        one("old", "firing", "error", 2),
        one("mild", "firing", "info", 1),
    ]
    assert [each.newest.id for each in sorted(incidents, key=lambda each: each.rank)] == [
        "old",
        "young",
        "mild",
        "strange",
        "past",
    ]


def test_an_incident_lists_the_signals_of_all_its_alerts_as_they_were_last() -> None:
    first = read_alert(
        made(id="a", incident_id="i", evidence={"signals": [evidence("x", evidence_nats=30), evidence("y")]})
    )
    other = read_alert(made(id="b", incident_id="j", evidence={"signals": [evidence("z")]}))
    update = read_alert(made(id="c", incident_id="i", evidence={"signals": [evidence("x", evidence_nats=99)]}))
    listed = ListedIncident.of(update, [update, other, first])
    assert [(each.name, each.evidence_nats) for each in listed.signals] == [("x", 99), ("y", 40)]


# The picture


@pytest.mark.parametrize("count", [1, 2, 7, 12, 15])
def test_a_picture_has_a_panel_for_each_of_the_strongest_signals(count: int, tmp_path: Path) -> None:
    histogram = {"edges": [1.0], "before": [0.5, 0.5], "after": [0.0, 1.0]}
    odd = ["features.$x^2$", ODD, "金額 😀", "n" * 300]
    signals = [evidence(odd[i % 4], evidence_nats=30 + i, change={"histogram": histogram}) for i in range(count)]
    alert = read_alert(made(title="$" * 130, evidence={"signals": signals}))
    assert plot(alert, tmp_path / "a.png") == min(count, MAX_PANELS)
    png = (tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    assert 900 < width < 2500
    assert 400 < height < 2000


@given(odd_alerts)
@settings(max_examples=20)
def test_whatever_an_alert_holds_it_is_drawn(fields: dict[str, Any]) -> None:
    alert = read_alert(made(**fields))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        assert plot(alert, path) == sum(picture(signal) is not None for signal in alert.signals)
        assert path.exists() == any(map(picture, alert.signals))


def test_what_holds_no_figures_is_not_drawn(tmp_path: Path) -> None:
    assert plot(read_alert(made(evidence={"signals": [evidence()]})), tmp_path / "a.png") == 0
    assert not (tmp_path / "a.png").exists()
