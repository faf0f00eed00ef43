"""Text from elsewhere, made fit to be shown: names, values and reasons come from traffic and may hold anything. Pure.

    a line of a terminal, of a log, of a page     `printable`          no control character, no line break
    several lines                                 `printable_lines`    line breaks stay
    JSON, which programs read                     `printable_json`     the same value, such characters escaped

A control character changes the state of a terminal, a line break forges a line of a log, and a mark of direction shows
a name in another order than it is stored in. Data keeps its characters; it is escaped where it is shown.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text on one line: each character that `str.isprintable` refuses becomes an escape.

    Those are controls, formats (marks of direction among them), surrogates, private and unassigned characters, and
    separators but the space.

    >>> print(printable("amount\n\x1b[2J\u202e"))
    amount\n\x1b[2J\u202e
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable_lines(text: str) -> str:
    """The text with its line breaks, each line as `printable` shows it."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(line: str) -> str:
    r"""A line of JSON with the same value: what is not printable, which only its strings can hold, is escaped.

    >>> print(printable_json('{"name": "a\u202eb"}'))
    {"name": "a\u202eb"}
    """
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else _json_escape(each) for each in line)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
