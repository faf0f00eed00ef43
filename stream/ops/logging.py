"""Log lines for people or for machines, on standard error."""

from __future__ import annotations

import logging
from typing import Literal

import orjson


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message and, where there is one, error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def configure_logging(form: Literal["text", "json"]) -> None:
    """Send every log line to standard error in this form."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Their news at INFO are ours already, or nobody's.
    for chatty in ("aiokafka", "kafka", "faust", "mode", "driftline.stream.worker.faust"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
