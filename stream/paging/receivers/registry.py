"""Integrations: for each service, the HTTP request of an alert and the answer that accepts it. Pure: no I/O, no clock.

    service       an incident is                                    limits kept
    pagerduty     one alert, by dedup_key; each step triggers it    summary 1024 characters, body 512 kB
    slack         a message for each step                           50 blocks of 3000 characters
    webhook       its unchanged CloudEvents, one for each step

Limits are kept by cutting texts and leaving out evidence, so that no alert is too large to be delivered. Alertmanager's
requests depend on earlier ones: see `stream.paging.receivers.alertmanager`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.paging.receivers import pagerduty, slack, webhook
from driftline.stream.paging.receivers.request import Endpoint, Request


class Integration(NamedTuple):
    """A service.

    build_request: from an alert, the bytes of its record, the endpoint and now. is_accepted: from status and answer.
    An answer with a status under 400 that the service does not document is that of a proxy, or of a broken service.
    """

    build_request: Callable[[CompleteAlert, bytes, Endpoint, datetime], Request]
    is_accepted: Callable[[int, bytes], bool]


INTEGRATIONS: Mapping[str, Integration] = {
    "pagerduty": Integration(pagerduty.build_request, pagerduty.is_accepted),
    "slack": Integration(slack.build_request, slack.is_accepted),
    "webhook": Integration(webhook.build_request, webhook.is_accepted),
}
