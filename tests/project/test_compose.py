"""docker-compose.yml and its configuration: checked without Docker, and run for real as far as that goes."""

from __future__ import annotations

import asyncio
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from typer.testing import CliRunner

from driftline.stream.cli.main import app
from driftline.stream.config import load as configuration
from driftline.stream.demo.servers import Server, ServerError, embedded_redis, free_port
from driftline.stream.state.client import ServerFinding, check_server, connect
from load_tests.harness.servers import kafka_jars

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse"
DEPLOY = "/etc/driftline/"  # where the containers see the folder deploy/

# A variable of a service is one that its image's documentation names:
#   kafka   docker/examples/README.md of Kafka: CLUSTER_ID, and any broker setting in capitals, with KAFKA_ before
#           it and _ for its dots; the settings are those of https://kafka.apache.org/documentation/#brokerconfigs
#   valkey  https://valkey.io/topics/cli, -a; the older name, which valkey-cli reads in every version
#   worker  our own configuration: redis.password_env
#   serve   that one, and serve.token_env
#   relay   redis.password_env, and those that relay.pagerduty, relay.slack and relay.webhook name
KAFKA_SETTINGS = {
    "node.id", "process.roles", "listeners", "advertised.listeners", "listener.security.protocol.map",
    "inter.broker.listener.name", "controller.listener.names", "controller.quorum.voters", "log.dirs",
    "auto.create.topics.enable", "offsets.topic.replication.factor", "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
}  # fmt: skip
VARIABLES = {
    "kafka": {"CLUSTER_ID"} | {f"KAFKA_{setting.upper().replace('.', '_')}" for setting in KAFKA_SETTINGS},
    "valkey": {"REDISCLI_AUTH"},
    "worker": {"REDIS_PASSWORD"},
    "serve": {"REDIS_PASSWORD", "DRIFTLINE_SERVE_TOKEN"},
    "relay": {"REDIS_PASSWORD", "PAGERDUTY_ROUTING_KEY", "SLACK_WEBHOOK_URL", "WEBHOOK_URL"},
}

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]+)\}")


def interpolated(text: str, **environment: str) -> str:
    """What Compose makes of `text`. Every variable is either required, ${NAME:?reason}, or has a default."""
    return VARIABLE.sub(lambda match: environment.get(match["name"]) or match["default"], text)


COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(interpolated(COMPOSE_TEXT, REDIS_PASSWORD=PASSWORD))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONFIG_TEXT = (ROOT / "deploy" / "driftline.compose.yaml").read_text()
CONFIG = configuration.parse_config(CONFIG_TEXT)
LISTENER = re.compile(r"(\w+)://([\w.]*):(\d+)")


def kafka_listeners(variable: str) -> dict[str, tuple[str, int]]:
    """Host and port by the listener's name."""
    listeners = LISTENER.findall(SERVICES["kafka"]["environment"][variable])
    return {name: (host, int(port)) for name, host, port in listeners}


def follows_the_specification(text: str, folder: Path) -> bool:
    (folder / "compose.yml").write_text(text)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    assert follows_the_specification(COMPOSE_TEXT, tmp_path)
    assert not follows_the_specification(COMPOSE_TEXT.replace("stop_grace_period", "stop_grace"), tmp_path)


def test_every_variable_is_explained_in_env_example() -> None:
    explained = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = {match["name"]: match["default"] or "" for match in VARIABLE.finditer(COMPOSE_TEXT)}
    assert used == explained
    assert explained["REDIS_PASSWORD"] == ""  # no password that everybody knows
    assert "${REDIS_PASSWORD:?" in COMPOSE_TEXT  # so Compose refuses to start without one
    assert "$" not in VARIABLE.sub("", COMPOSE_TEXT)


def test_every_service_gets_only_variables_that_its_image_knows() -> None:
    given = {name: set(service.get("environment", {})) for name, service in SERVICES.items()}
    assert {name: variables for name, variables in given.items() if variables} == VARIABLES


