"""The queue is worked on again after whatever ended a worker."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from backend.batch_keeper import BatchKeeper
from backend.batch_queue import BatchQueue
from backend.process_keeper import LONGEST_SECONDS, LOOK_SECONDS
from backend.settings import Settings


class Pauses(threading.Event):
    """Notes how long it would be waited for, and ends the keeper after so many times."""

    def __init__(self, keeper: BatchKeeper, most: int) -> None:
        super().__init__()
        self._keeper, self._most = keeper, most
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        if len(self.seconds) == self._most:
            threading.Thread(target=self._keeper.stop).start()
            self._keeper._stopped.wait()
        return True


@pytest.fixture
def keeper(tmp_path: Path) -> BatchKeeper:
    queue = BatchQueue(tmp_path / "batch_queue.sqlite3", 10)
    queue.add({1: 7})
    return BatchKeeper(queue, Settings())


def run_until(keeper: BatchKeeper, pauses: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    noted = Pauses(keeper, pauses)
    monkeypatch.setattr(keeper, "_added", noted)
    keeper.start()
    assert keeper._thread is not None
    keeper._thread.join(60)
    assert not keeper._thread.is_alive()
    return noted.seconds


def test_workers_that_break_off_come_less_and_less_often(keeper: BatchKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([False] * 7 + [True])
    monkeypatch.setattr(keeper, "_run_worker", lambda: next(ends))
    pauses = run_until(keeper, 8, monkeypatch)
    assert pauses == [LOOK_SECONDS, 20.0, 40.0, 80.0, 160.0, LONGEST_SECONDS, LONGEST_SECONDS, LOOK_SECONDS]


def test_a_system_without_room_for_a_process_is_asked_again(
    keeper: BatchKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def run_worker() -> bool:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return True

    monkeypatch.setattr(keeper, "_run_worker", run_worker)
    assert run_until(keeper, 3, monkeypatch) == [LOOK_SECONDS] * 3
    assert len(tries) == 3
    assert caplog.text.count("the queue is not worked on") == 1
