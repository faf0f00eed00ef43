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

_SEPARATORS = re.compile(r"[\s_@-]")


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


def _plain(path: str) -> str:
    return _SEPARATORS.sub("", path.rsplit(".", 1)[-1]).lower()
