"""The commands on a page name the configuration of the relay that sends it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.alerts.schema import DESCRIPTION
from driftline.stream.paging.commands import AS_WRITTEN, Places, name_config

EXPLAIN = "driftline explain 4876 -c driftline.yaml"
REPLAY = "driftline replay kafka://predictions -c driftline.yaml --from 2026-01-01T00:00:00.000Z"
PATH = "/etc/drift line/prod.yaml"


def named(config: str = PATH, **data: Any) -> dict[str, Any]:
    event = name_config(msgspec.json.encode({"id": "1", "data": data}), config)
    return dict(json.loads(event)["data"])


def test_every_command_names_the_path_as_a_shell_reads_it() -> None:
    page = named(commands=[EXPLAIN, REPLAY], description=f"score: moved\n$ {EXPLAIN}\n$ {REPLAY}")

    assert [shlex.split(each)[3:5] for each in page["commands"]] == [["-c", PATH]] * 2
    assert page["description"].split("\n$ ")[1:] == page["commands"]
    assert page["commands"][1].endswith("--from 2026-01-01T00:00:00.000Z")


def test_a_long_path_shortens_the_text_and_not_the_commands() -> None:
    page = named("/" + "x" * 800, commands=[EXPLAIN], description="y" * 2900 + f"\n$ {EXPLAIN}")

    assert len(page["description"]) == DESCRIPTION
    assert page["description"].endswith(page["commands"][0])


def test_words_of_a_model_that_look_like_the_option_stay() -> None:
    command = shlex.join(
        ["driftline", "silence", "add", "--match", "model=a -c driftline.yaml", "-c", "driftline.yaml"]
    )
    page = named(commands=[command])

    assert shlex.split(page["commands"][0])[4:] == ["model=a -c driftline.yaml", "-c", PATH]


@given(st.sampled_from(["call me", "driftline explain 'open", "rm -rf -c driftline.yaml", "", 'driftline "']))
def test_what_is_no_command_of_driftline_stays(text: str) -> None:
    raw = msgspec.json.encode({"data": {"commands": [text, 7], "description": f"odd\n$ {text}"}})

    assert name_config(raw, PATH) is raw


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_an_alert_with_commands_of_any_form_is_sent(commands: Any) -> None:
    raw = msgspec.json.encode({"data": {"commands": commands, "description": None}})

    assert name_config(raw, PATH) == raw


# Links


def linked(pages: str, incident: str, **data: Any) -> list[Any]:
    event = Places(PATH, pages).name_in(msgspec.json.encode({"id": "1", "data": data}), incident)
    return list(json.loads(event)["data"]["links"])


def test_the_page_of_the_incident_is_the_first_link() -> None:
    runbook = {"href": "https://wiki.example/fraud", "text": "Runbook"}

    assert linked("https://drift.example/", "3f9a", links=[runbook]) == [
        {"href": "https://drift.example/incidents/3f9a", "text": "Driftline"},
        runbook,
    ]
    assert linked("http://drift.example", "a/b c") == [{"href": "http://drift.example/", "text": "Driftline"}], (
        "what cannot be an id is none"
    )


def test_a_page_about_several_incidents_links_to_all() -> None:
    assert linked("https://drift.example", "", links="no list") == [
        {"href": "https://drift.example/", "text": "Driftline"}
    ]


def test_without_an_address_nothing_is_linked() -> None:
    raw = msgspec.json.encode({"id": "1", "data": {"links": []}})

    assert AS_WRITTEN.name_in(raw, "3f9a") is raw
