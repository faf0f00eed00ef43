"""`driftline serve` as a process beside a worker: what it shows, when, and to whom."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.timeline import OUTCOME, pack_stretch, unpack_table
from driftline.stream.demo.servers import Server
from driftline.stream.judge.timeline import Stretch
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import baseline_of, messages
from load_tests.harness.tcp_proxy import TcpProxy
from tests.harness import labelled
from tests.harness.brokers import Broker
from tests.harness.topic_tools import driftline

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
# Events, one a second: the drift recovers some 200 after its end and is resolved 300 later.
COUNT, DRIFT, END = 1600, 600, 900


def deployment(
    broker: Broker, redis: str, directory: Path, known: Baseline | None = None, **of_model: object
) -> Deployment:
    (directory / "fraud.driftline").write_bytes(encode_baseline(known or baseline_of("fraud")))
    sections = {
        "topics": {"retention_hours": None},
        "panes": {"events": 50, "seconds": None},
        "models": {"fraud": {"baseline": "fraud.driftline", **of_model}},
        "serve": {"http": "127.0.0.1:0"},
    }
    return deploy(directory, broker, redis, sections)


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path) -> Deployment:
    return deployment(broker, redis_server.address, tmp_path)


@pytest.fixture
def drift() -> list[bytes]:
    return messages("fraud", COUNT, drift=(DRIFT, END), step=1000)


class Changes:
    """Listens to /changes in a thread."""

    def __init__(self, address: str) -> None:
        self.times: list[float] = []
        self._answer = urllib.request.urlopen(f"http://{address}/changes", timeout=60)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self._answer:
            if line.startswith(b"data:"):
                self.times.append(time.time())

    def close(self) -> None:
        """Wait for the end, which comes when the server stops."""
        self._thread.join(30)
        self._answer.close()
        assert not self._thread.is_alive()


def test_an_incident_shows_within_two_seconds_of_its_alert_and_its_end_too(
    here: Deployment, drift: list[bytes]
) -> None:
    with here.worker() as worker, here.pages() as pages:
        pages.wait_for(lambda: "No incident is open." in pages.get("/").body)
        news = Changes(pages.address)
        here.produce({0: drift[:END]})
        pages.wait_for(lambda: "1 incident is open: fraud." in pages.get("/").body)
        shown = time.time()
        (fired,) = (each["data"] for each in here.alerts())
        published = next(record.timestamp / 1000 for record in here.read(here.config.topics.alerts))
        assert shown - published < 2.0 + 1.0, "s; a second of them is the test's own polling on a busy machine"
        assert any(each > published - 1.0 for each in news.times)

        page = pages.get(f"/incidents/{fired['incident_id']}")
        assert page.status == 200
        for part in (
            fired["title"],
            "Before and after",
            "driftline silence add",
            fired["id"],
            'href="/models?name=fraud"',
        ):
            assert part in page.body, part
        assert pages.get(f"/incidents/{fired['id'][:6]}").body == page.body, "the beginning of an id will do"
        assert "Values over time" in page.body
        model_page = pages.get("/models?name=fraud").body
        assert "fraud: 1 open incident" in model_page
        assert "Each square is 2 hours" in model_page
        assert pages.get("/models?name=fraud&signal=features.amount").status == 200
        assert pages.get("/models?name=fraud&signal=features.none").status == 404
        assert pages.get("/models?name=fraud&span=1y").status == 400
        driftline("explain", fired["id"], "-c", here.path, "--report", here.path.parent / "one.html")
        assert "Values over time" in (here.path.parent / "one.html").read_text("utf-8")
        counted = json.loads(pages.get("/api/signals?name=fraud&span=2d").body)
        assert sum(each["events"] for each in counted if each["signal"] == "features.amount") == END
        assert pages.get("/api/signals?name=nobody").status == 404
        (row,) = json.loads(pages.get("/api/incidents").body)
        assert (row["state"], row["incident_id"]) == ("open", fired["incident_id"])
        assert json.loads(pages.get(f"/api/incidents/{fired['id']}").body)["data"] == fired
        pages.wait_for(lambda: "▲</span> 1 incident" in pages.get("/").body)
        (model,) = json.loads(pages.get("/api/models").body)
        assert (model["model"], model["open_incidents"]) == ("fraud", 1)

        here.produce({0: drift[END:]})
        pages.wait_for(lambda: "No incident is open." in pages.get("/").body)
        assert "recovered" in pages.get("/").body
        assert worker.stop() == 0
        assert pages.stop() == 0
        news.close()


def test_the_json_is_that_of_the_commands(
    here: Deployment, drift: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    here.produce({0: drift})
    with here.worker() as worker:
        worker.wait_for(lambda: len(here.alerts()) == 2)
        assert worker.stop() == 0
    with here.pages() as pages:
        for command, path in ((("incidents", "--past"), "/api/incidents"), (("models",), "/api/models")):
            driftline(*command, "--json", "-c", here.path)
            printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            answered = json.loads(pages.get(path).body)
            for row in (*printed, *answered):
                row.pop("seconds", None)  # how long an incident has been open is a matter of when one asks
            assert answered == [row for row in printed if row.get("state") != "unwatched"]


def test_what_is_not_there_or_no_id_is_answered_in_words(here: Deployment) -> None:
    with here.pages() as pages:
        assert pages.get("/incidents/0000dead") == (404, "no alert and no incident has this id\n")
        assert pages.get("/incidents/abc").status == 400
        assert pages.get("/incidents/%3Cscript%3E").status == 400
        assert pages.get("/models?name=%3Cscript%3E") == (404, "no worker remembers a model <script>\n")
        assert pages.get("/?first=-1").status == 400
        assert pages.get("/favicon.ico").status == 404


def test_only_reading_is_possible_and_only_under_our_own_name(here: Deployment) -> None:
    with here.pages() as pages:
        answer = pages.get("/")
        assert answer.status == 200
        assert "default-src &#39;none&#39;" in answer.body
        assert pages.get("/", Host="evil.example").status == 421
        with here.store as client:
            before = sorted(client.keys(f"{here.config.worker.group}*"))
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            request = urllib.request.Request(f"http://{pages.address}/api/models", method=method)
            with pytest.raises(urllib.error.HTTPError, match="405") as refused:
                urllib.request.urlopen(request)
            refused.value.close()
        with here.store as client:
            assert sorted(client.keys(f"{here.config.worker.group}*")) == before


def test_with_a_token_everything_but_health_asks_for_it(here: Deployment) -> None:
    with here.pages(DRIFTLINE_SERVE_TOKEN="an-open-secret") as pages:
        for path in ("/", "/api/models", "/changes", "/incidents/0000dead", "/models?name=fraud"):
            assert pages.get(path).status == 401, path
        assert pages.get("/", Authorization="Bearer an-open-secret").status == 200
        for path in ("/health", "/live", "/ready"):
            assert pages.get(path).status == 200, path
        assert "an-open-secret" not in pages.logs()


def test_beyond_this_machine_it_does_not_start_without_a_token(here: Deployment) -> None:
    config = json.loads(here.path.read_text())
    here.path.write_text(json.dumps(config | {"serve": {"http": "0.0.0.0:0"}}))
    with here.pages() as pages:
        assert pages.process.wait(60) == 2
        assert "set the environment variable DRIFTLINE_SERVE_TOKEN" in " ".join(pages.logs().split())


def test_without_redis_it_shows_what_it_knew_and_goes_on_when_redis_is_back(
    broker: Broker, redis_server: Server, tmp_path: Path, drift: list[bytes]
) -> None:
    with TcpProxy(redis_server.port) as redis:
        redis.open()
        here = deployment(broker, redis.address, tmp_path)
        here.produce({0: drift[:END]})
        with here.worker() as worker:
            worker.wait_for(lambda: len(here.alerts()) == 1)
            assert worker.stop() == 0
        with here.pages() as pages:
            assert "1 incident is open: fraud." in pages.get("/").body
            for away in (redis.close, redis.freeze):
                away()
                pages.wait_for(lambda: {"incidents", "topics"} <= unreadable(pages).keys())
                page = pages.get("/")
                assert page.status == 503
                assert [pages.get(path).status for path in ("/health", "/live", "/ready")] == [503, 200, 200]
                assert "<b>Incidents cannot be read</b> since" in page.body
                assert "1 incident is open: fraud." in page.body
                redis.open()
                pages.wait_for(lambda: pages.get("/health").status == 200)
                assert "cannot be read" not in pages.get("/").body


def unreadable(pages: WorkerProcess) -> dict[str, str]:
    return dict(json.loads(pages.get("/health").body)["unreadable"])


def test_what_it_cannot_read_of_one_model_or_alert_is_said_and_hides_no_other(
    here: Deployment, drift: list[bytes]
) -> None:
    here.produce({0: drift[:END]})
    with here.worker() as worker:
        worker.wait_for(lambda: len(here.alerts()) == 1)
        assert worker.stop() == 0
    judge = f"{here.config.worker.group}:{{judge/{here.config.topics.panes}/0}}"
    with here.store as client:
        client.hset(f"{judge}:open", "newer", b'{"data": {"id": 5}}')
        seen = client.hget(f"{judge}:seen", "fraud")
        client.hset(f"{judge}:seen", "fraud", "abc")
    with here.pages() as pages:
        pages.wait_for(lambda: unreadable(pages).keys() == {"models"})
        shown = pages.get("/").body
        assert "1 incident is open: fraud." in shown
        assert "<b>Models cannot be read</b> since" in shown
        assert "alerts left out</th><td>1</td><td>this version cannot read them" in shown
        with here.store as client:
            client.hset(f"{judge}:seen", "fraud", seen)
        pages.wait_for(lambda: unreadable(pages) == {})
        assert len(json.loads(pages.get("/api/models").body)) == 1


def with_labels(broker: Broker, redis: str, directory: Path) -> Deployment:
    """A deployment with 17 hours of labelled predictions on its topic, the last 8 of which are near to a coin."""
    known = labelled.baseline_of(labelled.messages(4000, seed=9))
    here = deployment(broker, redis, directory, known, outcomes={"labels": "event", "floors": {"accuracy": 0.7}})
    rows = [json.loads(each) for each in labelled.messages(3000, concept=lambda i: 0.9 if i >= 1500 else 0.0)]
    stretched = (row | {"ts": labelled.EPOCH + 20_000 * i} for i, row in enumerate(rows))
    here.produce({0: [json.dumps(row).encode() for row in stretched]})
    return here


def test_the_page_of_a_model_with_labels_says_how_right_it_is_and_was(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    here = with_labels(broker, redis_server.address, tmp_path)
    with here.worker() as worker, here.pages() as pages:
        worker.wait_for(lambda: any("floor.accuracy" in str(each) for each in here.alerts()))

        def section() -> str:
            page = pages.get("/models?name=fraud&span=2d").body
            return page[page.index('id="outcomes"') : page.index('id="past"')] if 'id="outcomes"' in page else ""

        pages.wait_for(lambda: 'class="drift"' in section())
        assert "for predictions like the newest ones." in section()
        assert "<dt>Labelled</dt><dd>100 %" in section()
        assert 'class="floor"' in section()
        assert 'class="expected"' in section()
        assert pages.get("/models?name=fraud&span=60d").status == 200

        def counted() -> list[dict[str, Any]]:
            return list(json.loads(pages.get("/api/outcomes?name=fraud&span=2d").body))

        pages.wait_for(lambda: sum(row["predictions"] for row in counted()) > 2000)
        rows = counted()
        assert sum(row["labelled"] for row in rows) == sum(row["predictions"] for row in rows)
        newest = rows[-1]["metrics"]["accuracy"]
        assert newest["low"] < newest["value"] < newest["high"] < rows[0]["expected"]
        assert "recall@fraud" in rows[0]["metrics"]
        assert pages.get("/api/outcomes?name=nobody").status == 404
        assert worker.stop() == 0
        damage_outcomes(here)
        page = pages.get("/models?name=fraud&span=7d")
        assert page.status == 200
        assert 'id="outcomes"' not in page.body
        assert 'id="signals"' in page.body, "the signals beside them are drawn all the same"


def damage_outcomes(here: Deployment) -> None:
    """Let an hour of outcomes in Redis have a cell that its layout does not have."""
    key = f"{here.config.worker.group}:{{judge/{here.config.topics.panes}/0}}:model:fraud"
    with here.store as client:
        name = next(each for each in client.hkeys(key) if each.startswith(f"{OUTCOME}hour:".encode()))
        table = unpack_table(client.hget(key, name))
        table.cells[0, -1] = 10**6
        client.hset(key, name, pack_stretch((Stretch(0, table),)))


def test_top_prints_once_where_no_terminal_is_and_fails_if_redis_cannot_be_read(
    here: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driftline("top", "-c", here.path) == 0
    assert "has judged anything yet." in " ".join(capsys.readouterr().out.split())
    config = json.loads(here.path.read_text())
    away = tmp_path / "away.yaml"
    away.write_text(json.dumps(config | {"redis": {"url": "redis://127.0.0.1:1/0"}}))
    assert driftline("top", "-c", away) == 2
    assert "incidents cannot be read: no answer within 5 s." in " ".join(capsys.readouterr().out.split())


def test_top_fails_if_kafka_cannot_be_read_however_long_it_takes_to_say_so(
    here: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and answers nothing
        kafka = {"kafka": {"bootstrap": f"127.0.0.1:{silent.getsockname()[1]}"}}
        away = tmp_path / "away.yaml"
        away.write_text(json.dumps(json.loads(here.path.read_text()) | kafka))
        assert driftline("top", "--json", "-c", away) == 2
    assert json.loads(capsys.readouterr().out)["unreadable"]["topics"] == "no answer within 6 s"


def test_without_the_password_of_redis_it_does_not_start(
    here: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "away.yaml"
    redis = {"redis": {"url": "redis://127.0.0.1:1/0", "password_env": "DRIFTLINE_TEST_NO_SUCH"}}
    away.write_text(json.dumps(json.loads(here.path.read_text()) | redis))
    for command in (("top",), ("top", "--json"), ("serve",)):
        assert driftline(*command, "-c", away) == 2
        *_, last = capsys.readouterr().err.splitlines()
        assert last == "error: redis.password_env: there is no environment variable DRIFTLINE_TEST_NO_SUCH"


def test_readers_that_leave_make_room_for_others(here: Deployment) -> None:
    with here.pages() as pages:
        for _ in range(600):  # more than may watch at a time
            urllib.request.urlopen(f"http://{pages.address}/changes", timeout=30).close()
        last = urllib.request.urlopen(f"http://{pages.address}/changes", timeout=30)
        assert last.status == 200
        last.close()


def test_an_alert_that_redis_no_longer_has_is_found_on_the_topic(here: Deployment, drift: list[bytes]) -> None:
    here.produce({0: drift})
    with here.worker() as worker:
        worker.wait_for(lambda: len(here.alerts()) == 2)
        assert worker.stop() == 0
    with here.store as client:
        client.delete(*client.scan_iter(match=f"{here.config.worker.group}*:told"))
    (fired, _) = (each["data"] for each in here.alerts())
    with here.pages() as pages:
        assert json.loads(pages.get("/api/incidents").body) == []
        assert fired["title"] in pages.get(f"/incidents/{fired['id']}").body
