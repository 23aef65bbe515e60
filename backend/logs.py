"""What the log says: one line per event, as text or as JSON, with the id of its request, without secrets and places on the disk."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from gunicorn.glogging import Logger

LogFormat: TypeAlias = Literal["text", "json"]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""Of the request that is being answered here; "" outside of one. Threads that work for a request see it, too."""

DEEPEST_CALLS = 6
LONGEST_MESSAGE = 4000
PACKAGES = ("backend", "converters", "sam4d")
SOURCE_FILE = re.compile(r"(?:/[^\s/:'\"<>]+)+/([^\s/:'\"<>]+\.py)\b")
"""Where warnings and tasks of asyncio say they come from; the file's name is enough."""


class LineFormatter(logging.Formatter):
    """One line per record.

    An error comes as its kind, what it says and where it was raised, not as a traceback, unless `with_tracebacks` asks for it.

    Args:
        log_format: "text", or "json" with the keys time, level, logger, request, message and, where there is one, error.
        hidden: {text: what the log says instead}, for secrets and folders.
    """

    def __init__(self, log_format: LogFormat, hidden: Mapping[str, str] | None = None, *, with_tracebacks: bool = False) -> None:
        super().__init__()
        self._log_format = log_format
        # The longest first: one secret may begin another.
        self._hidden = sorted((hidden or {}).items(), key=lambda item: -len(item[0]))
        self._with_tracebacks = with_tracebacks

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = _on_one_line(record.getMessage())
        request = current_request_id.get()
        error = self._error(record)
        if self._log_format == "json":
            fields = {"time": time, "level": record.levelname, "logger": record.name, "request": request, "message": message}
            fields = {key: self._hide(text) for key, text in fields.items()}
            return json.dumps(fields | ({"error": self._hide(error)} if error else {}), ensure_ascii=False)
        line = f"{time} {record.levelname} {record.name}{f' [{request}]' if request else ''}: {message}"
        return self._hide(f"{line}{f' | {error}' if error and not self._with_tracebacks else ''}{self._traceback(record)}")

    def _error(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return ""
        if self._with_tracebacks and self._log_format == "json":
            return "".join(traceback.format_exception(error))
        return describe_error(error)

    def _traceback(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return "" if error is None or not self._with_tracebacks else "\n" + "".join(traceback.format_exception(error)).rstrip()

    def _hide(self, text: str) -> str:
        for secret, instead in self._hidden:
            text = text.replace(secret, instead)
        return text if self._with_tracebacks else SOURCE_FILE.sub(r"\1", text)


def describe_error(error: BaseException) -> str:
    """Kind, message and our own innermost calls, on one line: `ValueError: no clip, at backend.sessions:123 from backend.service:88`."""
    # What the system says of a file names its place.
    says = (error.strerror or "") if isinstance(error, OSError) else str(error)
    calls = [
        f"{module}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (module := str(frame.f_globals.get("__name__", ""))).partition(".")[0] in PACKAGES
    ]
    where = f", at {' from '.join(calls[::-1][:DEEPEST_CALLS])}" if calls else ""
    return f"{type(error).__name__}: {_on_one_line(says)}{where}" if says else f"{type(error).__name__}{where}"


def configure_logging(level: str, log_format: LogFormat, hidden: Mapping[str, str]) -> None:
    """This process's log goes to standard error, the server's lines and Python's warnings included. Where it has been set up already, it
    stays so. DEBUG is for our own packages: those of others would tell addresses and headers."""
    formatter = LineFormatter(log_format, hidden, with_tracebacks=level == "DEBUG")
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level="INFO" if level == "DEBUG" else level, handlers=[handler])
    if level == "DEBUG":
        for package in PACKAGES:
            logging.getLogger(package).setLevel(level)
    logging.captureWarnings(True)
    # uvicorn has the same handlers
    for served in logging.getLogger("gunicorn.error").handlers:
        served.setFormatter(formatter)


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn is not typed
    """gunicorn's own lines ("Listening at: ...") before a worker has an app, and in the process above the workers, as text."""

    log_format: LogFormat = "text"

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(LineFormatter(self.log_format))


class JsonGunicornLogger(GunicornLogger):
    """The same as JSON."""

    log_format = "json"


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}..."
