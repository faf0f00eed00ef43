"""What the pages of `driftline serve` say, and in which order."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import ReadAlert, ReadChange, ReadSignal
from driftline.stream.baselines.unwatched import Why
from driftline.stream.codec.state import HeadFacts
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.serve.live import DeadLetters, Failure, Lag, Now
from driftline.stream.serve.pages import model_page, overview_page
from driftline.stream.state.level import Standing, WorkerReport
from driftline.stream.state.models import StoredModel

HOSTILE = "<script>alert('x')</script>&\"\u202e\x1b[31m"
AT = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()


def alert(number: int = 1, **more: Any) -> ReadAlert:
    values: dict[str, Any] = {
        "id": f"a{number:015x}",
        "incident_id": f"b{number:015x}",
        "component": "fraud",
        "severity": "warning",
        "title": f"fraud: amount mean {number}",
        "starts_at": datetime(2026, 6, 1, 9, number % 60, tzinfo=UTC),
    }
    return ReadAlert(**values | more)


def listed(number: int = 1, phase: str = "", signals: tuple[str, ...] = (), **more: Any) -> ListedIncident:
    found = [ReadSignal(name=name, change=ReadChange(headline="mean 1 → 2")) for name in signals]
    return ListedIncident(alert(number, **more), found, phase)


def model(
    name: str = "fraud", opened: int = 0, judged: int = 1234, sample: int = 0, learned: bool = True
) -> StoredModel:
    return StoredModel(
        name, 0, HeadFacts(sample=sample, learned=learned, judged=judged), int(1000 * AT) - 20_000, opened
    )


def text(page: str | None) -> str:
    """The words of a page."""
    assert page is not None
    return " ".join(re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL).split())


def overview(now: Now, **options: Any) -> str:
    return overview_page(now, Config(), AT, **options)


def test_without_an_incident_the_first_sentence_says_so() -> None:
    shown = text(overview(Now(at=AT, began=True, models=[model()])))

    assert "No incident is open. 1 model, the newest traffic 20 s ago." in shown
    assert "fraud ✓ as usual learned 1,234 2026-06-01 11:59:40" in shown


def test_a_group_that_has_judged_nothing_does_not_look_healthy() -> None:
    assert "Nothing is known yet." in text(overview(Now()))
    assert "No worker of the group driftline has judged anything yet." in text(overview(Now(at=AT)))


def test_open_incidents_come_first_with_their_severity_start_length_and_owner() -> None:
    incidents = [
        listed(5, severity="critical", signals=("features.amount", "score"), owner="risk team"),
        listed(6, phase="recovering", component="churn", title="churn: age missing"),
        listed(
            7,
            status="resolved",
            resolution="recovered",
            ends_at=datetime(2026, 6, 1, 9, 9, tzinfo=UTC),
            signals=("score",),
        ),
    ]
    shown = text(overview(Now(at=AT, began=True, incidents=incidents)))

    assert "2 incidents are open: fraud, churn." in shown
    assert "▲ critical fraud: amount mean 5 since 2026-06-01 09:05:00 · 2 h 55 min" in shown
    assert "signals: features.amount, score · owner risk team" in shown
    assert "◆ warning churn: age missing since 2026-06-01 09:06:00 · 2 h 54 min · recovering" in shown
    assert "fraud: score mean 1 → 2 2026-06-01 09:07:00 2 min 0 s recovered" in shown
    assert shown.index("critical") < shown.index("churn: age") < shown.index("Resolved the newest")


def test_models_with_incidents_come_first_and_are_found_by_part_of_their_name() -> None:
    models = [*(model(f"m{i:03}") for i in range(250)), model("z-bad", opened=2)]
    now = Now(at=AT, began=True, models=models)
    first, second, some = overview(now), overview(now, first=200), overview(now, wanted="Z-")

    assert text(first).index("z-bad ▲ 2 incidents") < text(first).index("m000")
    assert 'href="/?model=&amp;first=200#models"' in first
    assert "m249" in second
    assert "m100" not in second
    assert "Further models" not in second
    assert "1 model Name contains" in text(some)
    assert text(some).count("z-bad") == 1
    assert "m000" not in text(some)
    assert "No model has such a name." in text(overview(now, wanted="nobody"))


def test_what_was_not_judged_or_not_lately_is_not_called_as_usual() -> None:
    old = StoredModel("old", 0, HeadFacts(learned=True, judged=5), int(1000 * (AT - 3 * 86_400)), 0)
    shown = text(overview(Now(at=AT, began=True, models=[model("new", judged=0), old])))

    assert "new … nothing judged yet" in shown
    assert "old ○ no traffic lately" in shown
    assert "as usual" not in shown


def test_a_page_beyond_the_last_model_shows_the_first_ones() -> None:
    assert "fraud ✓ as usual" in text(overview(Now(at=AT, began=True, models=[model()]), first=200))


def test_the_title_says_no_more_than_is_known() -> None:
    for now, title in (
        (Now(), "Nothing is known yet"),
        (Now(at=AT), "No worker of the group driftline has judged anything yet"),
        (Now(at=AT, began=True), "No incident is open"),
        (Now(at=AT, began=True, incidents=[listed()]), "1 open incident"),
    ):
        assert f"<title>{title}: Driftline</title>" in overview(now)


def test_a_model_of_any_name_has_its_page() -> None:
    name = "a/../b c?&#%"
    now = Now(at=AT, began=True, models=[model(name)])

    assert 'href="/models?name=a/../b%20c%3F%26%23%25"' in overview(now)
    assert model_page(now, Config(), AT, name) is not None


def test_a_model_that_learns_says_how_far_it_is() -> None:
    learning = model(learned=False, sample=4_000, judged=0)

    assert "… learning 4,000 of 5,000 events" in text(overview(Now(at=AT, began=True, models=[learning])))


def test_a_server_that_is_away_is_named_and_what_was_known_stays() -> None:
    now = Now(
        at=AT - 300, began=True, incidents=[listed()], failures={"incidents": Failure(AT - 290, "Connection refused")}
    )
    shown = text(overview(now))

    assert "Incidents cannot be read since 2026-06-01 11:55:10: Connection refused." in shown
    assert "fraud: amount mean 1" in shown
    assert "Redis answered 5 min ago" in shown


def test_driftline_itself_shows_lag_dead_letters_and_workers() -> None:
    report = WorkerReport(AT, "host-1", "1.2.3", 2)
    now = Now(
        at=AT,
        began=True,
        standing=Standing(AT, 2, [report], []),
        lags=[Lag("predictions", "counted", 12_345, 4)],
        dead_letters=[DeadLetters("predictions.dlq", 7), DeadLetters("driftline.panes.dlq", 0)],
        unwatched=[Unwatched("fraud", "device", Why.NAME, "came in 9 of 10 events")],
    )
    shown = text(overview(now))

    assert "records not yet counted 12,345 predictions, 4 partitions" in shown
    assert "dead letters 7 predictions.dlq" in shown
    assert "driftline.panes.dlq" not in shown
    assert "workers 1 host-1 (1.2.3) format level 2" in shown
    assert "fraud device came in 9 of 10 events" in shown


def test_a_model_has_a_page_of_its_own() -> None:
    config = parse_config("models: {fraud: {false_alarms_per_event: 1.0e-7}}", "x.yaml")
    other = listed(2, component="churn", title="churn: other")
    now = Now(at=AT, began=True, models=[model(opened=1)], incidents=[listed(), other])
    shown = text(model_page(now, config, AT, "fraud"))

    assert "fraud: 1 open incident" in shown
    assert "fraud: amount mean 1" in shown
    assert "churn" not in shown
    assert "Allowed one false alarm in 10,000,000 events had nothing changed" in shown
    assert model_page(now, config, AT, "nobody") is None


def test_names_and_texts_from_traffic_are_shown_and_do_nothing() -> None:
    now = Now(
        at=AT,
        began=True,
        models=[model(HOSTILE)],
        incidents=[listed(component=HOSTILE, title=HOSTILE, phase=HOSTILE, owner=HOSTILE, signals=(HOSTILE,))],
        failures={"models": Failure(AT, HOSTILE)},
        unwatched=[Unwatched(HOSTILE, HOSTILE, Why.NAME, HOSTILE)],
    )
    for page in (overview(now, wanted=HOSTILE), model_page(now, Config(), AT, HOSTILE)):
        assert page is not None
        assert page.count("<script>") == 1, "only our own"
        assert "alert('x')" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
