"""Alerts in the words of each pager: an alert in, an HTTP request out. Pure: no I/O, no clock.

    service       one incident is                                   limits kept
    pagerduty     one alert, by dedup_key; an update triggers anew  summary 1024 characters, body 512 kB
    slack         a message for each step                           50 blocks of 3000 characters
    webhook       the CloudEvent as it is, for each step

Limits are kept by cutting texts and leaving out evidence, so that no alert is too large to be delivered.
`stream.paging.receivers.alertmanager` has Alertmanager's, which depend on what it was told before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.paging.receivers.pagerduty import _pagerduty_took, pagerduty
from driftline.stream.paging.receivers.request import Access, Request
from driftline.stream.paging.receivers.slack import _slack_took, slack
from driftline.stream.paging.receivers.webhook import _webhook_took, webhook


class Integration(NamedTuple):
    """A service: the request for an alert (with its record's bytes, and now), and whether an answer means it took it.

    Answers of a status under 400 that are not the documented ones are a proxy's or a broken service's.
    """

    request: Callable[[CompleteAlert, bytes, Access, datetime], Request]
    took: Callable[[int, bytes], bool]


INTEGRATIONS: Mapping[str, Integration] = {
    "pagerduty": Integration(pagerduty, _pagerduty_took),
    "slack": Integration(slack, _slack_took),
    "webhook": Integration(webhook, _webhook_took),
}
