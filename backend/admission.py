"""Who may be answered now, who waits, and who is asked to come back: a full server says so at once instead of letting everyone wait."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

from backend.errors import BusyError


class Admission:
    """A number of places, and a number of requests that may wait for one. For the coroutines of one event loop.

    Args:
        places: requests that are worked on at the same time.
        queue: requests that may wait.
        most_seconds: how long each of them may.
    """

    def __init__(self, places: int, queue: int, most_seconds: float) -> None:
        self._free = anyio.Semaphore(places)
        self._places = places
        self._room = places + queue
        self._most_seconds = most_seconds
        self._inside = 0

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for the duration of the block.

        Raises:
            BusyError: as many wait already as may, or no place came free in time.
        """
        if self.is_full:
            raise BusyError("fewer requests at a time", f"{self._inside} before this one", self._retry_after_seconds)
        self._inside += 1
        try:
            with anyio.move_on_after(self._most_seconds) as waiting:
                await self._free.acquire()
            if waiting.cancelled_caught:
                raise BusyError(f"a place within {self._most_seconds:g} s", "none", self._retry_after_seconds)
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._inside -= 1

    @property
    def is_full(self) -> bool:
        return self._inside >= self._room

    @property
    def running(self) -> int:
        return self._places - self._free.value

    @property
    def waiting(self) -> int:
        return self._inside - self.running

    @property
    def _retry_after_seconds(self) -> int:
        return max(1, round(self._most_seconds / 3))
