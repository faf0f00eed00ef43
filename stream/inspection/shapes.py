"""Which well-known kind of message a sample holds: logs of model servers, change events, batches of rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftline.stream.events.mapping import PRESETS, Preset, value_at
from driftline.stream.events.rows import RowsError, read_rows

# Documents by which a sample is recognised, and the share of them that must be of a kind.
_FIRST, _MOST = 200, 0.9


@dataclass(frozen=True, slots=True)
class Shape:
    """A well-known kind of message.

    preset: its name in the mapping. features: the path of its block. fields: what differs from the preset. why: how it
    was recognised.
    """

    preset: Preset
    features: str
    why: str
    fields: Mapping[str, str] = field(default_factory=dict)


def recognise_shape(documents: Sequence[Mapping[str, Any]]) -> Shape | None:
    """The kind of message that most of the documents are; None if they are of none that Driftline knows."""
    first = documents[:_FIRST]
    for kind in _KINDS:
        for path in kind.paths:
            fits = sum(kind.fits(document, value_at(document, path.split("."))) for document in first)
            if fits and fits >= _MOST * len(first):
                return Shape(kind.preset, path, kind.why, _different(kind.preset, path, first))
    return None


def _different(preset: Preset, path: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The fields of the mapping that differ from the preset, for features at `path`."""
    if path == PRESETS[preset]["features"]:
        return {}
    above, _, last = path.rpartition(".")
    beside = [f"{above}.{each}" if above else each for each in _ANSWERS.get(last, ())]
    beside += [each for asked, each in _ELSEWHERE if asked == path]
    found = [each for each in beside if any(value_at(document, each.split(".")) is not None for document in documents)]
    return {"features": path, **({"prediction": found[0]} if found else {})}


# The name of the answer beside the name of a question.
_ANSWERS = {
    "inputs": ("outputs", "predictions"), "instances": ("predictions", "outputs"), "rows": ("predictions",),
    "records": ("predictions",), "dataframe_split": ("predictions",), "dataframe_records": ("predictions",),
}  # fmt: skip
_ELSEWHERE = (
    ("request.inputs", "response.outputs"), ("request.instances", "response.predictions"), ("request", "response"),
)  # fmt: skip


class _Kind(NamedTuple):
    preset: Preset
    paths: tuple[str, ...]
    fits: Callable[[Mapping[str, Any], Any], bool]
    why: str


def _is_capture(document: Mapping[str, Any], block: Any) -> bool:
    return isinstance(block, dict) and "data" in block and "captureData" in document


def _is_change(document: Mapping[str, Any], block: Any) -> bool:
    return "op" in document and "ts_ms" in document and (block is None or isinstance(block, dict))


def _are_tensors(_: Mapping[str, Any], block: Any) -> bool:
    return _is_list_of(dict, block) and all({"name", "data"} <= tensor.keys() for tensor in block)


def _is_named_array(_: Mapping[str, Any], block: Any) -> bool:
    return isinstance(block, dict) and ("ndarray" in block or isinstance(block.get("tensor"), dict))


def _are_rows(_: Mapping[str, Any], block: Any) -> bool:
    if not isinstance(block, list | dict) or not block:
        return False
    try:
        return not any(isinstance(row, RowsError) for row in read_rows({"features": block}))
    except RowsError:
        return False


def _are_objects(_: Mapping[str, Any], block: Any) -> bool:
    return _is_list_of(dict, block)


def _is_list_of(kind: type, block: Any) -> bool:
    return isinstance(block, list) and bool(block) and all(isinstance(each, kind) for each in block)


_KINDS = (
    _Kind("sagemaker", ("captureData.endpointInput",), _is_capture, "captureData.endpointInput holds data"),
    _Kind("debezium", ("after",), _is_change, "op, ts_ms and after: a change of a table"),
    _Kind(
        "kserve-v2",
        ("data.inputs", "inputs", "request.inputs", "payload.inputs"),
        _are_tensors,
        "named tensors",
    ),
    _Kind("kserve-v1", ("data.instances",), _are_rows, "a list of instances in the data of a CloudEvent"),
    _Kind("seldon", ("request.data", "data", "request", "payload.data"), _is_named_array, "names and an ndarray"),
    _Kind(
        "instances",
        ("instances", "request.instances", "payload.instances", "dataframe_split", "dataframe_records"),
        _are_rows,
        "a list of rows",
    ),
    _Kind(
        "instances",
        ("inputs", "rows", "records", "samples", "batch", "features", "data"),
        _are_objects,
        "a list of objects",
    ),
)
