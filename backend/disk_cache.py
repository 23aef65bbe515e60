"""Files on disk that can be had again, within a bound."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

ABANDONED_S = 3600.0
"""A file that is still being written after this long was left behind by a process that ended."""


class DiskCache:
    """Files in one folder, the least recently used ones deleted when they take too much. Safe to use from many threads and processes.

    what: what the log calls one of them.
    """

    def __init__(self, folder: Path, most_bytes: int, what: str = "a downloaded file") -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._what = what
        self._lock = threading.Lock()

    def get(self, key: str, fetch: Callable[[], bytes]) -> bytes:
        path = self.folder / key
        try:
            content = path.read_bytes()
            os.utime(path)
            return content
        except OSError:
            content = fetch()
        self.put(key, content)
        return content

    def put(self, key: str, content: bytes) -> bool:
        """Keep a file; False where that cannot be done."""
        with self._lock:
            return self._put(self.folder / key, content)

    def _put(self, path: Path, content: bytes) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(path)
            except BaseException:
                # What is half written would take the little that is left, and no bound counts it.
                Path(temporary).unlink(missing_ok=True)
                raise
            self._make_room()
            return True
        except OSError as error:
            # A full disk costs speed, not the answer.
            logger.warning("%s is not kept: %s", self._what, error.strerror or "an error")
            return False

    def _make_room(self) -> None:
        files = []
        for entry in self.folder.iterdir():
            # Another process may have deleted it.
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if not entry.name.startswith("."):
                    files.append((entry, status))
                elif status.st_mtime < time.time() - ABANDONED_S:
                    entry.unlink()
        total = sum(status.st_size for _, status in files)
        for entry, status in sorted(files, key=lambda item: item[1].st_mtime_ns):
            if total <= self._most_bytes:
                return
            entry.unlink(missing_ok=True)
            total -= status.st_size
