"""Alerts that the published schema allows, drawn from its types, with names and texts as hostile as they can be."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec
import msgspec.inspect as types
from hypothesis import strategies as st

from driftline.stream.alerts.build import rfc3339
from driftline.stream.alerts.schema import IncidentAlert, OutageAlert

HOSTILE = [
    "\x1b[2J", "\x1b]0;owned\x07", "a\nERROR forged", "a\r\n", "\u202egnp.exe", "\u2066x\u2069", "[/b]", "[red]",
    "<!channel>", "<@U1>", "<https://a.example|b>", "&amp;", "</td><script>", "$\\alpha$", "\ue000", "\u2028", "\x00",
    "\x9b31m", "",
]  # fmt: skip
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.lists(st.sampled_from(HOSTILE)).map("".join))


def alerts(kind: Any = IncidentAlert) -> st.SearchStrategy[bytes]:
    """Alerts of one kind, IncidentAlert or OutageAlert, as JSON."""
    return _values(types.type_info(kind)).map(msgspec.json.encode)


def any_alerts() -> st.SearchStrategy[bytes]:
    """Alerts of both kinds."""
    return alerts(IncidentAlert) | alerts(OutageAlert)


def _values(kind: types.Type) -> st.SearchStrategy[Any]:
    """JSON values of a type."""
    match kind:
        case types.Metadata(type=inner, extra_json_schema=schema):
            return st.sampled_from(schema["enum"]) if schema and "enum" in schema else _values(inner)
        case types.UnionType(types=several):
            return st.one_of([_values(each) for each in several if not isinstance(each, types.CustomType)])
        case types.StructType(fields=fields) | types.DataclassType(fields=fields):
            return _objects(fields)
        case types.ListType(item_type=item, max_length=most) | types.VarTupleType(item_type=item, max_length=most):
            return st.lists(_values(item), max_size=3 if most is None else min(most, 3))
        case types.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=3)
        case types.NoneType():
            return st.none()
        case _:
            return _scalars(kind)


def _objects(fields: tuple[types.Field, ...]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {each.encode_name: _values(each.type) for each in fields if each.required},
        optional={each.encode_name: _values(each.type) for each in fields if not each.required},
    )


def _scalars(kind: types.Type) -> st.SearchStrategy[Any]:
    match kind:
        case types.StrType(pattern=None, min_length=least, max_length=most):
            return TEXT.map(lambda text: text[:most]).filter(lambda text: len(text) >= (least or 0))
        case types.StrType():  # a time
            ends = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
            return ends | st.datetimes(timezones=st.just(UTC)).map(rfc3339)
        case types.BoolType():
            return st.booleans()
        case types.IntType(ge=least):
            return st.integers(least, 2**53 - 1) | st.integers(least or 0, 9)
        case types.FloatType(ge=least):
            return st.floats(least, allow_nan=False, allow_infinity=False) | st.floats(0, 1)
        case types.LiteralType(values=values):
            return st.sampled_from(values)
        case types.EnumType(cls=choices):
            return st.sampled_from([str(each) for each in choices])
        case _:
            return st.none() | st.booleans() | TEXT
