"""What a client is told when something is wrong: one line and an id under which the log holds the rest."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from backend.logs import current_request_id
from sam4d.structures import InputError

logger = logging.getLogger(__name__)


class RequestError(InputError):
    """The request itself cannot be read, whatever it asks: not JSON, too large, a field of the wrong type."""

    def __init__(self, where: str, expected: str, found: str, status: int = 400) -> None:
        super().__init__(where, expected, found)
        self.status = status


class MediaError(InputError):
    """A file that a task names cannot be had: Label Studio is unreachable, refuses the token, or has no such file."""


class BusyError(InputError):
    """The server has too much to do. The request may come again after a while."""

    def __init__(self, expected: str, found: str, retry_after_seconds: int) -> None:
        super().__init__("server", expected, found)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class ErrorAnswer:
    """HTTP status, the line for the client, the id that the log line carries too, and when to ask again where that helps."""

    status: int
    message: str
    error_id: str
    retry_after_seconds: int | None = None


class ErrorLog:
    """Every error that somebody was told of: logged, and counted by kind. Safe to use from many threads."""

    def __init__(self) -> None:
        self._counts = Counter(dict.fromkeys(("busy", "refused", "memory", "failed"), 0))
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many of each kind: busy, refused, memory, failed."""
        with self._lock:
            return dict(self._counts)

    def answer(self, error: Exception, doing: str) -> ErrorAnswer:
        """Log an error and say what the client may know of it.

        An InputError is the client's own and is told in full, and so is that memory ran out; of anything else only the id leaves this
        process: the request's own, where there is a request.
        """
        error_id = current_request_id.get() or secrets.token_hex(8)
        if isinstance(error, BusyError):
            self._count("busy")
            logger.warning("%s put off [%s]: %s", doing, error_id, error)
            return ErrorAnswer(503, one_line(str(error)), error_id, error.retry_after_seconds)
        if isinstance(error, InputError):
            self._count("refused")
            status = error.status if isinstance(error, RequestError) else 422
            message = one_line(str(error))
            logger.warning("%s refused [%s]: %s", doing, error_id, message)
            return ErrorAnswer(status, message, error_id)
        if isinstance(error, MemoryError):
            self._count("memory")
            message = f"{doing} failed: {one_line(str(error)) or 'too little memory'}; with fewer objects or other tasks closed it may go"
            logger.error("%s [%s]", message, error_id)
            return ErrorAnswer(503, message, error_id)
        self._count("failed")
        logger.error("%s failed [%s]", doing, error_id, exc_info=error)
        return ErrorAnswer(500, f"{doing} failed; the backend's log says more under {error_id}", error_id)

    def _count(self, kind: str) -> None:
        with self._lock:
            self._counts[kind] += 1


def one_line(text: str, longest: int = 2000) -> str:
    """The text on one line, cut where it is very long: what a request holds may be repeated in a message."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}..."
