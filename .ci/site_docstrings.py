"""The examples in docstrings as code, where the documentation site shows them; Markdown knows no doctests."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


class Doctests(Extension):
    """Puts fences around what begins with `>>>`, up to the next empty line."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for each object that is documented."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(lambda each: f"```pycon\n{each[0]}\n```", obj.docstring.value)
