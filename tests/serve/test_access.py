"""Who may read the pages of `driftline serve`."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from driftline.stream.config.serve import Serve
from driftline.stream.ops.secrets import MissingSecretError
from driftline.stream.serve.access import Access

TOKEN = {"DRIFTLINE_SERVE_TOKEN": "an open secret"}


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("http", ["127.0.0.1:6068", "127.8.0.1:0", "localhost:6068", "[::1]:6068"])
def test_on_this_machine_nobody_is_asked_for_a_token(http: str) -> None:
    access = Access.of(Serve(http=http), {})

    assert access.allows("")
    assert access.allows("Bearer whatever")


@pytest.mark.parametrize("http", ["0.0.0.0:6068", "[::]:6068", "10.1.2.3:6068", "drift.example:6068"])
def test_beyond_this_machine_it_does_not_start_without_a_token(http: str) -> None:
    with pytest.raises(MissingSecretError, match="set the environment variable DRIFTLINE_SERVE_TOKEN"):
        Access.of(Serve(http=http), {})
    assert not Access.of(Serve(http=http), TOKEN).allows("")


def test_programs_send_the_token_and_browsers_a_password() -> None:
    access = Access.of(Serve(), TOKEN)

    assert access.allows("Bearer an open secret")
    assert access.allows(basic("ann:an open secret"))
    for wrong in (
        "",
        "Bearer",
        "Bearer an open",
        "Token an open secret",
        basic("an open secret"),
        basic(":"),
        "Basic ä",
    ):
        assert not access.allows(wrong), wrong


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_any_header_without_the_token_is_refused(header: str) -> None:
    assert not Access.of(Serve(), TOKEN).allows(header)


def test_a_token_may_hold_any_bytes() -> None:
    access = Access.of(Serve(), {"DRIFTLINE_SERVE_TOKEN": "secret \udcff"})

    assert access.allows("Bearer secret \udcff")
    assert not access.allows("Bearer secret")


def test_an_address_with_a_path_is_refused() -> None:
    with pytest.raises(ValidationError, match="must have no path"):
        Serve(public_url="https://drift.example.com/pages")
    assert Serve(public_url="https://drift.example.com/").public_url


def test_the_pages_answer_to_no_name_of_another_site() -> None:
    """A site whose name resolves to this machine could read them with its visitor's browser."""
    access = Access.of(Serve(public_url="https://drift.example.com"), {})

    for own in (
        "127.0.0.1:6068",
        "localhost",
        "LOCALHOST:1",
        "[::1]:6068",
        "drift.example.com",
        "drift.example.com:443",
    ):
        assert access.allows_host(own), own
    for other in ("evil.example", "evil.example:6068", "127.0.0.1.evil.example", "", "drift.example.com.evil:80"):
        assert not access.allows_host(other), other
