"""Files that are there as a whole or not at all, whatever happens while they are written, a loss of power included."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

PART = ".part"
"""How the names of files end that are being written; what a killed process left of them is worth nothing."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of a file when the block ends without an error. Otherwise what was there stays.

    Raises OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        yield part
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Put a text, in UTF-8, in the place of what was there; see `replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """A file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
