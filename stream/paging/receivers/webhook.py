"""Webhooks: CloudEvents over HTTP in structured mode, signed after https://www.standardwebhooks.com. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime

from driftline.stream.alerts.build import CONTENT_TYPE
from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.paging.receivers.request import Endpoint, Request, authorization


def build_request(alert: CompleteAlert, raw: bytes, endpoint: Endpoint, now: datetime) -> Request:
    """The unchanged CloudEvent. `webhook-id` is the same whenever this alert is sent, so that receivers can drop it."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", alert.id)
    name = alert.id if plain else hashlib.sha256(alert.id.encode()).hexdigest()
    sent = str(int(now.timestamp()))
    headers = {"Content-Type": f"{CONTENT_TYPE}; charset=utf-8", "webhook-id": name, "webhook-timestamp": sent}
    if endpoint.key:
        signed = hmac.digest(_signing_key(endpoint.key), f"{name}.{sent}.".encode() + raw, "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return Request(endpoint.url, raw, headers | authorization(endpoint))


def _signing_key(key: str) -> bytes:
    """The bytes of a key: base64 after the prefix of Standard Webhooks, any other key as it is."""
    try:
        return base64.b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else key.encode()
    except binascii.Error:
        return key.encode()


def is_accepted(status: int, _: bytes) -> bool:
    """Whether an answer means that the service accepted the event: any 2xx."""
    return 200 <= status < 300
