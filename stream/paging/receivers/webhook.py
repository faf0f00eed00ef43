"""Any webhook: CloudEvents over HTTP in structured mode, signed as https://www.standardwebhooks.com says. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime

from driftline.stream.alerts.build import CONTENT_TYPE
from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.paging.receivers.request import Access, Request, authorization


def webhook(alert: CompleteAlert, raw: bytes, access: Access, now: datetime) -> Request:
    """The CloudEvent as it came. `webhook-id` is the same whenever this alert is sent: receivers know it by that."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", alert.id)
    name = alert.id if plain else hashlib.sha256(alert.id.encode()).hexdigest()
    sent = str(int(now.timestamp()))
    headers = {"Content-Type": f"{CONTENT_TYPE}; charset=utf-8", "webhook-id": name, "webhook-timestamp": sent}
    if access.key:
        signed = hmac.digest(_signing_key(access.key), f"{name}.{sent}.".encode() + raw, "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return Request(access.url, raw, headers | authorization(access))


def _signing_key(key: str) -> bytes:
    """A key in the form of Standard Webhooks is base64 after its prefix; any other one is its own bytes."""
    try:
        return base64.b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else key.encode()
    except binascii.Error:
        return key.encode()


def _webhook_took(status: int, _: bytes) -> bool:
    return 200 <= status < 300
