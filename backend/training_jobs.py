"""What is to be learnt, from which project, and what became of it: one small SQLite file for all processes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from backend.settings import Settings, TrainingMode
from backend.shared_tables import SharedTables
from sam4d.structures import InputError

JobState: TypeAlias = Literal["waiting", "running", "done", "refused", "failed", "stopped"]
"""done: the new version serves. refused: it was not better, or there was too little to learn from. stopped: somebody stopped it."""

KEPT_JOBS = 50
"""Ended ones, of all projects."""
ACTIVE: tuple[JobState, ...] = ("waiting", "running")

JOBS = """CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id INTEGER NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    says TEXT NOT NULL DEFAULT '',
    stopping INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    changed_s REAL NOT NULL
)"""
CHANGES = "CREATE TABLE IF NOT EXISTS changes (project_id INTEGER PRIMARY KEY, count INTEGER NOT NULL)"
ALL = "SELECT job_id, project_id, request, state, says, stopping, failures, changed_s FROM jobs ORDER BY job_id"


class TrainingJobsError(InputError):
    """The file of training jobs cannot be read or written."""


@dataclass(frozen=True)
class TrainingRequest:
    """What somebody asked for.

    mode: which part of the network learns. steps: of the network's training; None is the recipe's own number. held_out_share: of the tasks,
    to judge by, in (0, 1). use_anyway: the new version serves even where it is not better.
    """

    mode: TrainingMode = "heads"
    steps: int | None = None
    held_out_share: float = 0.2
    use_anyway: bool = False


@dataclass(frozen=True)
class TrainingJob:
    """One job. says: how far it is, or what became of it, one line. failures: how often its process ended in the middle of it."""

    job_id: int
    project_id: int
    request: TrainingRequest
    state: JobState
    says: str
    is_stopping: bool
    failures: int
    changed_s: float

    def describe(self) -> str:
        return f"training {self.job_id} of project {self.project_id}: {self.state}{', ' if self.says else ''}{self.says}"


class TrainingJobs:
    """First come, first served; of each project one at a time. Safe to use from many threads and processes.

    Args:
        file: made with the first job; its folder, too.
        clock: seconds since 1970, which outlive the process.

    Every method raises TrainingJobsError where the file cannot be used.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._tables = SharedTables(file, [JOBS, CHANGES], _unusable)
        self._clock = clock

    def add(self, project_id: int, request: TrainingRequest) -> tuple[TrainingJob, bool]:
        """The project's job, and whether it is a new one: one that waits or runs already is not followed by another."""
        with self._tables.changing() as tables:
            active = [job for job in _all(tables) if job.project_id == project_id and job.state in ACTIVE]
            if active:
                return active[0], False
            tables.execute(
                "INSERT INTO jobs (project_id, request, state, changed_s) VALUES (?, ?, 'waiting', ?)",
                (project_id, json.dumps(asdict(request)), self._clock()),
            )
            ended = [job for job in _all(tables) if job.state not in ACTIVE]
            tables.executemany("DELETE FROM jobs WHERE job_id = ?", [(job.job_id,) for job in ended[:-KEPT_JOBS]])
            return _all(tables)[-1], True

    def take(self, job_id: int | None = None) -> TrainingJob | None:
        """The next that waits, or that one, from now on running; None where there is none."""
        with self._tables.changing() as tables:
            waiting = [job for job in _all(tables) if job.state == "waiting" and job_id in (None, job.job_id)]
            if not waiting:
                return None
            change = "UPDATE jobs SET state = 'running', changed_s = ? WHERE job_id = ?"
            tables.execute(change, (self._clock(), waiting[0].job_id))
        return replace(waiting[0], state="running")

    def say(self, job: TrainingJob, says: str) -> bool:
        """How far a running job is; False where somebody wants it stopped."""
        with self._tables.changing() as tables:
            tables.execute(
                "UPDATE jobs SET says = ?, changed_s = ? WHERE job_id = ? AND state = 'running'", (says, self._clock(), job.job_id)
            )
            row = tables.execute("SELECT stopping FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
        return row is not None and not row[0]

    def put_back(self, job: TrainingJob, *, failed: bool = False) -> None:
        """It waits again, and goes on from what its folder holds; or its process ended in the middle of it, which is counted."""
        with self._tables.changing() as tables:
            tables.execute(
                "UPDATE jobs SET state = CASE stopping WHEN 0 THEN 'waiting' ELSE 'stopped' END, failures = failures + ?, changed_s = ? "
                "WHERE job_id = ? AND state = 'running'",
                (int(failed), self._clock(), job.job_id),
            )

    def put_back_running(self) -> None:
        """All that is being worked on; called by who is alone."""
        for job in self.jobs(states=["running"]):
            self.put_back(job)

    def end(self, job: TrainingJob, state: JobState, says: str) -> None:
        """What became of it. Changes that it learnt from are no longer new."""
        with self._tables.changing() as tables:
            change = "UPDATE jobs SET state = ?, says = ?, changed_s = ? WHERE job_id = ?"
            tables.execute(change, (state, says, self._clock(), job.job_id))

    def stop(self, project_id: int) -> list[TrainingJob]:
        """The jobs of a project that waited, which are stopped now, or run, which stop within seconds."""
        active = [job for job in self.jobs(project_id) if job.state in ACTIVE]
        with self._tables.changing() as tables:
            for job in active:
                tables.execute(
                    "UPDATE jobs SET stopping = 1, state = CASE state WHEN 'waiting' THEN 'stopped' ELSE state END, changed_s = ? "
                    "WHERE job_id = ? AND state IN ('waiting', 'running')",
                    (self._clock(), job.job_id),
                )
        return active

    def jobs(self, project_id: int | None = None, states: Sequence[JobState] = get_args(JobState)) -> list[TrainingJob]:
        """Those of a project, or all, the oldest first."""
        with self._tables.reading() as tables:
            found = _all(tables)
        return [job for job in found if job.state in states and project_id in (None, job.project_id)]

    def has_work(self) -> bool:
        """A job waits, or was being worked on when its process ended."""
        return bool(self.jobs(states=ACTIVE))

    def note_change(self, project_id: int) -> None:
        """An annotation came, changed or went."""
        with self._tables.changing() as tables:
            tables.execute(
                "INSERT INTO changes (project_id, count) VALUES (?, 1) ON CONFLICT (project_id) DO UPDATE SET count = count + 1",
                (project_id,),
            )

    def forget_changes(self, project_id: int, count: int) -> None:
        """So many of them are being learnt from."""
        with self._tables.changing() as tables:
            tables.execute("UPDATE changes SET count = MAX(0, count - ?) WHERE project_id = ?", (count, project_id))

    def changes(self) -> Mapping[int, int]:
        """{project: annotations that came, changed or went since its last training began}, as far as we were told."""
        with self._tables.reading() as tables:
            return {project_id: count for project_id, count in tables.execute("SELECT project_id, count FROM changes") if count}

    def one_worker(self) -> contextlib.AbstractContextManager[bool]:
        """False where another process trains on this machine."""
        return self._tables.one_worker()


def training_folder(settings: Settings) -> Path:
    """Where jobs keep what they need to go on. Raises InputError where there is none; `why_no_training` says it beforehand."""
    if settings.model_dir is None:
        raise InputError("MODEL_DIR", "a folder for what is learnt", "nothing")
    return settings.model_dir / "training"


def training_jobs_of(settings: Settings) -> TrainingJobs | None:
    """None where no MODEL_DIR keeps them."""
    return None if settings.model_dir is None else TrainingJobs(training_folder(settings) / "jobs.sqlite3")


def why_no_training(settings: Settings) -> str:
    """What is missing for training; "" where nothing is."""
    needed = {
        "MODEL_DIR": settings.model_dir,
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.label_studio_api_key,
    }
    missing = [name for name, value in needed.items() if not value]
    return f"no {', no '.join(missing)}" if missing else ""


def _all(tables: sqlite3.Connection) -> list[TrainingJob]:
    return [_job(row) for row in tables.execute(ALL)]


def _job(row: Sequence[object]) -> TrainingJob:
    job_id, project_id, request, state, says, stopping, failures, changed_s = row
    return TrainingJob(
        int(str(job_id)),
        int(str(project_id)),
        TrainingRequest(**json.loads(str(request))),
        next(known for known in get_args(JobState) if known == state),
        str(says),
        bool(stopping),
        int(str(failures)),
        float(str(changed_s)),
    )


def _unusable(says: str) -> TrainingJobsError:
    return TrainingJobsError("the training jobs in MODEL_DIR", "a file that can be read and written", says)
