"""One small SQLite file that several processes read and change, beside a lock that one of them holds while it works."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sam4d.structures import InputError

LOCKED_SECONDS = 20.0
"""How long one process waits for another's change, which takes milliseconds."""


class SharedTables:
    """Safe to use from many threads and processes.

    Args:
        file: made with the first change; its folder, too.
        tables: CREATE TABLE IF NOT EXISTS statements.
        unusable: the error to raise where the file cannot be read or written, given what the system says of it.
    """

    def __init__(self, file: Path, tables: Sequence[str], unusable: Callable[[str], InputError]) -> None:
        self._file = file
        self._tables = tables
        self._unusable = unusable

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes, or none."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.closing(sqlite3.connect(self._file, timeout=LOCKED_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._make_tables(connection)
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(_says(error)) from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Changes nothing that others can see; tables that nobody has used yet are empty."""
        try:
            if self._file.exists():
                self._undo_half_a_change()
                address = f"{self._file.absolute().as_uri()}?mode=ro"
                with contextlib.closing(sqlite3.connect(address, uri=True, timeout=LOCKED_SECONDS)) as connection:
                    yield connection
            else:
                with contextlib.closing(sqlite3.connect(":memory:")) as connection:
                    self._make_tables(connection)
                    yield connection
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(_says(error)) from None

    @contextlib.contextmanager
    def one_worker(self) -> Iterator[bool]:
        """False where another process is in this block: one works at a time, and the system frees the place of one that is killed."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self._file.with_suffix(".lock").open("w")
        except OSError as error:
            raise self._unusable(_says(error)) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                alone = False
            except OSError as error:
                # A file system without locks.
                raise self._unusable(_says(error)) from None
            yield alone

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        for table in self._tables:
            connection.execute(table)

    def _undo_half_a_change(self) -> None:
        """Of a process that was killed at it: who only reads cannot, and would be refused until somebody changes something."""
        if self._file.with_name(f"{self._file.name}-journal").exists():
            with contextlib.suppress(InputError), self.changing():
                pass


def _says(error: Exception) -> str:
    # What the system says of a file names its place.
    says = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return says or type(error).__name__
