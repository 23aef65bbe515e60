"""The process that trains: one on a machine, of the lowest priority, so that no click waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backend.engine import engine_kind
from backend.errors import one_line
from backend.label_studio import LabelStudioClient
from backend.learners import StoppedError, learner_of
from backend.media import MediaReader
from backend.settings import Settings
from backend.training_jobs import TrainingJob, TrainingJobs, TrainingRequest, training_folder, training_jobs_of, why_no_training
from backend.training_run import Outcome, Teaching, TrainingRun
from backend.worker_process import begin_worker
from sam4d.structures import InputError

logger = logging.getLogger(__name__)

MOST_FAILURES = 3
"""So often may its process end in the middle of a training; it goes on each time."""
SAY_SECONDS = 1.0
"""Between two lines on how far a training is."""


@dataclass(frozen=True, eq=False)
class TrainingWorker:
    """Works on job after job. stopped: set from outside; the job at work then waits for the next worker."""

    jobs: TrainingJobs
    run: TrainingRun
    stopped: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[str, int, int], None] = lambda step, done, total: None

    def work(self) -> None:
        """Returns when nothing waits any more, or when it was stopped. Raises TrainingJobsError where the jobs' file cannot be used."""
        self.take_over()
        while not self.stopped.is_set():
            job = self.jobs.take()
            if job is None:
                return
            self.work_on(job)

    def take_over(self) -> None:
        """What a process that was killed had begun. A job that ends every process must not do so for ever."""
        for job in self.jobs.jobs(states=["running"]):
            if job.failures + 1 >= MOST_FAILURES:
                says = f"its process ended {MOST_FAILURES} times in the middle, the last time at: {job.says} (too little memory?)"
                self.jobs.end(job, "failed", says)
                logger.error("training %d of project %d failed: %s", job.job_id, job.project_id, says)
            else:
                self.jobs.put_back(job, failed=True)

    def work_on(self, job: TrainingJob, request: TrainingRequest | None = None) -> Outcome | None:
        """None where it was stopped or failed; the job says which, and why. request: in place of the job's own."""
        watch = _Watch(self.jobs, job, self.stopped, self.progress)
        new = self.jobs.changes().get(job.project_id, 0)
        logger.info("training %d of project %d begins", job.job_id, job.project_id)
        try:
            outcome = self.run.run(job.project_id, request or job.request, watch.say, watch.is_stopped)
        except StoppedError:
            if watch.by_request:
                self.jobs.end(job, "stopped", "somebody stopped it; the same training goes on where it was")
            else:
                self.jobs.put_back(job)
            return None
        except (InputError, MemoryError) as error:
            self._failed(job, one_line(str(error), 500) or "too little memory")
            return None
        except Exception as error:
            logger.error("training %d", job.job_id, exc_info=error)
            self._failed(job, f"{type(error).__name__}, see the log")
            return None
        self.jobs.end(job, outcome.ending, outcome.says)
        self.jobs.forget_changes(job.project_id, new)
        logger.info("training %d of project %d: %s, %s", job.job_id, job.project_id, outcome.ending, outcome.says)
        return outcome

    def _failed(self, job: TrainingJob, says: str) -> None:
        logger.error("training %d of project %d failed: %s", job.job_id, job.project_id, says)
        self.jobs.end(job, "failed", says)


class _Watch:
    """Says how far a job is, and looks whether it is to end."""

    def __init__(self, jobs: TrainingJobs, job: TrainingJob, stopped: threading.Event, progress: Callable[[str, int, int], None]) -> None:
        self.by_request = False
        self._jobs = jobs
        self._job = job
        self._stopped = stopped
        self._progress = progress
        self._step = ""
        self._said_s = float("-inf")
        self._says = ""

    def say(self, step: str, done: int, total: int) -> None:
        self._says = f"{step}, {done} of {total}"
        self._progress(step, done, total)
        if self.is_stopped():
            raise StoppedError

    def is_stopped(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_SECONDS:
            self._said_s = now_s
            self.by_request = not self._jobs.say(self._job, self._says)
        return self.by_request or self._stopped.is_set()


def training_run_of(settings: Settings) -> TrainingRun:
    """As the settings say. Raises InputError where something is missing."""
    missing = why_no_training(settings)
    if missing:
        raise InputError("training", "MODEL_DIR, LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY", missing)
    url, api_key = settings.label_studio_url, settings.label_studio_api_key
    assert url is not None
    assert api_key is not None
    return TrainingRun(teaching_of(settings), lambda: LabelStudioClient(url, api_key), MediaReader(settings).open_clip)


def teaching_of(settings: Settings) -> Teaching:
    """As the settings say. Raises InputError without a MODEL_DIR."""
    return Teaching(settings, learner_of(engine_kind(settings)), training_folder(settings))


def run_training_worker(settings: Settings) -> None:
    """The process: until nothing waits, it is terminated, or the server that started it ends. At once where another one trains."""
    stopped = begin_worker(settings)
    try:
        jobs, run = training_jobs_of(settings), training_run_of(settings)
        assert jobs is not None
        with jobs.one_worker() as alone:
            if alone:
                TrainingWorker(jobs, run, stopped).work()
    except InputError as error:
        logger.error("nothing is learnt: %s", one_line(str(error)))
        raise SystemExit(1) from None


if __name__ == "__main__":
    run_training_worker(Settings.from_environment())
