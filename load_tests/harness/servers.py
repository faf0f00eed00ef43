"""Real servers for tests and load tests: Apache Kafka with jars from Maven, and the redis-server of this machine.

Each function returns a `driftline.stream.demo.servers.Server`: not started, a context manager, restartable with its
data. ServerError names what is missing (java, mvn).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from driftline.stream.demo.servers import (
    Fsync,
    Server,
    ServerError,
    embedded_redis,
    free_port,
    kafka_answers,
    redis_server,
)

KAFKA_VERSION = "4.4.0"
#: For `-Xmx`: a node with a few hundred partitions needs a third of it.
KAFKA_HEAP = "512m"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>driftline</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def apache_kafka(directory: Path, port: int = 0, proxied: tuple[int, int] | None = None) -> Server:
    """One KRaft node with its log in `directory`. The first call downloads 43 MB, and takes some 10 s.

    proxied: a second port to listen on, and the port of a proxy in front of it, which is advertised to its clients.
    """
    return kafka_node(directory, 1, [free_port()], port, proxied, KAFKA_HEAP)


def kafka_node(
    directory: Path, node: int, controllers: Sequence[int], port: int, proxied: tuple[int, int] | None, heap: str
) -> Server:
    """A node of a cluster, in which each is a broker and a controller. node: from 1 on. controllers: all their ports.

    A node answers only once most controllers run. heap: for `-Xmx`. port, proxied: as in `apache_kafka`.
    """
    java, jars = _program("java"), kafka_jars()
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    properties = directory / "server.properties"
    properties.write_text(_properties(directory, node, controllers, port, proxied))
    _run([
        java, "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "kafka.tools.StorageTool",
        "format", "--ignore-formatted", "--cluster-id", "ZHJpZnRsaW5lLXRlc3RzMA", "--config", str(properties),
    ])  # fmt: skip
    logger = "-Dorg.slf4j.simpleLogger"
    return Server(
        name=f"Apache Kafka {KAFKA_VERSION}",
        command=[
            java, f"-Xmx{heap}", "-Xms128m", "-XX:+UseSerialGC", f"{logger}.defaultLogLevel=warn",
            f"{logger}.log.kafka.server.KafkaRaftServer=info", "-cp", f"{jars}/*", "kafka.Kafka", str(properties),
        ],
        port=port,
        log=directory / "kafka.log",
        ready=kafka_answers,
    )  # fmt: skip


def real_redis(directory: Path, port: int = 0, fsync: Fsync | None = None) -> Server:
    """The redis-server on the PATH, or the embedded Valkey if there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        return embedded_redis(directory, port, fsync)
    return redis_server(Path(binary), directory, port, fsync)


def _properties(
    directory: Path, node: int, controllers: Sequence[int], port: int, proxied: tuple[int, int] | None
) -> str:
    listen, name = (f",PROXIED://127.0.0.1:{each}" for each in proxied) if proxied else ("", "")
    brokers = len(controllers)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{i}@127.0.0.1:{each}" for i, each in enumerate(controllers, 1)),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllers[node - 1]}{listen}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}{name}",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        "log.dirs": directory / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": brokers,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": brokers,
        "transaction.state.log.min.isr": brokers // 2 + 1,
        # A hanging transaction is aborted as soon as it is due, and not up to 10 s later.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "min.insync.replicas": brokers // 2 + 1,
        # Leaders move when a test says so.
        "auto.leader.rebalance.enable": "false",
        # After a SIGKILL the node can register again only after its old session has expired; 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # A test's group is complete at once; by default, Kafka waits 3 s for further members.
        "group.initial.rebalance.delay.ms": 0,
        # Tests stamp their traffic with times long past: by default, Kafka would remove it as soon as its check of
        # retention runs, 30 s after the start and then every 5 minutes.
        "log.retention.ms": -1,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def kafka_jars() -> Path:
    """The folder of Kafka's jars; Maven fills it if it does not exist."""
    cache = Path(os.environ.get("DRIFTLINE_CACHE", Path.home() / ".cache" / "driftline"))
    jars = cache / f"kafka-{KAFKA_VERSION}"
    if not jars.is_dir():
        pom = cache / f"kafka-{KAFKA_VERSION}.xml"
        fresh = cache / f"kafka-{KAFKA_VERSION}.{os.getpid()}"
        cache.mkdir(parents=True, exist_ok=True)
        pom.write_text(_POM)
        _run(
            [
                _program("mvn"),
                "-q",
                "-B",
                "-f",
                str(pom),
                _COPY_JARS,
                "-DincludeScope=runtime",
                f"-DoutputDirectory={fresh}",
            ]
        )
        _put_in_place(fresh, jars)
    return jars


def _put_in_place(fresh: Path, jars: Path) -> None:
    try:
        fresh.rename(jars)
    except OSError:  # another process was faster
        shutil.rmtree(fresh)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is not on the PATH; Apache Kafka needs java (17 or newer) and mvn")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}")
