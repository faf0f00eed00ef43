"""`driftline relay`: sends alerts from the alerts topic to receivers, with one consumer group for each receiver.

    alerts topic ──group driftline-relay-pagerduty──► AlertConsumer ─► Dispatcher ─► PagerDuty
                 ──group driftline-relay-slack──────► AlertConsumer ─► Dispatcher ─► Slack

A receiver that is down delays no other. What the relay promises:

1. Only live alerts are sent. An offset is committed when everything before it is settled: delivered, superseded by a
   newer step of its incident, known to be sent already, held back in the notifications in Redis, or a dead letter on
   `<alerts>.dlq`. So nothing is lost, whichever process is killed at whatever moment.
2. Within one alert_key seq only rises. A late duplicate, also of a resolved incident, is dropped: the notification log
   in Redis knows what was sent. It is written right after the delivery; if the relay is killed between the two, the
   alert is sent again. PagerDuty (dedup_key) and Alertmanager (labels) treat both as one. A webhook's receiver
   recognises the second by `webhook-id`, or by the CloudEvent's id. In Slack and on stdout the message appears twice.
3. A receiver that was down gets the newest step of every incident once it is back, with all of the incident's
   findings; an incident that began and ended meanwhile is not mentioned. Only if the receiver may have accepted a page
   without saying so (a timeout, a cut connection, a killed relay), its end is reported.
4. Of several relays of one configuration, one sends to a receiver; the others stand by.
5. The heartbeat is sent while Kafka and Redis answer and no receiver refuses an alert or keeps one waiting, and only
   then.
6. An incident is reported by one page for as long as it is open, its own or one for several incidents
   (`stream.paging.grouping`). The page is stored before it is sent, so that a relay that is killed reports nothing
   under another identity.
7. A silenced incident, or one below a receiver's minimum severity, is held back. If it is still firing when that ends,
   its newest step is sent then; an incident that was reported before is resolved all the same.
8. What is due is sent by severity, then by age. A critical incident rings: it joins no page that was sent before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from socket import socket
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faust.types import TP

from driftline.stream.config.lineage import upstream
from driftline.stream.config.sections import Config
from driftline.stream.kafka.client import RefusedWrites, call_kafka, client_options, wait_for_acknowledgement
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.ops.http import listen, register_waits, serve_http
from driftline.stream.ops.logging import configure_logging
from driftline.stream.ops.readiness import end_on_signals, wait_until_ready
from driftline.stream.ops.secrets import check_secrets
from driftline.stream.paging.commands import Places
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.relay.consumer import AlertConsumer, SingleReaderAssignor
from driftline.stream.relay.dispatcher import Dispatcher, Record, SendDeadLetter
from driftline.stream.relay.heartbeat import Heartbeat
from driftline.stream.relay.http import Http, open_session
from driftline.stream.relay.metrics import registry_of
from driftline.stream.relay.receivers import open_receiver, read_endpoints
from driftline.stream.relay.secrets import secrets_of
from driftline.stream.retry import Waits
from driftline.stream.state.client import connect
from driftline.stream.state.notification_log import NotificationLog
from driftline.stream.state.silences import SilenceCache, SilenceStore

log = logging.getLogger(__name__)

# s between two looks whether what has to end waits for a server; s in which connections are closed at the end.
_LOOK_EVERY, _CLOSE_SECONDS = 0.5, 3.0


class _Process(NamedTuple):
    """What this process waits for, and the socket on which it serves /health."""

    waits: Waits
    listener: socket


def run(config: Config, names: Sequence[str], path: str) -> None:
    """Send alerts to the named receivers until SIGTERM or SIGINT. path: of the configuration, for commands on pages.

    Raises MissingSecretError before it starts; any later error ends the process with exit code 1.
    """
    check_secrets(config)
    endpoints = read_endpoints(config.relay, names, os.environ)
    configure_logging(config.worker.log)
    waits, listener = Waits(), listen(config.relay.http)
    waits.without_end()
    RefusedWrites(waits).watch()
    try:
        wait_until_ready(config, waits, listener, [config.topics.alerts, f"{config.topics.alerts}.dlq"])
        asyncio.run(_relay(config, names, endpoints, path, _Process(waits, listener)))
    except asyncio.CancelledError:
        sys.exit(0)
    except Exception as error:
        log.critical("the relay ends: %s; start it again", error, exc_info=True)
        sys.exit(1)


async def _relay(
    config: Config, names: Sequence[str], endpoints: Mapping[str, Sequence[Endpoint]], path: str, process: _Process
) -> None:
    end_on_signals()  # until `_until_stopped` handles them
    waits = process.waits
    async with AsyncExitStack() as stack:
        http = Http(await stack.enter_async_context(open_session(config.relay)), secrets_of(endpoints))
        client = connect(config.redis)
        stack.push_async_callback(client.aclose)
        logs = {name: NotificationLog(client, config.worker.group, name) for name in names}
        silences = SilenceCache(SilenceStore(client, config.worker.group))
        url = next((each.url for each in endpoints["heartbeat"]), None)
        heartbeat = Heartbeat(http, url, config.relay.heartbeat_seconds, logs[names[0]], waits)
        registry = registry_of(heartbeat)
        register_waits(registry, waits)
        await stack.enter_async_context(serve_http(process.listener, registry, heartbeat.health))
        send_dead_letter = await _dead_letter_producer(config, stack)
        await silences.read()  # before anything is sent
        for name, notification_log in logs.items():
            dispatcher = Dispatcher(
                name,
                open_receiver(name, endpoints[name], config.relay, http, config.worker.group),
                notification_log,
                send_dead_letter,
                config.relay.give_up_hours * 3600,
                rules_for(config, name),
                silences,
                Places(path, config.serve.public_url or ""),
            )
            await _start_consumer(config, dispatcher, heartbeat, stack)
        await _until_stopped(heartbeat, silences, waits)


async def _start_consumer(config: Config, dispatcher: Dispatcher, heartbeat: Heartbeat, stack: AsyncExitStack) -> None:
    consumer = AlertConsumer(
        _kafka_consumer(config, dispatcher.name), dispatcher, heartbeat, config.relay.longest_pause_seconds
    )
    heartbeat.consumers.append(consumer)
    await consumer.start(config.topics.alerts)
    stack.push_async_callback(consumer.consumer.stop)


def rules_for(config: Config, name: str) -> GroupingRules:
    """The grouping rules of a receiver."""
    grouping = config.relay.grouping
    return GroupingRules(
        group_wait=grouping.group_wait,
        outage_models=grouping.outage_models,
        outage_window=grouping.outage_window,
        min_severity=getattr(config.relay, name).min_severity,
        upstream=upstream({model: section.depends_on for model, section in config.models.items()}),
    )


async def _until_stopped(heartbeat: Heartbeat, silences: SilenceCache, waits: Waits) -> None:
    """Run all tasks until a signal or the error of one, then ask the others to end.

    Not by a cancellation, since a cancelled call may never end, unless they wait for a server: that may last for ever.
    """

    def stop() -> None:
        heartbeat.stop()
        silences.stop()
        for consumer in heartbeat.consumers:
            consumer.stop()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    runs = (heartbeat.run(), silences.watch(), *(consumer.run() for consumer in heartbeat.consumers))
    tasks = [asyncio.create_task(run) for run in runs]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=_LOOK_EVERY)
        for task in pending if waits.current() else ():
            task.cancel()
    for task in tasks:
        if not task.cancelled():
            task.result()
    _end_within(_CLOSE_SECONDS)


def _end_within(seconds: float) -> None:
    """End the process if a server that does not answer keeps connections from being closed. Nothing is left to do."""
    deadline = threading.Timer(seconds, os._exit, [0])
    deadline.daemon = True
    deadline.start()


def _kafka_consumer(config: Config, name: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(config.kafka),
        group_id=f"{config.worker.group}-relay-{name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=(SingleReaderAssignor,),
        session_timeout_ms=config.worker.session_seconds * 1000,
        heartbeat_interval_ms=config.worker.session_seconds * 250,
    )


async def _dead_letter_producer(config: Config, stack: AsyncExitStack) -> SendDeadLetter:
    options: dict[str, Any] = {**client_options(config.kafka), "enable_idempotence": config.kafka.idempotent}
    producer = wait_for_acknowledgement(AIOKafkaProducer(**options, acks="all"))
    await call_kafka(producer.start)
    stack.push_async_callback(producer.stop)

    async def send_dead_letter(record: Record, reason: str) -> None:
        failed = dead_letter(TP(record.topic, record.partition), record, reason)
        send = partial(producer.send_and_wait, headers=list(failed.headers))
        await call_kafka(send, failed.topic, failed.value, failed.key)

    return send_dead_letter
