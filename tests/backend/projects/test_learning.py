"""The whole loop in a real Label Studio: people submit, "Start Training" is pressed, and the next prediction is the better version's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.cli import main
from backend.embedded import Child, Workplace, free_port, running_backend
from backend.engine import version_store_of
from backend.label_studio import LabelStudioClient
from backend.label_studio import Project as LabellingProject
from backend.learners import Lesson
from backend.projects import BackendAddress, ImportOptions
from backend.settings import Settings
from backend.training_jobs import TrainingJob, TrainingJobs, training_jobs_of
from backend.versions import BASE, About, VersionStore
from converters.exports import write_sequence
from converters.regions import masklet_to_regions
from converters.tasks import parse_task_data
from sam4d.geometric.parameters import GeometricParameters, write_parameters
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive, simulate_drive
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow, pytest.mark.timeout(900)]
WAIT_SECONDS = 600.0
FRAMES = 3
PASSWORD = "secret"

BAD = GeometricParameters(gap_m=0.08, gap_per_metre=0.002, vertical_scale=1.0)
"""Objects fall to pieces."""


@pytest.fixture(scope="module")
def drives() -> dict[str, SyntheticDrive]:
    return {
        f"street{seed}": simulate_drive(
            seed=seed, frame_count=FRAMES, camera_names=("front",), image_size_px=(240, 150), beam_count=32, azimuth_count=400
        )
        for seed in (3, 4, 5)
    }


def worse(lesson: Lesson) -> Path:
    """In place of a search: parameters that nobody would want."""
    file = lesson.folder / "worse.json"
    write_parameters(file, BAD)
    return file


@dataclass(frozen=True)
class Learning:
    """A project with a task for each drive, and its backend, which can be started, stopped and killed at the same address each time."""

    label_studio: LabelStudioServer
    client: LabelStudioClient
    project: LabellingProject
    drives: dict[str, SyntheticDrive]
    variables: dict[str, str]
    workplace: Workplace
    port: int

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.variables)

    @property
    def store(self) -> VersionStore:
        store = version_store_of(self.settings)
        assert store is not None
        return store

    @property
    def jobs(self) -> TrainingJobs:
        jobs = training_jobs_of(self.settings)
        assert jobs is not None
        return jobs

    @contextmanager
    def backend(self) -> Iterator[Child]:
        with running_backend(self.workplace, self.variables, self.port) as (child, _):
            yield child

    def submit(self) -> None:
        """Every task as a careful labeller would."""
        for task in self.client.tasks(self.project):
            window = parse_task_data(task.data)
            name = next(name for name in self.drives if name in window.sequence)
            drive = self.drives[name]
            regions = [
                region
                for masklet in drive.masklets
                for region in masklet_to_regions(masklet, window, drive.clip.window(window.first_frame, window.frame_count), "v")
            ]
            self.client.add_annotation(task.task_id, regions)

    def start_training(self) -> None:
        """As the button of Settings, Model does."""
        (backend,) = self.label_studio.client.ml.list(project=self.project.project_id)
        assert backend.id is not None
        self.label_studio.client.ml.train(backend.id)

    def predict(self, task_id: int) -> str:
        """The model version of a prediction that Label Studio is asked for now."""
        action = {"selectedItems": {"all": False, "included": [task_id]}, "filters": {"conjunction": "and", "items": []}}
        login = {"Authorization": f"Token {self.label_studio.token}"}
        answer = httpx.post(
            f"{self.label_studio.url}/api/dm/actions",
            json=action,
            params={"id": "retrieve_tasks_predictions", "project": self.project.project_id},
            headers=login,
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        task = next(task for task in self.client.tasks(self.project) if task.task_id == task_id)
        return max(self.client.labelled_task(task).predictions, key=lambda labels: labels.number).model_version

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=30).json()
        return answer

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            log = (self.workplace.logs / "backend.log").read_text()
            assert time.monotonic() < deadline, (self.jobs.jobs(), log)
            time.sleep(0.1)

    def ended(self) -> TrainingJob:
        self.wait_until(lambda: not self.jobs.has_work())
        return self.jobs.jobs()[-1]

    def use(self, parameters: GeometricParameters) -> str:
        version = build_predictor(parameters=parameters).version
        about = About("geometric", version, "", BASE)
        self.store.use(self.store.add(about, lambda path: write_parameters(path, parameters)).name)
        return version


@pytest.fixture
def learning(
    label_studio: LabelStudioServer, client: LabelStudioClient, import_into: Import, drives: dict[str, SyntheticDrive], tmp_path: Path
) -> Learning:
    for name, drive in drives.items():
        write_sequence(drive.clip, tmp_path / name)
    port = free_port(0, "--backend-port")
    workplace = Workplace(tmp_path / "work")
    workplace.prepare()
    variables = {
        "SAM4D_DATA_ROOT": str(label_studio.data_root),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "MODEL_DIR": str(tmp_path / "model"),
        "SAM4D_MASKS_PER_TASK": "10",
        "BASIC_AUTH_USER": "label-studio",
        "BASIC_AUTH_PASS": PASSWORD,
    }
    with running_backend(workplace, variables, port) as (_, url):
        options = ImportOptions(frames_per_task=FRAMES, overlap=0, range_m=40.0)
        address = BackendAddress(url, "label-studio", PASSWORD)
        project, _ = import_into("learning", *(tmp_path / name for name in drives), options=options, backend=address)
    assert len(client.tasks(project)) == len(drives)
    return Learning(label_studio, client, project, drives, variables, workplace, port)


def test_people_submit_and_the_next_prediction_is_the_better_versions(
    learning: Learning, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = learning.use(BAD)
    first = learning.client.tasks(learning.project)[0].task_id
    with learning.backend() as backend:
        assert learning.health()["model_version"] == bad
        # Nobody has submitted anything: said, and nothing changes.
        learning.start_training()
        job = learning.ended()
        assert (job.project_id, job.state) == (learning.project.project_id, "refused")
        assert "at least 2 submitted tasks with labelled objects" in job.says
        assert job.says.endswith("found 0")

        learning.submit()
        # Label Studio tells of each, with the login that it was given.
        learning.wait_until(lambda: learning.jobs.changes() == {learning.project.project_id: len(learning.drives)})
        learning.start_training()
        learning.wait_until(lambda: "searching" in "".join(learning.health().get("training", [])))
        assert learning.predict(first) == bad, "clicks and predictions are answered meanwhile"
        # Whatever ends the server, the next one goes on.
        os.killpg(backend.process.pid, signal.SIGKILL)
        backend.process.wait()
    assert [job.state for job in learning.jobs.jobs()] == ["refused", "running"]

    with learning.backend():
        job = learning.ended()
        assert job.state == "done", job.says
        assert job.failures == 1
        learning.wait_until(lambda: learning.health()["model_version"] != bad)
        better = learning.health()["model_version"]
        assert learning.predict(first) == better
        (backend_row,) = learning.label_studio.client.ml.list(project=learning.project.project_id)
        assert backend_row.model_version == better
        version = learning.store.versions()[-1]
        assert version.about is not None
        assert version.about.model_version == better
        assert version.about.old_score is not None
        assert version.about.new_score is not None
        assert version.about.new_score > version.about.old_score
        tasks = {task.task_id for task in learning.client.tasks(learning.project)}
        assert set(version.about.training) | set(version.about.held_out) == tasks
        assert len(version.about.held_out) == 1
        assert f"{version.about.old_score:.3f} before, {version.about.new_score:.3f} after" in job.says

        # Roll back, and forward, while the server runs.
        for name, value in learning.variables.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        assert main(["checkpoint", "list"]) == 0
        listed = capsys.readouterr().out.splitlines()
        assert [line[:7].strip() for line in listed] == ["base", "v1", "* v2"]
        assert better in listed[2]
        assert main(["checkpoint", "roll-back"]) == 0
        learning.wait_until(lambda: learning.health()["model_version"] == bad)
        assert main(["checkpoint", "use", "v2"]) == 0
        learning.wait_until(lambda: learning.health()["model_version"] == better)

        # Worse: refused with both figures, unless somebody insists. The server follows that, and the way back.
        monkeypatch.setattr("backend.training_worker.learner_of", lambda kind: worse)
        capsys.readouterr()
        assert main(["train", "learning", "--json"]) == 1
        refused = json.loads(capsys.readouterr().out)
        assert (refused["state"], refused["version"]) == ("refused", None)
        assert refused["new"] < refused["old"] == pytest.approx(version.about.new_score)
        assert f"{refused['old']:.3f} before, {refused['new']:.3f} after" in refused["says"]
        assert learning.store.standing().current == "v2"
        assert learning.health()["model_version"] == better
        assert main(["train", "learning", "--use-anyway"]) == 0
        assert "done: v3" in capsys.readouterr().out
        learning.wait_until(lambda: learning.health()["model_version"] == bad)
        assert main(["checkpoint", "roll-back"]) == 0
        learning.wait_until(lambda: learning.health()["model_version"] == better)
        assert main(["train", "learning", "--stop"]) == 0
        assert "no training of this project waits or runs" in capsys.readouterr().out
        assert main(["jobs"]) == 0
        assert f"training {job.job_id} of project {learning.project.project_id}: done, v2" in capsys.readouterr().out
