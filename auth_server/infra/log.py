"""Log lines: JSON off a terminal, readable on one; the request id in each.

Authlib's debug lines print whole tokens, so its logger never goes below INFO.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from auth_server.config import Settings
from auth_server.infra import events

_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters cannot break it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            "request_id": events.context().request_id,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line)


class TextFormatter(logging.Formatter):
    """A line for a person; values are escaped, so that nobody can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = "".join(f" {key}={value!r}" for key, value in getattr(record, "fields", {}).items() if key != "event")
        message = record.getMessage().encode("unicode_escape").decode()
        line = f"{at} {record.levelname.lower():7} {message}{fields}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def setup_log(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Give the server's loggers one handler on standard error."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    ours = logging.getLogger("auth_server")
    ours.handlers[:] = [handler]
    ours.setLevel(settings.log_level.upper())
    ours.propagate = False
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False  # no line says them
    keep_authlib_quiet()


def keep_authlib_quiet() -> None:
    """Whatever the root logger's level: tokens must not reach a log."""
    for name in ("authlib", "authlib.oauth2", "authlib.integrations"):
        logging.getLogger(name).setLevel(logging.INFO)
