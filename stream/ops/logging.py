"""Log lines on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
from typing import Literal

from driftline.stream.text.printable import printable, printable_json, printable_lines


class TextFormatter(logging.Formatter):
    """One line of text, then the traceback if there is an error. A message from elsewhere can't forge a second line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line and the traceback."""
        return printable_lines(super().format(record))


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
        return printable_json(json.dumps(line, ensure_ascii=False))


def configure_logging(log_format: Literal["text", "json"]) -> None:
    """Send every log line to standard error in this format."""
    handler = logging.StreamHandler()
    text = TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # At INFO these loggers repeat what Driftline logs, or say what nobody needs.
    for name in ("aiokafka", "kafka", "faust", "mode", "driftline.stream.worker.faust"):
        logging.getLogger(name).setLevel(logging.WARNING)
