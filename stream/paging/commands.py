"""The commands and links of an alert, as those who get the page can type and follow them. Pure.

A worker does not say where its configuration lies: two workers may keep it in different places, and equal ids are equal
bytes. So an alert on its topic names `driftline.yaml`, and the relay names its own file in what it sends, and the page
of the incident where `serve.public_url` says that there is one.
"""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

import msgspec

from driftline.stream.alerts.build import CONFIG
from driftline.stream.alerts.find import may_be_id
from driftline.stream.alerts.schema import DESCRIPTION, cut

_PROMPT = "\n$ "


class Places(NamedTuple):
    """What a page refers to. config: path of the configuration. pages: address of `driftline serve`, "" for none."""

    config: str = CONFIG[1]
    pages: str = ""

    def name_in(self, raw: bytes, incident: str) -> bytes:
        """An alert's CloudEvent that refers to them. incident: its id, "" if the page is about several."""
        raw = name_config(raw, self.config)
        if not self.pages:
            return raw
        event: dict[str, Any] = msgspec.json.decode(raw)
        links = event["data"].get("links")
        path = f"incidents/{incident}" if may_be_id(incident) else ""
        href = f"{self.pages.rstrip('/')}/{path}"
        # The first one, since some receivers show few.
        event["data"]["links"] = [{"href": href, "text": "Driftline"}, *(links if isinstance(links, list) else [])]
        return msgspec.json.encode(event)


#: What a worker writes.
AS_WRITTEN = Places()


def name_config(raw: bytes, config: str) -> bytes:
    """An alert's CloudEvent with `config`, a path, in the place of `driftline.yaml` in all of its commands.

    An alert without commands keeps its bytes.
    """
    event: dict[str, Any] = msgspec.json.decode(raw)
    data = event["data"]
    commands, description = data.get("commands"), data.get("description")
    if isinstance(commands, list):
        data["commands"] = [_with_config(each, config) if isinstance(each, str) else each for each in commands]
    if isinstance(description, str):
        data["description"] = _in_description(description, config)
    changed = (commands, description) != (data.get("commands"), data.get("description"))
    return msgspec.json.encode(event) if changed else raw


def _in_description(description: str, config: str) -> str:
    body, *commands = description.split(_PROMPT)
    foot = "".join(_PROMPT + _with_config(each, config) for each in commands)
    return cut(body, max(DESCRIPTION - len(foot), 0)) + foot


def _with_config(command: str, config: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:  # text of another sender that only looks like a command
        return command
    at = next((i for i in range(len(words)) if tuple(words[i : i + len(CONFIG)]) == CONFIG), None)
    if words[:1] != ["driftline"] or at is None:
        return command
    return shlex.join([*words[:at], CONFIG[0], config, *words[at + len(CONFIG) :]])
