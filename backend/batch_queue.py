"""Tasks that found no time in a "Retrieve Predictions", kept on disk until they are predicted: one small SQLite file for all processes."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from backend.settings import Settings
from backend.shared_tables import SharedTables
from sam4d.structures import InputError

State: TypeAlias = Literal["waiting", "running", "failed", "done"]

KEPT_SECONDS = 7 * 86400.0
"""How long it is remembered what became of a task."""

TABLE = """CREATE TABLE IF NOT EXISTS tasks (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL UNIQUE,
    project_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    failure TEXT NOT NULL DEFAULT '',
    due_s REAL NOT NULL DEFAULT 0,
    changed_s REAL NOT NULL
)"""
ALL = "SELECT task_id, project_id, state, failures, failure FROM tasks ORDER BY position"
NEXT_DUE = """SELECT task_id, project_id, 'running', failures, failure FROM tasks WHERE state = 'waiting' AND due_s <= ?
    ORDER BY due_s, position LIMIT 1"""


class QueueError(InputError):
    """The queue's file cannot be read or written."""


@dataclass(frozen=True)
class QueuedTask:
    """A task of the queue. `failures`: how often it went wrong; `failure`: the last time, one line."""

    task_id: int
    project_id: int
    state: State
    failures: int
    failure: str


class BatchQueue:
    """First come, first served; a task is in it once. Safe to use from many threads and processes.

    Args:
        file: made with the first task; its folder, too.
        most_tasks: that may wait at the same time.
        clock: seconds since 1970, which outlive the process.

    Every method raises QueueError where the file cannot be used.
    """

    def __init__(self, file: Path, most_tasks: int, clock: Callable[[], float] = time.time) -> None:
        self._tables = SharedTables(file, [TABLE], _unusable)
        self._most_tasks = most_tasks
        self._clock = clock

    def add(self, tasks: Mapping[int, int]) -> set[int]:
        """The tasks of {task: project} that wait now; the others found no room."""
        with self._tables.changing() as table:
            table.execute("DELETE FROM tasks WHERE state IN ('failed', 'done') AND changed_s < ?", (self._clock() - KEPT_SECONDS,))
            waiting = {number for (number,) in table.execute("SELECT task_id FROM tasks WHERE state IN ('waiting', 'running')")}
            new = [number for number in tasks if number not in waiting][: max(0, self._most_tasks - len(waiting))]
            rows = [(number, tasks[number], self._clock()) for number in new]
            table.executemany("INSERT OR REPLACE INTO tasks (task_id, project_id, state, changed_s) VALUES (?, ?, 'waiting', ?)", rows)
        return set(new) | (waiting & set(tasks))

    def held(self, task_ids: Collection[int], since_s: float) -> set[int]:
        """Those of the tasks that wait, are worked on, or have been done since: nobody else should predict them now."""
        with self._tables.reading() as table:
            rows = table.execute(
                "SELECT task_id FROM tasks WHERE state IN ('waiting', 'running') OR state = 'done' AND changed_s >= ?", (since_s,)
            )
            return {number for (number,) in rows} & set(task_ids)

    def take(self) -> QueuedTask | None:
        """The next task that is due, from now on running; None where there is none."""
        with self._tables.changing() as table:
            row = table.execute(NEXT_DUE, (self._clock(),)).fetchone()
            if row is not None:
                self._set(table, row[0], "running")
        return None if row is None else QueuedTask(*row)

    def put_back(self, task: QueuedTask, failure: str = "", after_s: float = 0.0) -> None:
        """To be taken again; after so many seconds, and then behind all that wait for their first turn. A failure is counted."""
        with self._tables.changing() as table:
            failures, failure = (task.failures + 1, failure) if failure else (task.failures, task.failure)
            change = "UPDATE tasks SET state = 'waiting', failures = ?, failure = ?, due_s = ?, changed_s = ? WHERE task_id = ?"
            due_s = self._clock() + after_s if after_s else 0.0
            table.execute(change, (failures, failure, due_s, self._clock(), task.task_id))

    def finish(self, task: QueuedTask) -> None:
        with self._tables.changing() as table:
            self._set(table, task.task_id, "done")

    def fail(self, task: QueuedTask, failure: str) -> None:
        """Not to be taken again, unless somebody asks for it anew."""
        with self._tables.changing() as table:
            change = "UPDATE tasks SET state = 'failed', failures = failures + 1, failure = ?, changed_s = ? WHERE task_id = ?"
            table.execute(change, (failure, self._clock(), task.task_id))

    def drop(self, task: QueuedTask) -> None:
        with self._tables.changing() as table:
            table.execute("DELETE FROM tasks WHERE task_id = ?", (task.task_id,))

    def tasks(self, project_id: int | None = None, states: Sequence[State] = get_args(State)) -> list[QueuedTask]:
        """Those of a project, or all, in the order in which they came."""
        with self._tables.reading() as table:
            found = [QueuedTask(*row) for row in table.execute(ALL)]
        return [task for task in found if task.state in states and project_id in (None, task.project_id)]

    def counts(self) -> dict[State, int]:
        """How many there are of each state; failed and done within a week."""
        with self._tables.reading() as table:
            counted = Counter(dict(table.execute("SELECT state, COUNT(*) FROM tasks GROUP BY state")))
        return {state: counted[state] for state in get_args(State)}

    def has_work(self) -> bool:
        """A task waits, or was being worked on when its worker ended."""
        counts = self.counts()
        return counts["waiting"] + counts["running"] > 0

    def put_back_running(self) -> None:
        """All that is being worked on; called by who is alone."""
        for task in self.tasks(states=["running"]):
            self.put_back(task)

    def one_worker(self) -> contextlib.AbstractContextManager[bool]:
        """False where another process is in this block: one works at a time, and the system frees the place of one that is killed."""
        return self._tables.one_worker()

    def _set(self, table: sqlite3.Connection, task_id: int, state: State) -> None:
        table.execute("UPDATE tasks SET state = ?, changed_s = ? WHERE task_id = ?", (state, self._clock(), task_id))


def batch_queue_of(settings: Settings) -> BatchQueue | None:
    """None where nothing can be queued; `why_no_queue` says why."""
    if why_no_queue(settings) or settings.model_dir is None:
        return None
    return BatchQueue(settings.model_dir / "batch_queue.sqlite3", settings.batch_queue)


def why_no_queue(settings: Settings) -> str:
    """What is missing for a queue; "" where nothing is."""
    if settings.batch_queue == 0:
        return "SAM4D_BATCH_QUEUE is 0"
    needed = {
        "MODEL_DIR": settings.model_dir,
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.label_studio_api_key,
    }
    missing = [name for name, value in needed.items() if not value]
    return f"no {', no '.join(missing)}" if missing else ""


def _unusable(says: str) -> QueueError:
    return QueueError("the queue of tasks in MODEL_DIR", "a file that can be read and written", says)
