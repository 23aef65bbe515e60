""" "Retrieve Predictions" in a real Label Studio, of more tasks than fit into one request: the rest is queued, and comes by itself."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.batch_queue import BatchQueue, batch_queue_of
from backend.cli import main
from backend.embedded import Child, Workplace, free_port, running_backend
from backend.label_studio import LabelStudioClient
from backend.label_studio import Project as LabellingProject
from backend.projects import BackendAddress, ImportOptions
from backend.settings import Settings
from converters.exports import write_sequence
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive, simulate_drive
from tests.backend.conftest import Project
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow, pytest.mark.timeout(900)]
TASKS = 6
WAIT_SECONDS = 400.0


@pytest.fixture(scope="module")
def longer_drive() -> SyntheticDrive:
    """Six tasks of two frames."""
    return simulate_drive(
        seed=3, frame_count=2 * TASKS, camera_names=("front_left", "front"), image_size_px=(320, 200), beam_count=32, azimuth_count=400
    )


@dataclass(frozen=True)
class Retrieval:
    """A project whose backend can be started, stopped and killed, at the same address each time."""

    label_studio: LabelStudioServer
    client: LabelStudioClient
    project: LabellingProject
    variables: dict[str, str]
    workplace: Workplace
    port: int

    @property
    def queue(self) -> BatchQueue:
        queue = batch_queue_of(Settings.from_environment(self.variables))
        assert queue is not None
        return queue

    @contextmanager
    def backend(self) -> Iterator[Child]:
        with running_backend(self.workplace, self.variables, self.port) as (child, _):
            yield child

    def retrieve(self) -> None:
        """As the button does."""
        action = {"selectedItems": {"all": True, "excluded": []}, "filters": {"conjunction": "and", "items": []}}
        parameters: dict[str, Any] = {"id": "retrieve_tasks_predictions", "project": self.project.project_id}
        self._post("/api/dm/actions", action, parameters)

    def click(self, task_id: int, context: dict[str, Any]) -> dict[str, Any]:
        """As a smart tool does."""
        (backend,) = self.label_studio.client.ml.list(project=self.project.project_id)
        answer: dict[str, Any] = self._post(f"/api/ml/{backend.id}/interactive-annotating", {"task": task_id, "context": context}, {})
        return answer

    def _post(self, path: str, body: dict[str, Any], parameters: dict[str, Any]) -> Any:
        login = {"Authorization": f"Token {self.label_studio.token}"}
        answer = httpx.post(f"{self.label_studio.url}{path}", json=body, params=parameters, headers=login, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def versions(self) -> list[list[str]]:
        """Of every task's predictions; an empty one counts under another name."""
        tasks = [self.client.labelled_task(task) for task in self.client.tasks(self.project)]
        return [[labels.model_version if labels.result else "empty" for labels in task.predictions] for task in tasks]

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert time.monotonic() < deadline, (self.versions(), self.queue.tasks())
            time.sleep(0.1)


@pytest.fixture
def retrieval(
    label_studio: LabelStudioServer, client: LabelStudioClient, import_into: Import, longer_drive: SyntheticDrive, tmp_path: Path
) -> Retrieval:
    write_sequence(longer_drive.clip, tmp_path / "avenue")
    port = free_port(0, "--backend-port")
    workplace = Workplace(tmp_path / "work")
    workplace.prepare()
    variables = {
        "SAM4D_DATA_ROOT": str(label_studio.data_root),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "MODEL_DIR": str(tmp_path / "model"),
        "SAM4D_BATCH_SECONDS": "3",
        "SAM4D_MASKS_PER_TASK": "10",
    }
    with running_backend(workplace, variables, port) as (_, url):
        options = ImportOptions(frames_per_task=2, overlap=0, range_m=40.0)
        project, _ = import_into("retrieved", tmp_path / "avenue", options=options, backend=BackendAddress(url))
    assert len(client.tasks(project)) == TASKS
    return Retrieval(label_studio, client, project, variables, workplace, port)


def test_every_task_gets_one_prediction_however_often_the_backend_dies(
    retrieval: Retrieval,
    longer_drive: SyntheticDrive,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = build_predictor().version
    queue = retrieval.queue
    clicking = Project(longer_drive, data_root, labels=("Car", "Truck"))
    first = retrieval.client.tasks(retrieval.project)[0]

    with retrieval.backend() as backend:
        retrieval.retrieve()
        found = retrieval.versions()
        queued = {task.task_id for task in queue.tasks()}
        # What did not fit has no prediction yet, not an empty one that Label Studio would take for the answer.
        assert queued
        assert all(versions in ([], [version]) for versions in found)

        assert queue.has_work()
        answer = retrieval.click(first.task_id, clicking.click_on(clicking.visible()))
        assert answer["data"]["result"]
        metrics = httpx.get(f"http://127.0.0.1:{retrieval.port}/metrics", timeout=30).text
        assert 'sam4d_batch_tasks{state="waiting"}' in metrics

        # Asked for again at once: what waits is neither done twice nor queued twice.
        retrieval.retrieve()
        assert {task.task_id for task in queue.tasks()} == queued
        retrieval.wait_until(lambda: queue.counts()["done"] >= 1 and queue.counts()["running"] == 1)
        os.killpg(backend.process.pid, signal.SIGKILL)
        backend.process.wait()

    killed = queue.tasks(states=["running"])
    assert queue.has_work()
    for name, value in retrieval.variables.items():
        monkeypatch.setenv(name, value)
    assert main(["jobs", "retrieved"]) == 0
    shown = capsys.readouterr().out
    assert "waiting" in shown
    assert "0 failed" in shown

    with retrieval.backend():
        retrieval.wait_until(lambda: queue.tasks(states=["running"]) not in ([], killed))
    # Ended in order: nothing is left as being worked on.
    assert queue.counts()["running"] == 0

    with retrieval.backend():
        retrieval.wait_until(lambda: not queue.has_work())
        assert retrieval.versions() == [[version]] * TASKS
        assert queue.counts() == {"waiting": 0, "running": 0, "failed": 0, "done": len(queued)}
        retrieval.retrieve()
        assert not queue.has_work()
    assert retrieval.versions() == [[version]] * TASKS
    log = (retrieval.workplace.logs / "backend.log").read_text()
    assert "from the queue" in log


def test_a_task_deleted_meanwhile_is_dropped_and_a_broken_one_fails_in_one_line(
    retrieval: Retrieval, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = build_predictor().version
    queue = retrieval.queue
    gone, kept, *_ = [task.task_id for task in retrieval.client.tasks(retrieval.project)]
    (broken,) = retrieval.client.add_tasks(retrieval.project, [dict(retrieval.client.tasks(retrieval.project)[2].data, first_frame=-1)])
    project_id = retrieval.project.project_id
    assert queue.add({gone: project_id, broken: project_id, kept: project_id}) == {gone, broken, kept}
    retrieval.client.delete_tasks([gone])

    # What was queued before the start is worked on from the start.
    with retrieval.backend():
        retrieval.wait_until(lambda: not queue.has_work())
    found = {task.task_id: retrieval.client.labelled_task(task).predictions for task in retrieval.client.tasks(retrieval.project)}
    assert [labels.model_version for labels in found[kept]] == [version]
    assert not found[broken]
    assert Counter(task.state for task in queue.tasks()) == Counter(failed=1, done=1)
    for name, value in retrieval.variables.items():
        monkeypatch.setenv(name, value)
    assert main(["jobs"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert shown[0].startswith(f"task {broken} of project {project_id}: failed")
    assert shown[1] == "0 waiting, 0 running, 1 failed, 1 done"
