"""What waits in the queue is predicted here: in a process of its own, of the lowest priority, so that no click waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from backend.batch_queue import BatchQueue, QueuedTask, QueueError, batch_queue_of
from backend.errors import MediaError, one_line
from backend.label_studio import LabelStudioClient, LabelStudioError
from backend.media import MediaReader
from backend.proposing import propose_regions
from backend.served_engine import ServedEngine
from backend.settings import Settings
from backend.worker_process import begin_worker
from converters.label_config import parse_label_config
from converters.tasks import parse_task_data
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError

logger = logging.getLogger(__name__)

MOST_FAILURES = 3
"""So often is a task tried."""
FAILURE_SECONDS = 20.0
"""Until a task is tried again; longer after each failure."""
LOOK_SECONDS = 2.0
"""Until it is looked for new tasks while others wait for their next try."""
AWAY_SECONDS = (5.0, 15.0, 60.0, 300.0)
"""Until Label Studio is asked again where it does not answer at all; the last one from then on. No task is to blame."""


class StoppedError(Exception):
    """The worker is to end. Never leaves it."""


@dataclass(frozen=True)
class BatchWorker:
    """Predicts task after task and posts the predictions.

    engine: the one that predicts the next task. connect: a new connection to Label Studio. open_clip: the whole sequence at an address,
    for a project. masks_per_task: brush masks that a prediction may hold at the most. stopped: set from outside; the task at work goes
    back to the queue. failure_seconds: until a task is tried again the first time.
    """

    queue: BatchQueue
    engine: Callable[[], Predictor]
    connect: Callable[[], LabelStudioClient]
    open_clip: Callable[[str, int], Clip]
    masks_per_task: int
    stopped: threading.Event
    failure_seconds: float = FAILURE_SECONDS

    def work(self) -> None:
        """Returns when nothing waits any more, or when it was stopped. Raises QueueError where the queue cannot be used."""
        self._take_over()
        away = 0
        while not self.stopped.is_set() and self.queue.has_work():
            task = self.queue.take()
            if task is None:
                self.stopped.wait(min(LOOK_SECONDS, self.failure_seconds))
            elif self._work_on(task):
                away = 0
            else:
                self.stopped.wait(AWAY_SECONDS[min(away, len(AWAY_SECONDS) - 1)])
                away += 1

    def _take_over(self) -> None:
        """What a worker that was killed had begun. A task that ends every worker must not do so for ever."""
        for task in self.queue.tasks(states=["running"]):
            self._failed(task, "the process that worked on it ended", again=True)

    def _work_on(self, task: QueuedTask) -> bool:
        """False where Label Studio is away."""
        try:
            self._predict(task)
        except StoppedError:
            self.queue.put_back(task)
        except LabelStudioError as error:
            if self._is_away():
                logger.warning("task %d waits for Label Studio: %s", task.task_id, one_line(str(error)))
                self.queue.put_back(task)
                return False
            self._failed(task, str(error), again=True)
        except QueueError:
            # Nothing is wrong with the task, which may have its prediction by now.
            raise
        except InputError as error:
            self._failed(task, str(error), again=isinstance(error, MediaError))
        except Exception as error:
            logger.error("task %d", task.task_id, exc_info=error)
            self._failed(task, f"{type(error).__name__}, see the log", again=True)
        return True

    def _predict(self, task: QueuedTask) -> None:
        with self.connect() as client:
            found = client.find_task(task.task_id, task.project_id)
            if found is None:
                logger.info("task %d of project %d is gone", task.task_id, task.project_id)
                self.queue.drop(task)
                return
            window = parse_task_data(found.data)
            clip = self.open_clip(window.sequence, task.project_id).window(window.first_frame, window.frame_count)
            config = parse_label_config(client.project_of(task.project_id).label_config, clip.cameras)
            predictor = self.engine()
            proposed = propose_regions(window, clip, config, predictor, self.masks_per_task, self._check_stopped)
            client.replace_prediction(found, proposed.regions, score=proposed.score, model_version=predictor.version)
        self.queue.finish(task)
        logger.info("task %d: %d objects, from the queue", task.task_id, len(proposed.masklets))

    def _failed(self, task: QueuedTask, failure: str, *, again: bool) -> None:
        failure = one_line(failure, 500)
        if again and task.failures + 1 < MOST_FAILURES:
            logger.warning("task %d failed and is tried again: %s", task.task_id, failure)
            self.queue.put_back(task, failure, self.failure_seconds * 4**task.failures)
        else:
            logger.error("task %d failed and is not tried again: %s", task.task_id, failure)
            self.queue.fail(task, failure)

    def _is_away(self) -> bool:
        try:
            with self.connect() as client:
                client.check_access()
        except LabelStudioError:
            return True
        return False

    def _check_stopped(self, *progress: object) -> None:
        if self.stopped.is_set():
            raise StoppedError


def run_batch_worker(settings: Settings) -> None:
    """The process: until nothing waits, it is terminated, or the server that started it ends. At once where another one works."""
    stopped = begin_worker(settings)
    url, api_key, queue = settings.label_studio_url, settings.label_studio_api_key, batch_queue_of(settings)
    assert url is not None
    assert api_key is not None
    assert queue is not None
    try:
        with queue.one_worker() as alone:
            if alone:
                BatchWorker(
                    queue=queue,
                    engine=ServedEngine(settings),
                    connect=lambda: LabelStudioClient(url, api_key),
                    open_clip=MediaReader(settings).open_clip,
                    masks_per_task=settings.masks_per_task,
                    stopped=stopped,
                ).work()
    except InputError as error:
        logger.error("no task of the queue is worked on: %s", one_line(str(error)))
        raise SystemExit(1) from None
