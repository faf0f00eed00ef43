"""The section `serve`: where `driftline serve` listens, what its pages are called outside, and who may read them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from driftline.stream.config.fields import Address, HttpUrl, RuleError, Section
from driftline.stream.config.relay import EnvName


class Serve(Section):
    """The process `driftline serve`, which shows incidents and models in a browser."""

    http: Address = Field(
        "127.0.0.1:6068",
        description="Address of the pages. Beyond this machine they need the token: a title or a value may be "
        "confidential.",
    )
    public_url: HttpUrl | None = Field(
        None,
        description="Where people reach the pages, such as https://drift.example.com; every page that the relay sends "
        "links to its incident there. null: no link.",
    )
    token_env: EnvName = Field(
        "DRIFTLINE_SERVE_TOKEN",
        description="Name of the environment variable that holds the token. Browsers ask for it as a password, with "
        "any user name; programs send it as `Authorization: Bearer …`. If the variable is not set, nobody is asked.",
    )

    @model_validator(mode="after")
    def _pages_are_at_the_root(self) -> Self:
        if self.public_url is not None and "/" in self.public_url.partition("://")[2].rstrip("/"):
            raise RuleError("must have no path: give the pages a name or a port of their own", "public_url")
        return self
