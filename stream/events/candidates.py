"""Which field of foreign messages is likely which part of an event, by its name alone. Pure.

The tables hold the names that public serving logs use, in our order of preference: those that say exactly this part
come first, those that often mean something else last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Likely names of each part, compared without case, "_", "-", "@" and spaces. The first of them is the native one.
NAMES: dict[str, tuple[str, ...]] = {
    "id": (
        "id", "eventid", "requestid", "predictionid", "inferenceid", "messageid", "transactionid", "correlationid",
        "traceid", "ceid", "uuid", "guid", "rowid", "key", "index",
    ),
    "ts": (
        "ts", "timestamp", "eventtime", "eventtimestamp", "time", "datetime", "predictedat", "requesttime",
        "inferencetime", "createdat", "created", "occurredat", "cetime", "ingestiontime", "updatedat", "tsms",
        "timestampms", "epoch", "unixtime", "date", "at",
    ),
    "model": (
        "model", "modelname", "modelid", "endpoint", "endpointname", "deployment", "deploymentname", "servedmodel",
        "inferenceservicename", "service",
    ),
    "version": ("version", "modelversion", "modelver", "revision", "deploymentversion"),
    "features": ("features", "inputs", "input", "instances", "featurevalues", "data", "payload", "row"),
    "prediction": (
        "prediction", "predictedlabel", "predictedclass", "predicted", "predictions", "pred", "output", "outputs",
        "result", "yhat", "ypred", "decision",
    ),
    "score": ("score", "scores", "probability", "proba", "prob", "confidence", "predictionscore", "yscore"),
    "label": ("label", "groundtruth", "target", "actual", "truth", "outcome", "ytrue", "y"),
}  # fmt: skip

# Words in a longer name, as in "p_churn_probability", "customer_id", "predictedPrice" and "created_at".
_WORDS: dict[str, frozenset[str]] = {
    "id": frozenset({"id", "uuid", "guid", "hash", "token"}),
    "ts": frozenset({"time", "timestamp", "date", "datetime", "at", "ts", "epoch"}),
    "prediction": frozenset({"pred", "predicted", "prediction", "yhat"}),
    "score": frozenset({"prob", "proba", "probability"}),
}
# Those that count only at the end of a name: "at_home" is no time, "id_scan" no id.
_LAST = frozenset({"id", "ts"})
#: The rank of a name that only has a word of the part, after all others.
LOOSE = 100
_SEPARATORS = re.compile(r"[\s_@-]")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def likely_path(part: str, paths: Iterable[str]) -> str | None:
    """The dotted path, among those that messages have, that is likely this part of an event; None if no name fits.

    The last key of a path decides; of equally good ones, the path nearest to the root.

    >>> likely_path("ts", ["amount", "request.eventTime", "request.id"])
    'request.eventTime'
    >>> likely_path("model", ["amount"]) is None
    True
    """
    ranks = {name: rank for rank, name in enumerate(NAMES[part])}
    found = [(ranks[name], path.count("."), path) for path in paths if (name := _plain(path)) in ranks]
    return min(found)[2] if found else None


def name_rank(part: str, path: str) -> int | None:
    """How well the last key of a path fits a part of an event, 0 best; None if it does not.

    >>> name_rank("ts", "request.timestamp"), name_rank("ts", "orderDate"), name_rank("ts", "amount")
    (1, 100, None)
    """
    name = _plain(path)
    if name in NAMES[part]:
        return NAMES[part].index(name)
    words = [word.lower() for word in _WORD.findall(path.rsplit(".", 1)[-1])]
    counted = words[-1:] if part in _LAST else words
    return LOOSE if _WORDS.get(part, frozenset()) & set(counted) else None


def _plain(path: str) -> str:
    return _SEPARATORS.sub("", path.rsplit(".", 1)[-1]).lower()
