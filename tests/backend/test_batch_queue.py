"""The queue on disk: each task once, first come first served, through restarts; and what the server answers and says of it."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.batch_queue import KEPT_SECONDS, BatchQueue, QueueError, batch_queue_of, why_no_queue
from backend.settings import Settings
from tests.backend.conftest import Project


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model" / "batch_queue.sqlite3"


@pytest.fixture
def queue(file: Path, clock: Clock) -> BatchQueue:
    return BatchQueue(file, 3, clock)


@pytest.fixture
def queuing(settings: Settings, tmp_path: Path) -> Settings:
    """Nothing fits into the time, all is queued; no worker runs, because nobody starts the app's lifespan."""
    address = "http://127.0.0.1:9"
    return replace(settings, batch_seconds=-1.0, model_dir=tmp_path / "model", label_studio_url=address, label_studio_api_key="abc")


def test_each_task_waits_once_and_only_so_many(queue: BatchQueue, file: Path) -> None:
    assert not queue.has_work()
    assert not file.exists(), "nobody needs a queue that nothing waits in"
    assert queue.add({1: 7, 2: 7}) == {1, 2}
    assert queue.add({2: 7, 3: 8, 4: 8}) == {2, 3}, "4 finds no room"
    assert [task.task_id for task in queue.tasks()] == [1, 2, 3]
    assert [task.task_id for task in queue.tasks(8)] == [3]
    taken = queue.take()
    assert taken is not None
    assert (taken.task_id, taken.state) == (1, "running")
    assert queue.add({1: 7}) == {1}, "it is being worked on"
    assert queue.counts() == {"waiting": 2, "running": 1, "failed": 0, "done": 0}
    queue.finish(taken)
    assert queue.add({4: 8}) == {4}


def test_another_process_goes_on_with_it(queue: BatchQueue, file: Path, clock: Clock) -> None:
    queue.add({5: 7, 2: 7})
    again = BatchQueue(file, 3, clock)
    first = again.take()
    assert first is not None
    assert first.task_id == 5
    again.put_back(first, "no answer", after_s=10)
    second = queue.take()
    assert second is not None
    assert second.task_id == 2
    queue.fail(second, "no such drive")
    assert queue.take() is None, "the first is not due yet"
    assert queue.has_work()
    clock.now_s += 10
    first = queue.take()
    assert first is not None
    assert (first.failures, first.failure) == (1, "no answer")
    queue.drop(first)
    assert [(task.task_id, task.state, task.failure) for task in queue.tasks()] == [(2, "failed", "no such drive")]
    assert queue.add({2: 7}) == {2}, "who asks anew gets it anew"
    assert [(task.state, task.failures) for task in queue.tasks()] == [("waiting", 0)]


def test_what_is_held_and_what_is_forgotten(queue: BatchQueue, clock: Clock) -> None:
    queue.add({1: 7, 2: 7})
    task = queue.take()
    assert task is not None
    queue.finish(task)
    assert queue.held([1, 2, 3], since_s=clock.now_s) == {1, 2}
    assert queue.held([1, 2, 3], since_s=clock.now_s + 1) == {2}, "done before: Label Studio knows its prediction"
    clock.now_s += KEPT_SECONDS + 1
    queue.add({3: 7})
    assert [task.task_id for task in queue.tasks()] == [2, 3]


def test_many_at_once_take_each_task_once(file: Path) -> None:
    queue = BatchQueue(file, 100)
    barrier = threading.Barrier(4)

    def add_and_take(first: int) -> list[int]:
        barrier.wait(30)
        queue.add(dict.fromkeys(range(first, first + 10), 7))
        return [task.task_id for _ in range(10) if (task := BatchQueue(file, 100).take()) is not None]

    with ThreadPoolExecutor(4) as threads:
        taken = sorted(number for numbers in threads.map(add_and_take, (1, 6, 11, 16)) for number in numbers)
    assert taken == list(range(1, 26))


def test_one_worker_at_a_time(queue: BatchQueue, file: Path) -> None:
    with queue.one_worker() as first, BatchQueue(file, 3).one_worker() as second:
        assert (first, second) == (True, False)
    with queue.one_worker() as third:
        assert third


