"""Log lines on standard error, as text or as JSON."""

from __future__ import annotations

import logging
from typing import Literal

import orjson


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ts, level, logger, message and, if there is one, error with its traceback."""

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


def configure_logging(log_format: Literal["text", "json"]) -> None:
    """Send every log line to standard error in this format."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # At INFO these loggers repeat what Driftline logs, or say what nobody needs.
    for name in ("aiokafka", "kafka", "faust", "mode", "driftline.stream.worker.faust"):
        logging.getLogger(name).setLevel(logging.WARNING)
