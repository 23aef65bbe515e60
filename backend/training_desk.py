"""What Label Studio says of annotations is taken in here: that there is something new, and that training is to start."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from backend.errors import RequestError
from backend.settings import Settings
from backend.training_jobs import TrainingJobs, TrainingRequest, training_folder, training_jobs_of, why_no_training
from sam4d.structures import InputError

logger = logging.getLogger(__name__)

START_TRAINING = "START_TRAINING"
ANNOTATION_EVENTS = frozenset(
    {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"}
)
ACTION = re.compile(rb'\s*\{\s*"action"\s*:\s*"([A-Z_]{1,50})"')
PROJECT = re.compile(rb'"project"\s*:\s*\{\s*"id"\s*:\s*(\d{1,18})\b')
JOB_STATES = {
    "waiting": "queued",
    "running": "started",
    "done": "finished",
    "refused": "finished",
    "failed": "failed",
    "stopped": "stopped",
}
"""In the words of label-studio-ml."""


class TrainingDesk:
    """Takes events in and answers at once; the work is done elsewhere. Safe to use from many threads.

    Args:
        jobs: None where none can be kept.
        why_not: what is missing for training; "" where nothing is.
        request: what START_TRAINING asks for: Label Studio's button says no more than that.
        wake: has new jobs worked on.
    """

    def __init__(
        self,
        jobs: TrainingJobs | None,
        why_not: str = "",
        request: TrainingRequest | None = None,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        self.jobs = jobs
        self._why_not = why_not
        self._request = request or TrainingRequest()
        self._wake = wake

    def take_in(self, event: str, project_id: int | None) -> dict[str, Any]:
        """What to answer: of START_TRAINING its job, of any other event nothing.

        Raises:
            RequestError: training cannot start, and why.
            TrainingJobsError: the jobs' file cannot be used.
        """
        if event == START_TRAINING:
            return self._start(project_id)
        if event in ANNOTATION_EVENTS and self.jobs is not None and project_id is not None:
            self.jobs.note_change(project_id)
        return {}

    def status(self, job_id: int) -> dict[str, Any]:
        """Of a job, in the words of label-studio-ml. Raises RequestError (410) where it is not known any more."""
        jobs = self.jobs.jobs() if self.jobs is not None else []
        job = next((job for job in jobs if job.job_id == job_id), None)
        if job is None:
            raise RequestError("field 'job' of the request", "the number of a training", str(job_id), status=410)
        return {"job_status": JOB_STATES[job.state], "state": job.state, "says": job.says, "project": job.project_id}

    def says(self) -> list[str]:
        """Trainings that wait or run, one line each; of a file that cannot be read, that."""
        try:
            active = self.jobs.jobs(states=("waiting", "running")) if self.jobs is not None else []
        except InputError as error:
            return [str(error)]
        return [job.describe() for job in active]

    def _start(self, project_id: int | None) -> dict[str, Any]:
        if project_id is None:
            raise RequestError(START_TRAINING, "the number of a project in the request", "none")
        if self._why_not or self.jobs is None:
            raise RequestError(START_TRAINING, "MODEL_DIR, LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY", self._why_not or "no MODEL_DIR", 409)
        job, is_new = self.jobs.add(project_id, self._request)
        self._wake()
        says = job.describe() if is_new else f"{job.describe()}; it was asked for before"
        logger.info("%s", says)
        return {"job": str(job.job_id), "job_status": JOB_STATES[job.state], "says": f"{says} (sam4d jobs says how it goes)"}


def event_of(content: Mapping[str, Any]) -> tuple[str, int | None]:
    """The event's name and the project it is of, None where that is not said. `content`: what Label Studio posts."""
    event = content.get("action")
    project = content.get("project")
    places = [project.get("id") if isinstance(project, Mapping) else project]
    for name in ("annotation", "annotations", "task"):
        given = content.get(name)
        first = given[0] if isinstance(given, list) and given else given
        places.append(first.get("project") if isinstance(first, Mapping) else None)
    numbers = (project_number(place) for place in places)
    return event if isinstance(event, str) else "", next((number for number in numbers if number is not None), None)


def outline_of(body: bytes) -> dict[str, Any]:
    """The event and the project of a request that is too large to be read: the first and the last thing that Label Studio writes."""
    event = ACTION.match(body)
    projects = list(PROJECT.finditer(body))
    outline: dict[str, Any] = {"action": event[1].decode()} if event is not None else {}
    return outline | ({"project": {"id": int(projects[-1][1])}} if projects else {})


def project_number(value: object) -> int | None:
    """From 7, "7" or "7.1700000000" as Label Studio writes it; None where it is none."""
    text = str(value).partition(".")[0] if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0 else None


def request_of(settings: Settings) -> TrainingRequest:
    return TrainingRequest(settings.training_mode, settings.training_steps or None, settings.held_out_share)


def desk_of(settings: Settings, wake: Callable[[], object] = lambda: None) -> TrainingDesk:
    return TrainingDesk(training_jobs_of(settings), why_no_training(settings), request_of(settings), wake)


def desk_without_keeper(settings: Settings) -> TrainingDesk:
    """For servers that are not ours: their processes come and go, and training is not to end with them."""

    def start_worker() -> None:
        folder = training_folder(settings)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "worker.log").open("ab") as log:
            subprocess.Popen(  # nosec B603 # this very Python
                [sys.executable, "-m", "backend.training_worker"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    return desk_of(settings, start_worker)
