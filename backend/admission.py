"""Who may be answered now, who waits, and who is asked to come back: a full server says so at once instead of letting everyone wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import anyio

from backend.errors import BusyError


class Admission:
    """A number of places and an amount of memory, and a number of requests that may wait for them. For the coroutines of one event loop.

    Args:
        places: requests that are worked on at the same time.
        queue: requests that may wait.
        most_seconds: how long each of them may.
        most_bytes: what the requests that are worked on may be in size together.
    """

    def __init__(self, places: int, queue: int, most_seconds: float, most_bytes: int) -> None:
        self._places = places
        self._room = places + queue
        self._most_seconds = most_seconds
        self._most_bytes = most_bytes
        self._changed = asyncio.Event()
        self._inside = 0
        self._running = 0
        self._bytes = 0

    @contextlib.asynccontextmanager
    async def place(self, size_bytes: int) -> AsyncIterator[None]:
        """A place for the duration of the block. A small request does not wait for a large one that finds no room yet.

        Raises:
            BusyError: as many wait already as may, or neither place nor room came free in time.
        """
        if self.is_full:
            raise BusyError("fewer requests at a time", f"{self._inside} before this one", self._retry_after_seconds)
        size_bytes = min(size_bytes, self._most_bytes)
        self._inside += 1
        try:
            await self._enter(size_bytes)
            try:
                yield
            finally:
                self._leave(size_bytes)
        finally:
            self._inside -= 1

    async def _enter(self, size_bytes: int) -> None:
        with anyio.move_on_after(self._most_seconds):
            while not self._fits(size_bytes):
                await self._changed.wait()
        if not self._fits(size_bytes):
            raise BusyError(f"a place within {self._most_seconds:g} s", "none", self._retry_after_seconds)
        self._running += 1
        self._bytes += size_bytes

    def _leave(self, size_bytes: int) -> None:
        self._running -= 1
        self._bytes -= size_bytes
        self._changed.set()
        self._changed = asyncio.Event()

    def _fits(self, size_bytes: int) -> bool:
        return self._running < self._places and self._bytes + size_bytes <= self._most_bytes

    @property
    def is_full(self) -> bool:
        return self._inside >= self._room

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return self._inside - self._running

    @property
    def _retry_after_seconds(self) -> int:
        return max(1, round(self._most_seconds / 3))
