"""`driftline relay`: from the alerts topic to pagers, one consumer group and one courier for each target.

    alerts topic ──group driftline-relay-pagerduty──► courier ──► PagerDuty
                 ──group driftline-relay-slack──────► courier ──► Slack        a pager that is down delays no other

What is promised:

1. Only live alerts leave. An offset is committed when everything before it is settled: delivered, superseded by a
   newer step of its incident, known to be told, held back on the desk in Redis, or a dead letter on `<alerts>.dlq`.
   So nothing is lost, whoever is killed when.
2. Within one alert_key seq only rises. A late duplicate, of a resolved incident too, is dropped: the ledger in Redis
   knows what was told. It is written right after the delivery; what is killed between the two is told once more.
   PagerDuty (dedup_key) and Alertmanager (labels) take that as told once. A webhook's receiver knows it by
   `webhook-id`, or the CloudEvent's id. In Slack and on stdout the message then stands twice.
3. A pager that is down gets, once it is back, the newest step of every incident, in order; an incident that began and
   ended meanwhile is told by its resolution alone, which pages nobody.
4. Of several relays of one configuration, one tells a target; the others stand by.
5. The heartbeat is sent while Kafka and Redis answer and no target refuses or keeps an alert waiting, and only then.
6. An incident is told by one page for as long as it lasts, its own or one for several (`stream.paging.grouping`).
   Which one is written down before it is sent, so that a relay that is killed tells nothing under another identity.
7. What is silenced, or under a target's least severity, is not told. If it lasts when that ends, its newest step is
   told then; what had been told before is resolved all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faust.types import TP

from driftline.stream.config.lineage import upstream
from driftline.stream.config.sections import Config
from driftline.stream.kafka.client import client_options
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.ops.http import serve_http
from driftline.stream.ops.logging import configure_logging
from driftline.stream.ops.readiness import wait_for_servers
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.receivers.request import Access
from driftline.stream.relay.consumer import AlertConsumer, OneReader
from driftline.stream.relay.dispatcher import Dispatcher, Record, SendDeadLetter
from driftline.stream.relay.heartbeat import Heartbeat
from driftline.stream.relay.http import Http
from driftline.stream.relay.metrics import registry_of
from driftline.stream.relay.receivers import open_receiver, read_accesses
from driftline.stream.relay.secrets import secrets_of
from driftline.stream.state.client import connect
from driftline.stream.state.notification_log import NotificationLog
from driftline.stream.state.silences import Silences, SilenceStore

log = logging.getLogger(__name__)


def run(config: Config, names: Sequence[str]) -> None:
    """Carry alerts to the named targets until SIGTERM or SIGINT. MissingSecret; an error ends the process."""
    accesses = read_accesses(config.relay, names, os.environ)
    configure_logging(config.worker.log)
    asyncio.run(wait_for_servers(config, [config.topics.alerts, f"{config.topics.alerts}.dlq"]))
    try:
        asyncio.run(_relay(config, names, accesses))
    except Exception as error:
        log.critical("the relay ends: %s; start it again", error, exc_info=True)
        sys.exit(1)


async def _relay(config: Config, names: Sequence[str], accesses: Mapping[str, Sequence[Access]]) -> None:
    async with AsyncExitStack() as stack:
        http = Http(await stack.enter_async_context(_session(config)), secrets_of(accesses))
        client = connect(config.redis)
        stack.push_async_callback(client.aclose)
        bury = await _dead_letter_producer(config, stack)
        ledgers = {name: NotificationLog(client, config.worker.group, name) for name in names}
        silences = Silences(SilenceStore(client, config.worker.group))
        await silences.read()  # before anything is told
        heart = next((each.url for each in accesses["heartbeat"]), None)
        pulse = Heartbeat(http, heart, config.relay.heartbeat_seconds, ledgers[names[0]])
        for name, ledger in ledgers.items():
            target = open_receiver(name, accesses[name], config.relay, http, ledger)
            hours = config.relay.give_up_hours
            courier = Dispatcher(name, target, ledger, bury, hours * 3600, rules_for(config, name), silences)
            pulse.lines.append(
                AlertConsumer(_consumer(config, name), courier, pulse, config.relay.longest_pause_seconds)
            )
            await pulse.lines[-1].start(config.topics.alerts)
            stack.push_async_callback(pulse.lines[-1].consumer.stop)
        await stack.enter_async_context(serve_http(config.relay.http, registry_of(pulse), "ailing", pulse.health))
        await _until_stopped(pulse, silences)


def rules_for(config: Config, name: str) -> GroupingRules:
    """How incidents are grouped for a target."""
    grouping = config.relay.grouping
    return GroupingRules(
        wait=grouping.group_wait,
        outage_models=grouping.outage_models,
        window=grouping.outage_window,
        least=getattr(config.relay, name).min_severity,
        upstream=upstream({model: section.depends_on for model, section in config.models.items()}),
    )


async def _until_stopped(pulse: Heartbeat, silences: Silences) -> None:
    """All end together: after a signal, or an error of one. They are asked to; a cancelled call may go on for ever."""

    def stop() -> None:
        pulse.stop()
        silences.stop()
        for line in pulse.lines:
            line.stop()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    tasks = [asyncio.create_task(work) for work in _works(pulse, silences)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()


def _works(pulse: Heartbeat, silences: Silences) -> list[Coroutine[Any, Any, None]]:
    return [pulse.beat(), silences.watch(), *(line.run() for line in pulse.lines)]


def _session(config: Config) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=config.relay.timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,  # a company's proxy
    )


def _consumer(config: Config, name: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(config.kafka),
        group_id=f"{config.worker.group}-relay-{name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=(OneReader,),
        session_timeout_ms=config.worker.session_seconds * 1000,
        heartbeat_interval_ms=config.worker.session_seconds * 250,
    )


async def _dead_letter_producer(config: Config, stack: AsyncExitStack) -> SendDeadLetter:
    options: dict[str, Any] = {**client_options(config.kafka), "enable_idempotence": config.kafka.idempotent}
    producer = AIOKafkaProducer(**options, acks="all")
    await producer.start()
    stack.push_async_callback(producer.stop)

    async def bury(record: Record, reason: str) -> None:
        letter = dead_letter(TP(record.topic, record.partition), record, reason)
        await producer.send_and_wait(letter.topic, letter.value, letter.key, headers=list(letter.headers))

    return bury
