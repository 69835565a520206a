"""What happened, one line each, `key=value`, on stderr: for a journal, and for programs that follow one call."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

JSON = "is_json"  # an attribute of records
log = logging.getLogger("rtsr.bridge")


def log_event(event: str, **values: object) -> None:
    """Write one event with its values."""
    log.info("%s", " ".join(f"{name}={_quoted(value)}" for name, value in {"event": event, **values}.items()))


def log_json(value: dict[str, Any]) -> None:
    """Write a line that is JSON and nothing else."""
    log.info("%s", json.dumps(value), extra={JSON: True})


def _quoted(value: object) -> str:
    text = str(value).encode("unicode_escape").decode()
    return f'"{text.replace(chr(34), chr(39))}"' if " " in text or not text else text


class EventFormatter(logging.Formatter):
    """Puts the time before a line, and msg= before one that is no event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if getattr(record, JSON, False):
            return record.getMessage()
        now = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        text = record.getMessage()
        if not text.startswith("event="):
            text = f"event={record.levelname.lower()} msg={_quoted(text)}"
        if record.exc_info:
            text += f" error={_quoted(self.formatException(record.exc_info))}"
        return f"{now} {text}"


def to_stderr() -> None:
    """Let the bridge's events, and other libraries' warnings, be written to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
