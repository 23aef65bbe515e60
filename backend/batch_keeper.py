"""Sees to it that what waits in the queue is worked on, see `backend.process_keeper`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from backend.batch_queue import BatchQueue, QueueError
from backend.batch_worker import run_batch_worker
from backend.process_keeper import ProcessKeeper
from backend.settings import Settings

logger = logging.getLogger(__name__)


class BatchKeeper(ProcessKeeper):
    """The server's side of the queue. Safe to use from many threads."""

    def __init__(self, queue: BatchQueue, settings: Settings) -> None:
        super().__init__(queue, settings, run_batch_worker, "the queue")
        self.queue = queue

    def add(self, tasks: Mapping[int, int]) -> set[int]:
        """As the queue's own; where it cannot be used, a line in the log says so and nothing is taken."""
        try:
            accepted = self.queue.add(tasks)
        except QueueError as error:
            logger.error("nothing is queued: %s", error)
            return set()
        self.wake()
        return accepted

    def held(self, task_ids: Collection[int], since_s: float) -> set[int]:
        """As the queue's own; none where it cannot be used."""
        try:
            return self.queue.held(task_ids, since_s)
        except QueueError as error:
            logger.error("the queue is not asked: %s", error)
            return set()
