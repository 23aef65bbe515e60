"""Sees to it that what waits in the queue is worked on: starts the worker process, again where it ended, and none where nothing waits."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Collection, Mapping
from multiprocessing.context import SpawnProcess

from backend.batch_queue import BatchQueue, QueueError
from backend.batch_worker import run_batch_worker
from backend.errors import one_line
from backend.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Until another look whether a worker is needed: one that broke off, or the worker of another server process that has ended."""
LONGEST_SECONDS = 300.0
"""As LOOK_SECONDS, which doubles while one worker after the other breaks off: each loads the engine anew."""
STOP_SECONDS = 3.0
"""For the worker to bring the task at work back into the queue; gunicorn allows 5 s for all."""


class BatchKeeper:
    """The server's side of the queue. Safe to use from many threads.

    The worker lives while there is something to do: nothing waits in memory, and a large engine is not there twice for nothing.
    """

    def __init__(self, queue: BatchQueue, settings: Settings) -> None:
        self.queue = queue
        self._settings = settings
        self._added = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, tasks: Mapping[int, int]) -> set[int]:
        """As the queue's own; where it cannot be used, a line in the log says so and nothing is taken."""
        try:
            accepted = self.queue.add(tasks)
        except QueueError as error:
            logger.error("nothing is queued: %s", error)
            return set()
        self._added.set()
        return accepted

    def held(self, task_ids: Collection[int], since_s: float) -> set[int]:
        """As the queue's own; none where it cannot be used."""
        try:
            return self.queue.held(task_ids, since_s)
        except QueueError as error:
            logger.error("the queue is not asked: %s", error)
            return set()

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._keep, name="batch-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the worker; its task waits on for the next start."""
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
            except (QueueError, OSError) as error:
                # An OSError: the system has no process for a worker now.
                if str(error) != complaint:
                    logger.error("the queue is not worked on: %s", one_line(str(error)))
                complaint = str(error)
            pause_s = LOOK_SECONDS if went_well else pause_s
            # what was added while the worker ended is not waited for
            self._added.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_SECONDS)

    def _is_needed(self) -> bool:
        if not self.queue.has_work():
            return False
        with self.queue.one_worker() as alone:
            return alone

    def _run_worker(self) -> bool:
        """False where it broke off."""
        # Anew and not forked: threads and CUDA bear no fork.
        worker = multiprocessing.get_context("spawn").Process(target=run_batch_worker, args=(self._settings,), daemon=True)
        worker.start()
        while worker.is_alive() and not self._stopped.is_set():
            worker.join(0.2)
        if self._stopped.is_set():
            self._end(worker)
        elif worker.exitcode:
            logger.error("the worker of the queue ended with exit code %d", worker.exitcode)
            return False
        return True

    def _end(self, worker: SpawnProcess) -> None:
        worker.terminate()
        worker.join(STOP_SECONDS)
        if worker.is_alive():
            worker.kill()
            worker.join()
            # The task did nothing wrong. Where another server's worker is at work, it is that one's.
            with self.queue.one_worker() as alone:
                for task in self.queue.tasks(states=["running"]) if alone else ():
                    self.queue.put_back(task)
