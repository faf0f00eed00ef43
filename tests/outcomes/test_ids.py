"""Keys of ids: fixed for ever, and the same however ids are put together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.outcomes.ids import hash_ids

# These are stored: a change of the function would part predictions from their labels.
VECTORS = {
    "": 0x0,
    "7": 0xC6491019B3A9DDA6,
    "e-1": 0x2D1BC642A2342CA,
    "12345678": 0x47FF567E07CED93C,
    "123456789": 0x80B1AD2712ADA8EE,
    "7e6a7f5e-5f0c-4d0e-9a3c-0d1f2b3c4d5e": 0xCE3DD51E8C6100D0,
    "Zürich/Größe": 0xEC7F8C76CEB9C7B5,
    "x" * 1000: 0xF1F825C002E94317,
}
_M64 = (1 << 64) - 1


def _mixed(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _M64
    return x ^ (x >> 31)


def plainly(id_: str) -> int:
    """The key of an id, a word at a time."""
    text = id_.encode("utf-8", "surrogatepass")
    key = _mixed(len(text) * 0x9E3779B97F4A7C15 & _M64)
    for place, first in enumerate(range(0, len(text), 8)):
        word = int.from_bytes(text[first : first + 8], "little")
        key = _mixed(key ^ ((word * 0x9E3779B97F4A7C15 + place) & _M64))
    return key


def test_keys_never_change() -> None:
    assert dict(zip(VECTORS, hash_ids(list(VECTORS)).tolist(), strict=True)) == VECTORS


@given(st.lists(st.one_of(st.text(max_size=20), st.text(min_size=60, max_size=300), st.just("\0" * 9))))
def test_the_key_of_an_id_depends_on_nothing_else(ids: list[str]) -> None:
    assert hash_ids(ids).tolist() == [plainly(each) for each in ids]


def test_ids_that_differ_anywhere_have_different_keys() -> None:
    ids = [f"{prefix}{i}{suffix}" for prefix in ("", "order-") for i in range(20_000) for suffix in ("", "\0", " ")]
    assert len({*hash_ids(ids).tolist()}) == len(ids)
