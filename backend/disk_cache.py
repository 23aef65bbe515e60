"""Downloaded files on disk, within a bound."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)


class DiskCache:
    """Downloaded files in one folder, the least recently used ones deleted when they take too much. Safe to use from many threads."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    def get(self, key: str, fetch: Callable[[], bytes]) -> bytes:
        path = self.folder / key
        try:
            content = path.read_bytes()
            os.utime(path)
            return content
        except OSError:
            content = fetch()
        with self._lock:
            self._put(path, content)
        return content

    def _put(self, path: Path, content: bytes) -> None:
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
        except OSError as error:
            # A full disk costs speed, not the answer.
            logger.warning("a downloaded file is not kept: %s", error.strerror or "an error")

    def _make_room(self) -> None:
        files = [(entry, entry.stat()) for entry in self.folder.iterdir() if not entry.name.startswith(".")]
        total = sum(status.st_size for _, status in files)
        for entry, status in sorted(files, key=lambda item: item[1].st_mtime_ns):
            if total <= self._most_bytes:
                return
            entry.unlink(missing_ok=True)
            total -= status.st_size