@pytest.mark.kafka
def test_the_start_script_of_kafka_s_image_takes_its_environment(tmp_path: Path) -> None:
    """The image makes its server.properties with this class, formats the log with it and then starts the broker."""
    environment = SERVICES["kafka"]["environment"] | {"KAFKA_LOG_DIRS": str(tmp_path / "data")}
    (tmp_path / "server.properties").touch()
    folders = [f"--{kind}-configs-dir={tmp_path}" for kind in ("default", "mounted", "final")]
    try:
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_jars()}/*", "kafka.docker.KafkaDockerWrapper"]
    except ServerError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    variables = {"PATH": os.environ["PATH"]} | {name: str(value) for name, value in environment.items()}
    made = subprocess.run([*command, "setup", *folders], env=variables, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    # It prints every setting that Kafka knows, with the value it has now.
    settings = dict(re.findall(r"^\t(\S+) = \[?(.*?)\]?$", made.stderr, re.MULTILINE))
    for setting in KAFKA_SETTINGS:
        expected = str(environment[f"KAFKA_{setting.upper().replace('.', '_')}"])
        assert settings[setting].replace(", ", ",") == expected


def test_kafka_is_reached_where_it_says_and_from_outside_by_this_machine_alone() -> None:
    listening, advertised = kafka_listeners("KAFKA_LISTENERS"), kafka_listeners("KAFKA_ADVERTISED_LISTENERS")
    assert advertised.keys() == {"INSIDE", "HOST"}
    host, port = advertised["INSIDE"]
    assert CONFIG.kafka.bootstrap == f"{host}:{port}"
    assert (host, port) == ("kafka", listening["INSIDE"][1])
    assert listening["CONTROLLER"][0] == "localhost"  # for the node itself
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    pages = f"127.0.0.1:6068:{CONFIG.serve.http.partition(':')[2]}"
    assert published == {
        "kafka": [f"127.0.0.1:{advertised['HOST'][1]}:{listening['HOST'][1]}"],
        "serve": [pages],
    }  # and nothing else


def test_dependencies_have_no_cycle_and_conditions_that_can_be_met() -> None:
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    order = list(TopologicalSorter(needs).static_order())
    assert order.index("topics") < order.index("worker") < order.index("demo")
    assert needs["worker"].keys() == needs["relay"].keys() == needs["serve"].keys() == {"kafka", "valkey", "topics"}
    for conditions in needs.values():
        for name, need in conditions.items():
            needed = SERVICES[name]
            assert "profiles" not in needed
            met = "service_healthy" if "healthcheck" in needed else "service_completed_successfully"
            assert need["condition"] == met
            assert ("restart" in needed) == (met == "service_healthy")  # what starts again never completes


@pytest.mark.parametrize("name", ["worker", "relay"])
def test_workers_can_be_scaled_start_again_and_have_time_to_stop(name: str) -> None:
    worker = SERVICES[name]
    assert not worker.keys() & {"container_name", "ports", "hostname"}
    assert worker["restart"] == "unless-stopped"
    assert int(worker["stop_grace_period"].removesuffix("s")) >= 15  # it leaves its group within 10


@pytest.mark.parametrize("name", SERVICES)
def test_services_run_with_as_little_as_they_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) == (name != "kafka")  # its start script writes beside its program
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "container_name"}
    assert "build" in service or re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", service["image"])


def test_data_lies_in_named_volumes() -> None:
    assert SERVICES["kafka"]["volumes"] == [f"kafka:{SERVICES['kafka']['environment']['KAFKA_LOG_DIRS']}"]
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]  # the image's working directory
    assert COMPOSE["volumes"].keys() == {"kafka", "valkey"}


def test_the_worker_s_configuration_is_right_and_agrees_with_the_services() -> None:
    assert configuration.check_config(CONFIG_TEXT) == []
    assert CONFIG.redis.url == "redis://valkey:6379/0"
    assert CONFIG.redis.password_env in SERVICES["worker"]["environment"]
    assert CONFIG.topics.replication == 1
    processes = {"worker": CONFIG.worker.http, "relay": CONFIG.relay.http, "serve": CONFIG.serve.http}
    for name, address in processes.items():
        host, port = address.split(":")
        assert host == "0.0.0.0"
        assert f'"127.0.0.1", {port}' in SERVICES[name]["healthcheck"]["test"][-1]
    secrets = (CONFIG.relay.pagerduty.routing_key_env, CONFIG.relay.slack.webhook_url_env, CONFIG.relay.webhook.url_env)
    assert {CONFIG.redis.password_env, *secrets} == VARIABLES["relay"]
    assert {CONFIG.redis.password_env, CONFIG.serve.token_env} == VARIABLES["serve"]
    assert f"--topic {CONFIG.topics.predictions} " in SERVICES["demo"]["command"][0]


@pytest.mark.parametrize("name", ["topics", "worker", "relay", "serve", "demo"])
def test_commands_are_ones_that_driftline_has(name: str) -> None:
    command = SERVICES[name]["command"]
    arguments = command[0].partition("driftline ")[2].split() if name == "demo" else command
    here = [each.replace(DEPLOY, f"{ROOT}/deploy/") for each in arguments]
    done = CliRunner().invoke(app, [*here, "--help"])  # parses all before it, and does nothing
    assert done.exit_code == 0, done.output
    assert SERVICES[name]["volumes"] == [f"./deploy:{DEPLOY.rstrip('/')}:ro"]
    assert all(Path(each).is_file() for each in here if each.startswith("/"))


def test_the_demo_s_traffic_drifts_where_it_says(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    script = SERVICES["demo"]["command"][0].split()[1].replace(DEPLOY, f"{ROOT}/deploy/")
    events.write_bytes(subprocess.run([sys.executable, script], capture_output=True, check=True).stdout)
    done = CliRunner().invoke(app, ["replay", str(events), "--verbose"])
    assert done.exit_code == 1
    assert "features.amount" in done.output
    assert "offset 8,000" in done.output
    assert "1 incident," in done.output


# ---- health checks, run


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What the service valkey runs, by the embedded binary."""
    folder, port = tmp_path_factory.mktemp("valkey"), free_port()
    binary, (name, *arguments) = embedded_redis(folder).command[0], SERVICES["valkey"]["command"]
    assert Path(binary).name == name
    command = [binary, *arguments, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with Server(name, command, port, folder / "log", listens) as server:
        yield server


def test_valkey_starts_as_the_worker_wants_it(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)

    async def findings() -> list[ServerFinding]:
        client = connect(CONFIG.redis.model_copy(update={"url": f"redis://{valkey.address}/0"}))
        try:
            return await check_server(client)
        finally:
            await client.aclose()

    assert asyncio.run(findings()) == []
    with redis.Redis(port=valkey.port, password=PASSWORD) as client:
        actual = client.config_get("append*", "save", "maxmemory-policy")
    kept = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
    assert kept.items() <= actual.items()
    assert valkey.process
    assert PASSWORD not in Path(f"/proc/{valkey.process.pid}/cmdline").read_text()  # it blots out its arguments


@pytest.fixture
def valkey_cli(tmp_path: Path) -> Path:
    """A folder with a valkey-cli that talks to the port in $PORT; redis-cli, its ancestor, will do."""
    program = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if program is None:
        pytest.skip("neither valkey-cli nor redis-cli is here; Debian has one in redis-tools")
    (tmp_path / "valkey-cli").write_text(f'#!/bin/sh\nexec {program} -p "$PORT" "$@"\n')
    (tmp_path / "valkey-cli").chmod(0o755)
    return tmp_path


def valkey_health(shell: str, folder: Path, port: int, environment: dict[str, str]) -> bool:
    path = f"{folder}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PORT": str(port), **environment}
    return subprocess.run(["/bin/sh", "-c", shell], env=variables, capture_output=True).returncode == 0


def test_valkey_is_healthy_only_with_the_right_password(valkey: Server, valkey_cli: Path) -> None:
    kind, check = SERVICES["valkey"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert valkey_health(check, valkey_cli, valkey.port, SERVICES["valkey"]["environment"])
    assert not valkey_health(check, valkey_cli, valkey.port, {"REDISCLI_AUTH": "wrong"})
    assert not valkey_health(check, valkey_cli, valkey.port, {})
    assert not valkey_health(check, valkey_cli, free_port(), SERVICES["valkey"]["environment"])
    # Why it reads the answer: the exit code of ping says nothing.
    assert valkey_health("valkey-cli ping", valkey_cli, valkey.port, {"REDISCLI_AUTH": "wrong"})


@contextmanager
def web_server(status: int) -> Iterator[int]:
    """Answers /health with `status`, anything else with 404. Yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def worker_health(name: str, port: int) -> bool:
    kind, program, *arguments, code = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    code = (
        code.replace("6066", str(port))
        .replace("6067", str(port))
        .replace("6068", str(port))
        .replace("timeout=4", "timeout=0.3")
    )
    return subprocess.run([sys.executable, *arguments, code], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["worker", "relay", "serve"])
def test_a_worker_is_healthy_only_when_it_says_so(name: str) -> None:
    for status, healthy in ((200, True), (503, False), (404, False)):
        with web_server(status) as port:
            assert worker_health(name, port) == healthy
    assert not worker_health(name, free_port())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not worker_health(name, silent.getsockname()[1])


def test_kafka_s_health_is_asked_where_the_workers_ask() -> None:
    kind, program, *options = SERVICES["kafka"]["healthcheck"]["test"]
    # Run by hand: kafka-topics.sh fails or times out when Kafka is down, frozen, or advertises a wrong address;
    # kafka-broker-api-versions.sh exits with 0 in the last case.
    assert (kind, program) == ("CMD", "/opt/kafka/bin/kafka-topics.sh")
    assert options == ["--bootstrap-server", CONFIG.kafka.bootstrap, "--list"]
