"""Schemas from a registry over HTTP and from a folder: what is asked, how often, and what a fault does."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from driftline.stream.config.sections import Schemas
from driftline.stream.events.frames import FrameError, unpack
from driftline.stream.sources import schemas as adapter
from driftline.stream.sources.schemas import SchemaLoader, SchemasUnavailableError, schema_loader
from tests.events.test_frames import frame, header, record
from tests.harness.registries import HANG, Registry, registry

PLACE = record(("lat", "double"), name="geo.Place")
EVENT = record(("id", "long"), ("at", ["null", "geo.Place"]), name="Event")
FLAT = record(("id", "long"))


def loader(of: Registry | Path, attempts: int | None = 1, **fields: Any) -> SchemaLoader:
    """A loader as the configuration makes it."""
    source = {"registry": of.url} if isinstance(of, Registry) else {"folder": of.name}
    section = Schemas.model_validate({**source, **fields})
    made = schema_loader(section, of.parent if isinstance(of, Path) else Path(), attempts)
    assert made is not None
    return made


def test_without_a_source_there_is_no_loader() -> None:
    assert schema_loader(Schemas(), Path()) is None


def test_each_schema_is_asked_for_once() -> None:
    with registry() as site:
        site.add(1, FLAT)
        site.add(2, "{}", "JSON")
        site.add(3, 'syntax = "proto3";', "PROTOBUF")
        ours = loader(site)
        frames = [frame(FLAT, {"id": 5}, 1), header(2) + b"{}", header(3) + b"\0", None, b"{}", b""]
        for _ in range(3):
            ours.load_now([*frames, *frames])
        assert sorted(site.requests) == ["/schemas/ids/1", "/schemas/ids/2", "/schemas/ids/3"]
        assert unpack(frame(FLAT, {"id": 5}, 1), ours.schemas) == {"id": 5}
        assert unpack(header(2) + b"{}", ours.schemas) == b"{}"
        with pytest.raises(FrameError, match="PROTOBUF"):
            unpack(header(3) + b"\0", ours.schemas)


def test_references_are_followed_to_the_end_each_before_what_uses_it() -> None:
    trip = record(("from", "geo.Place"), name="geo.Trip")
    both = record(("trip", "geo.Trip"), ("at", "geo.Place"), name="Both")
    with registry() as site:
        site.add_subject("a/b ?#ä", 3, PLACE)
        site.add_subject("trip", 1, trip, [("a/b ?#ä", 3)])
        site.add(9, both, references=[("trip", 1), ("a/b ?#ä", 3)])
        ours = loader(site)
        ours.load_now([header(9)])
        payload = b"\0" * 16
        assert unpack(header(9) + payload, ours.schemas) == {"trip": {"from": {"lat": 0.0}}, "at": {"lat": 0.0}}
        assert site.requests == [
            "/schemas/ids/9",
            "/subjects/trip/versions/1",
            "/subjects/a%2Fb%20%3F%23%C3%A4/versions/3",
        ]


def test_references_in_a_circle_end() -> None:
    with registry() as site:
        site.add_subject("a", 1, PLACE, [("b", 1)])
        site.add_subject("b", 1, FLAT, [("a", 1)])
        site.add(9, EVENT, references=[("a", 1)])
        loader(site).load_now([header(9)])
        assert len(site.requests) == 3


def test_an_unknown_schema_is_asked_for_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    with registry() as site:
        ours, now = loader(site), time.monotonic()
        for at in (0.0, 1.0, 59.0, 61.0):
            monkeypatch.setattr(time, "monotonic", lambda at=at: now + at)
            ours.load_now([header(4)])
        assert site.requests == ["/schemas/ids/4"] * 2
        site.add(4, FLAT)
        monkeypatch.setattr(time, "monotonic", lambda: now + 130)
        ours.load_now([header(4)])
        assert 4 in ours.schemas


def test_a_schema_with_an_unknown_reference_is_unknown() -> None:
    with registry() as site:
        site.add(4, EVENT, references=[("gone", 1)])
        ours = loader(site)
        ours.load_now([header(4)])
        assert ours.schemas == {}


def test_messages_that_only_look_like_frames_cost_a_hundred_requests_a_minute() -> None:
    with registry() as site:
        loader(site).load_now([header(number) for number in range(1000, 2000)])
        assert len(site.requests) == 100


@pytest.mark.parametrize("status", [400, 403, 404, 406, 422])
def test_an_answer_about_the_id_makes_it_unknown(status: int) -> None:
    with registry() as site:
        site.script.append(status)
        ours = loader(site, attempts=None)
        ours.load_now([header(4)])
        assert (ours.schemas, len(site.requests)) == ({}, 1)


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
def test_a_passing_error_is_waited_out_and_logged(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with registry() as site:
        site.add(1, FLAT)
        site.script += [status, status]
        ours = loader(site, attempts=None)
        ours.load_now([header(1)])
        assert 1 in ours.schemas
        assert len([each for each in caplog.messages if f"answers {status}" in each and "again in" in each]) == 2


def test_a_registry_that_is_down_is_an_error_when_attempts_are_counted() -> None:
    with registry() as site:
        url = site.url
    with pytest.raises(SchemasUnavailableError, match=f"{url} does not answer"):
        loader(Registry(url=url), attempts=2).load_now([header(1)])


def test_a_registry_that_hangs_is_given_up_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    with registry() as site:
        site.add(1, FLAT)
        site.script.append(HANG)
        ours = loader(site, attempts=2)
        asyncio.run(ours.load([header(1)]))
        assert 1 in ours.schemas


def test_redirects_are_not_followed() -> None:
    with registry() as site:
        site.script.append(302)
        with pytest.raises(SchemasUnavailableError, match="302, a redirect: give the final URL"):
            loader(site).load_now([header(1)])
        assert site.requests == ["/schemas/ids/1"]


@pytest.mark.parametrize("answer", [{"schema": 5}, {}, {"schema": "x" * (5 << 20)}])
def test_an_answer_that_is_none_is_an_error(answer: dict[str, Any]) -> None:
    with registry() as site:
        site.schemas[1] = answer or {"other": 1}
        with pytest.raises(SchemasUnavailableError):
            loader(site).load_now([header(1)])


@pytest.mark.parametrize("references", [[5], "ab"])
def test_references_that_are_none_are_ignored(references: Any) -> None:
    with registry() as site:
        site.add(1, FLAT)
        site.schemas[1]["references"] = references
        ours = loader(site)
        ours.load_now([header(1)])
        assert unpack(frame(FLAT, {"id": 5}, 1), ours.schemas) == {"id": 5}
        assert site.requests == ["/schemas/ids/1"]


@pytest.mark.parametrize("reference", [{}, {"subject": None, "version": []}])
def test_a_reference_to_no_subject_is_asked_for_once_and_its_schema_stays_unknown(reference: dict[str, Any]) -> None:
    with registry() as site:
        site.add(1, FLAT)
        site.add(2, FLAT)
        site.schemas[1]["references"] = [reference]
        ours = loader(site)
        for _ in range(2):
            ours.load_now([header(1), header(2)])
        assert set(ours.schemas) == {2}
        assert len(site.requests) == 3


def test_the_login_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("REGISTRY_PASSWORD", "s3cret-pässword")
    with registry(("me", "s3cret-pässword")) as site:
        site.add(1, FLAT)
        ours = loader(site, username="me", password_env="REGISTRY_PASSWORD")
        ours.load_now([header(1)])
        assert 1 in ours.schemas
        monkeypatch.setenv("REGISTRY_PASSWORD", "another-s3cret")
        with pytest.raises(SchemasUnavailableError, match="401: username or password is wrong") as error:
            loader(site, username="me", password_env="REGISTRY_PASSWORD").load_now([header(1)])
        assert "s3cret" not in f"{error.value!r} {ours!r} {caplog.text}"


def test_a_password_that_is_not_set_is_named() -> None:
    section = Schemas(registry="http://localhost", username="me", password_env="NO_SUCH_VARIABLE")
    with pytest.raises(SchemasUnavailableError, match="no environment variable NO_SUCH_VARIABLE"):
        schema_loader(section, Path())


def test_a_folder_has_schemas_by_the_number_at_the_start_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "1.avsc").write_text(json.dumps(FLAT))
    (tmp_path / "12-prediction.avsc").write_text(json.dumps(FLAT))
    (tmp_path / "3.json").write_text("")
    (tmp_path / "4.avsc").write_bytes(b"\xff{")
    ours = loader(tmp_path)
    ours.load_now([header(number) for number in (1, 2, 3, 4, 12)])
    assert sorted(ours.schemas) == [1, 3, 4, 12]
    assert unpack(frame(FLAT, {"id": 5}, 12), ours.schemas) == {"id": 5}
    assert unpack(header(3) + b"{}", ours.schemas) == b"{}"
    with pytest.raises(FrameError, match="schema 4 is not a valid Avro schema"):
        unpack(header(4), ours.schemas)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemasUnavailableError, match="gone is not a folder"):
        loader(tmp_path / "gone")
