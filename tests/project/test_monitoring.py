"""What watches Driftline itself: Prometheus rules, a Grafana dashboard, units of systemd. Each is held to the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from driftline.stream.cli.commands import COMMANDS
from driftline.stream.ops.http import register_waits
from driftline.stream.relay.metrics import registry_of
from driftline.stream.retry import Waits
from driftline.stream.worker.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES, CASES = (ROOT / "deploy/prometheus" / name for name in ("driftline.rules.yaml", "driftline.test.yaml"))
DASHBOARD = ROOT / "deploy/grafana/driftline.json"
UNITS = sorted((ROOT / "deploy/systemd").iterdir())
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""], "info": ["_info"]}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def served() -> Iterator[str]:
    """The names of all metrics of workers and relays, as Prometheus stores them."""
    waiting = CollectorRegistry()
    register_waits(waiting, Waits())
    relay = registry_of(SimpleNamespace(healthy=True, sent_at=0.0, dispatchers=()))
    for registry in (Metrics().registry, relay, waiting):
        for family in registry.collect():
            yield from (family.name + suffix for suffix in SUFFIXES[family.type])


def test_workers_and_relays_say_which_version_runs_and_what_it_takes() -> None:
    relay = registry_of(SimpleNamespace(healthy=True, sent_at=0.0, dispatchers=()))
    for registry in (Metrics().registry, relay):
        assert registry.get_sample_value("driftline_build_info", {"version": version("driftline")}) == 1
        assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 10e6
        assert (registry.get_sample_value("process_cpu_seconds_total") or 0) > 0


def promtool(*arguments: str | Path) -> str:
    binary = shutil.which("promtool")
    if not binary:
        pytest.skip("promtool isn't on the PATH: apt-get install prometheus")
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("expressions", [[rule["expr"] for rule in alerts()], queries()], ids=["rules", "dashboard"])
def test_every_metric_that_is_asked_for_is_one_that_workers_or_relays_have(expressions: Iterable[str]) -> None:
    used = {name for each in expressions for name in re.findall(r"\bdriftline_\w+", each)}

    assert len(used) >= 10
    assert used <= set(served())


def test_every_alert_says_what_to_do_and_where_that_is_written() -> None:
    text = (ROOT / "docs/DEPLOY.md").read_text()
    sections = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall("^##+ (.*)", text, re.MULTILINE)
    }

    for alert in alerts():
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        page, _, section = alert["annotations"]["runbook"].partition("#")
        assert (page, section in sections) == ("docs/DEPLOY.md", True), alert["alert"]


def test_every_alert_has_a_case_in_which_it_fires_and_all_are_silent_while_all_is_well() -> None:
    cases = CASES.read_text()

    for alert in alerts():
        assert re.search(rf'{alert["alert"]}"?.*firing|alertname: {alert["alert"]}', cases), alert["alert"]
    promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"query:{index}", "expr": query} for index, query in enumerate(queries())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "queries.yaml")


def test_the_panels_of_the_dashboard_do_not_cover_each_other_and_say_what_they_show() -> None:
    places = [panel["gridPos"] for panel in panels()]

    assert len({panel["id"] for panel in panels()}) == len(places)
    assert all(panel["description"].endswith(".") for panel in panels())
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_there_is_and_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    command = re.search(r"^ExecStart=/opt/driftline/bin/driftline (\w+)", text, re.MULTILINE)
    assert command
    assert command[1] in COMMANDS
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze isn't on the PATH: apt-get install systemd")
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(text.replace("/opt/driftline/bin/driftline", "/bin/true"))

    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
