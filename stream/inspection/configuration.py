"""The configuration that an inspection proposes, as YAML with the reason of each line. No I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from driftline.stream.inspection.draft import Choice, Proposal

# Texts that YAML reads as text without quotes, whatever its version.
_PLAIN = re.compile(r"[A-Za-z_$=][A-Za-z0-9_$.-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "nan", "inf", "y", "n", "="})
_ALTERNATIVES = 5
_COLUMN = 34  # where comments begin, unless the line is longer


def configuration_text(
    proposal: Proposal,
    command: str,
    outcome: str | None,
    sections: Mapping[str, Any],
    learn_events: Choice | None = None,
) -> str:
    """The text of a configuration file.

    command: that writes it. outcome: what the mapping read from the sample, if that is known. sections: settings that
    are kept as they are. learn_events: events of the warm-up, if the default does not suit.
    """
    lines = [f"# Written by: {_shown(command)}", *([f"# {outcome}"] if outcome else []), "version: 1", ""]
    if sections:
        lines += [*yaml.safe_dump(dict(sections), sort_keys=False, allow_unicode=True).splitlines(), ""]
    lines += ["mapping:", *_mapping_lines(proposal.fields)]
    defaults = [*_mapping_lines({"learn_events": learn_events} if learn_events else {})]
    defaults += _exclusions(proposal.excluded)
    if defaults:
        lines += ["", "defaults:", *defaults]
    return "\n".join(lines) + "\n"


def scalar(value: Any) -> str:
    """A value in YAML, on one line."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else f'"{_escaped(value)}"'
    return f"[{', '.join(map(scalar, value))}]"


def signal_glob(name: str) -> str:
    """The glob that matches one signal and no other.

    >>> signal_glob("features.a[0]*")
    'features.a[[]0][*]'
    """
    return re.sub(r"([\[*?])", r"[\1]", name)


def _mapping_lines(fields: Mapping[str, Choice]) -> Iterator[str]:
    for part, choice in fields.items():
        yield _commented(f"  {part}: {scalar(choice.value)}", choice.why)
        for other in choice.others[:_ALTERNATIVES]:
            yield f"  # {part}: {scalar(other)}"


def _exclusions(excluded: Mapping[str, str]) -> Iterable[str]:
    if excluded:
        yield "  signals:"
        yield "    exclude:"
    for name, why in excluded.items():
        yield _commented(f"      - {scalar(signal_glob(name))}", why)


def _commented(line: str, why: str) -> str:
    return f"{line:{_COLUMN}} # {_shown(why)}"


def _shown(text: str) -> str:
    """A text for a comment: on one line, without characters that YAML refuses."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _escaped(text: str) -> str:
    return "".join(
        f"\\{character}" if character in '"\\' else character if character.isprintable() else f"\\U{ord(character):08x}"
        for character in text
    )