def test_a_change_that_a_killed_process_left_half_done(queue: BatchQueue, file: Path) -> None:
    """Nobody adds a task after it: what waits must be seen all the same."""
    queue.add({1: 7})
    program = f"""
import os, sqlite3
table = sqlite3.connect({str(file)!r}, isolation_level=None)
table.execute("PRAGMA cache_size = 1")
table.execute("BEGIN IMMEDIATE")
table.executemany("INSERT INTO tasks (task_id, project_id, state, changed_s) VALUES (?, 7, 'waiting', 0)", [(n,) for n in range(100, 3000)])
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert file.with_name(f"{file.name}-journal").exists()
    assert [task.task_id for task in queue.tasks()] == [1]
    assert queue.has_work()


def test_a_place_without_locks(queue: BatchQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(QueueError, match="No locks available"), queue.one_worker():
        pass


def test_a_file_that_is_no_queue(queue: BatchQueue, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"something else" * 100)
    for use in (queue.counts, queue.tasks, lambda: queue.add({1: 7})):
        with pytest.raises(QueueError, match="a file that can be read and written") as raised:
            use()
        assert str(file.parent) not in str(raised.value)
    assert file.read_bytes() == b"something else" * 100


def test_what_is_needed_for_a_queue(queuing: Settings) -> None:
    assert batch_queue_of(queuing) is not None
    assert why_no_queue(replace(queuing, model_dir=None, label_studio_api_key=None)) == "no MODEL_DIR, no LABEL_STUDIO_API_KEY"
    assert batch_queue_of(replace(queuing, batch_queue=0)) is None
    assert why_no_queue(replace(queuing, batch_queue=0)) == "SAM4D_BATCH_QUEUE is 0"


def test_tasks_that_find_no_time_are_queued_and_the_answer_says_so(
    queuing: Settings, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = TestClient(create_app(replace(queuing, batch_queue=2)), raise_server_exceptions=False)
    answer = client.post("/predict", json=project.request(project.task(1), project.task(2), project.task(3))).json()
    # An empty list is no prediction: Label Studio stores none.
    assert answer["results"] == [[], [], []]
    assert answer["sam4d"] == {"queued": [1, 2], "ask again": [3]}
    assert "2 tasks found no time and are queued" in caplog.text
    assert "1 tasks found no time and stay without an answer, the queue is full or cannot be used: [3]" in caplog.text
    queue = batch_queue_of(queuing)
    assert queue is not None
    assert [(task.task_id, task.project_id) for task in queue.tasks()] == [(1, 7), (2, 7)]
    assert 'sam4d_batch_tasks{state="waiting"} 2.0' in client.get("/metrics").text


def test_a_task_that_waits_is_not_predicted_beside_the_queue(queuing: Settings, project: Project) -> None:
    queue = batch_queue_of(queuing)
    assert queue is not None
    queue.add({2: 7})
    with_time = TestClient(create_app(replace(queuing, batch_seconds=600.0)), raise_server_exceptions=False)
    first, second = with_time.post("/predict", json=project.request(project.task(1), project.task(2))).json()["results"]
    assert first["result"]
    assert second == []
    # A click in it is answered as ever.
    answer = with_time.post("/predict", json=project.request(project.task(2), context=project.click_on(project.visible())))
    assert answer.json()["results"][0]["result"]
    assert [task.state for task in queue.tasks()] == ["waiting"]


@pytest.mark.parametrize("number", [[], {}, "1", None, True, 0, -1, 2**70, 1.5], ids=repr)
def test_tasks_without_a_number_are_not_queued(queuing: Settings, project: Project, number: object) -> None:
    client = TestClient(create_app(queuing), raise_server_exceptions=False)
    answer = client.post("/predict", json=project.request(project.task(1) | {"id": number}, project.task(1) | {"project": number}))
    assert answer.status_code == 200
    assert answer.json()["results"] == [[], []]
    queue = batch_queue_of(queuing)
    assert queue is not None
    assert not queue.has_work()


def test_a_queue_that_cannot_be_used_costs_no_answer(queuing: Settings, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    assert queuing.model_dir is not None
    queuing.model_dir.mkdir()
    with sqlite3.connect(queuing.model_dir / "batch_queue.sqlite3") as other:
        other.execute("CREATE TABLE tasks (nothing_of_ours)")
    other.close()
    client = TestClient(create_app(queuing), raise_server_exceptions=False)
    assert client.post("/predict", json=project.request(project.task(1), project.task(2))).json()["results"] == [[], []]
    assert "nothing is queued" in caplog.text
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert "sam4d_batch_tasks{" not in metrics.text
