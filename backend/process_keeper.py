"""A process that works on what waits: started where there is something, again where it ended, and ended with the server."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import Protocol

from backend.errors import one_line
from backend.settings import Settings
from sam4d.structures import InputError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Until another look whether a worker is needed: one that broke off, or the worker of another server process that has ended."""
LONGEST_SECONDS = 300.0
"""As LOOK_SECONDS, which doubles while one worker after the other breaks off: each loads the engine anew."""
STOP_SECONDS = 3.0
"""For the worker to leave its work so that it can go on; gunicorn allows 5 s for all."""


class Work(Protocol):
    """What waits. All raise InputError where its file cannot be used."""

    def has_work(self) -> bool:
        """Something waits, or was being worked on when its worker ended."""
        ...

    def one_worker(self) -> contextlib.AbstractContextManager[bool]:
        """False where another process is in this block."""
        ...

    def put_back_running(self) -> None:
        """What is being worked on waits again. Called by who is alone."""
        ...


class ProcessKeeper:
    """The server's side. Safe to use from many threads.

    The worker lives while there is something to do: nothing waits in memory, and a large engine is not there twice for nothing.

    Args:
        run: the process; called with the settings, in another Python.
        name: what the log calls what waits, "the queue".
    """

    def __init__(self, work: Work, settings: Settings, run: Callable[[Settings], None], name: str) -> None:
        self._work = work
        self._settings = settings
        self._run = run
        self._name = name
        self._added = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Something was added."""
        self._added.set()

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the worker; what it worked on waits for the next start."""
        self._stopped.set()
        self._added.set()
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        complaint, pause_s = "", LOOK_SECONDS
        while not self._stopped.is_set():
            self._added.clear()
            went_well = True
            try:
                went_well = not self._is_needed() or self._run_worker()
            except (InputError, OSError) as error:
                # An OSError: the system has no process for a worker now.
                if str(error) != complaint:
                    logger.error("%s is not worked on: %s", self._name, one_line(str(error)))
                complaint = str(error)
            pause_s = LOOK_SECONDS if went_well else pause_s
            # what was added while the worker ended is not waited for
            self._added.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_SECONDS)

    def _is_needed(self) -> bool:
        if not self._work.has_work():
            return False
        with self._work.one_worker() as alone:
            return alone

    def _run_worker(self) -> bool:
        """False where it broke off."""
        # Anew and not forked: threads and CUDA bear no fork. Daemonic: it ends with a server that ends in order.
        worker = multiprocessing.get_context("spawn").Process(target=self._run, args=(self._settings,), daemon=True)
        worker.start()
        while worker.is_alive() and not self._stopped.is_set():
            worker.join(0.2)
        if self._stopped.is_set():
            self._end(worker)
        elif worker.exitcode:
            logger.error("the worker of %s ended with exit code %d", self._name, worker.exitcode)
            return False
        return True

    def _end(self, worker: SpawnProcess) -> None:
        worker.terminate()
        worker.join(STOP_SECONDS)
        if worker.is_alive():
            worker.kill()
            worker.join()
            # What it worked on did nothing wrong. Where another server's worker is at work, it is that one's.
            with self._work.one_worker() as alone:
                if alone:
                    self._work.put_back_running()
