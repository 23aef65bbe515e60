"""What becomes of a queued task: predicted, tried again, given up, dropped, or brought back into the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from backend.batch_queue import BatchQueue, QueuedTask, QueueError
from backend.batch_worker import MOST_FAILURES, BatchWorker
from backend.errors import MediaError
from backend.label_studio import LabelStudioClient, LabelStudioError, Task
from backend.label_studio import Project as LabellingProject
from converters.label_config import BIRDS_EYE
from sam4d.predictor import build_predictor
from sam4d.structures import Clip, InputError
from tests.backend.conftest import Project


@dataclass
class LabelStudioInMemory:
    """As much of a client as a worker asks. `before` is called with the name of each request."""

    project: Project
    tasks: dict[int, dict[str, Any]]
    before: Callable[[str], None] = lambda name: None
    posted: list[tuple[int, str, int]] = field(default_factory=list)

    def __enter__(self) -> LabelStudioInMemory:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check_access(self) -> str:
        self.before("access")
        return "anna@example.com"

    def find_task(self, task_id: int, project_id: int) -> Task | None:
        self.before("task")
        return Task(task_id, self.tasks[task_id]) if task_id in self.tasks and project_id == 7 else None

    def project_of(self, project_id: int) -> LabellingProject:
        return LabellingProject(project_id, "drives", self.project.label_config)

    def replace_prediction(self, task: Task, result: Sequence[Any], *, score: float, model_version: str) -> None:
        self.before("post")
        self.posted.append((task.task_id, model_version, len(result)))


@pytest.fixture
def server(project: Project) -> LabelStudioInMemory:
    data = project.task()["data"]
    data = {**data, BIRDS_EYE: data[BIRDS_EYE][:1]}  # one frame
    return LabelStudioInMemory(project, {1: data, 2: data})


@pytest.fixture
def queue(tmp_path: Path) -> BatchQueue:
    return BatchQueue(tmp_path / "batch_queue.sqlite3", 10)


@pytest.fixture
def worker(queue: BatchQueue, server: LabelStudioInMemory) -> BatchWorker:
    def open_clip(address: str, project_id: int) -> Clip:
        return server.project.drive.clip

    return BatchWorker(queue, build_predictor, lambda: cast(LabelStudioClient, server), open_clip, 5, threading.Event(), 0.001)


def states(queue: BatchQueue) -> list[tuple[int, str, int]]:
    return [(task.task_id, task.state, task.failures) for task in queue.tasks()]


def test_tasks_are_predicted_in_their_order_and_those_gone_are_dropped(
    worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory
) -> None:
    queue.add({2: 7, 99: 7, 1: 7})
    worker.work()
    assert [(number, version) for number, version, _ in server.posted] == [(2, worker.engine().version), (1, worker.engine().version)]
    assert all(regions for _, _, regions in server.posted)
    assert states(queue) == [(2, "done", 0), (1, "done", 0)]


def test_a_task_of_another_project_than_asked_for_is_left_alone(
    worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory
) -> None:
    queue.add({1: 8})
    worker.work()
    assert (server.posted, states(queue)) == ([], [])


@pytest.mark.parametrize(
    "error", [LabelStudioError("Label Studio", "to be accepted", "500", 500), MemoryError()], ids=["refused", "memory"]
)
def test_what_may_pass_is_tried_again_so_often_and_the_next_task_has_its_turn(
    worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    posts = 0

    def before(name: str) -> None:
        nonlocal posts
        # The second post is the other task's: its turn is before the first one's next.
        posts += name == "post"
        if name == "post" and posts != 2:
            raise error

    server.before = before
    queue.add({1: 7, 2: 7})
    worker.work()
    assert states(queue) == [(1, "failed", MOST_FAILURES), (2, "done", 0)]
    assert caplog.text.count("task 1 failed and is tried again") == MOST_FAILURES - 1
    assert caplog.text.count("task 1 failed and is not tried again") == 1


def test_files_that_do_not_come_are_asked_for_again(worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory) -> None:
    tries = 0

    def open_clip(address: str, project_id: int) -> Clip:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise MediaError("drive", "an answer", "none")
        return server.project.drive.clip

    queue.add({1: 7})
    BatchWorker(queue, worker.engine, worker.connect, open_clip, 5, threading.Event(), 0.001).work()
    assert states(queue) == [(1, "done", 1)]


def test_what_stays_wrong_is_tried_once(worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory) -> None:
    server.tasks[1] = {"text": "of another project type"}
    queue.add({1: 7, 2: 7})
    worker.work()
    assert states(queue) == [(1, "failed", 1), (2, "done", 0)]
    assert "task data" in queue.tasks()[0].failure


def test_no_task_is_to_blame_where_label_studio_is_away(
    worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.batch_worker.AWAY_SECONDS", (0.001,))
    asked = 0

    def before(name: str) -> None:
        nonlocal asked
        asked += 1
        if asked <= 20:
            raise LabelStudioError("Label Studio", "an answer", "none")

    server.before = before
    queue.add({1: 7, 2: 7})
    worker.work()
    assert states(queue) == [(1, "done", 0), (2, "done", 0)]


def test_a_worker_that_is_stopped_brings_its_task_back(worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory) -> None:
    server.before = lambda name: worker.stopped.set()
    queue.add({1: 7, 2: 7})
    worker.work()
    assert server.posted == []
    assert states(queue) == [(1, "waiting", 0), (2, "waiting", 0)]


def test_a_task_that_ends_every_worker_is_given_up(worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory) -> None:
    class Killed(BaseException):
        pass

    def before(name: str) -> None:
        raise Killed

    server.before = before
    queue.add({1: 7})
    for _ in range(MOST_FAILURES):
        with pytest.raises(Killed):
            worker.work()
        assert [state for _, state, _ in states(queue)] == ["running"]
    worker.work()
    assert states(queue) == [(1, "failed", MOST_FAILURES)]
    assert queue.tasks()[0].failure == "the process that worked on it ended"


def test_a_queue_that_breaks_is_no_fault_of_the_task(
    worker: BatchWorker, queue: BatchQueue, server: LabelStudioInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full just after the prediction was posted."""

    def full(task: QueuedTask) -> None:
        raise QueueError("the queue of tasks in MODEL_DIR", "a file that can be read and written", "database or disk is full")

    queue.add({1: 7})
    with monkeypatch.context() as broken:
        broken.setattr(queue, "finish", full)
        with pytest.raises(QueueError, match="disk is full"):
            worker.work()
    assert states(queue) == [(1, "running", 0)]
    worker.work()
    assert states(queue) == [(1, "done", 1)]
    assert len(server.posted) == 2, "in place of the first"


def test_nothing_waits_for_a_queue_that_breaks(worker: BatchWorker, queue: BatchQueue, tmp_path: Path) -> None:
    (tmp_path / "batch_queue.sqlite3").write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match="the queue of tasks in MODEL_DIR"):
        worker.work()
