"""From annotations to the version that serves, or to why it does not; with made-up ways of learning."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from backend.engine import load_version, predictor_of, version_store_of
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, LabelStudioError, Project, Task
from backend.learners import Learner, Lesson, StoppedError, search_parameters, train_network
from backend.settings import Settings
from backend.training_jobs import TrainingJobs, TrainingRequest
from backend.training_run import Teaching, TrainingRun
from backend.training_worker import MOST_FAILURES, TrainingWorker, training_run_of
from backend.versions import BASE, About, VersionStore
from converters.regions import masklet_to_regions
from converters.tasks import TaskWindow, build_task_data
from sam4d.checkpoint import write_checkpoint
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters, write_parameters
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive, simulate_drive
from sam4d.structures import Clip, InputError
from tests.sam4d.training.small_network import smallest_network

PROJECT = 7
BAD = GeometricParameters(gap_m=0.08, gap_per_metre=0.002, vertical_scale=1.0, ground_clearance_m=0.5)
"""Objects fall to pieces, and lose their feet."""


@pytest.fixture(scope="module")
def drives() -> dict[str, SyntheticDrive]:
    return {
        f"drive{seed}": simulate_drive(
            seed=seed, frame_count=2, camera_names=("front",), image_size_px=(160, 100), beam_count=32, azimuth_count=400
        )
        for seed in (3, 4, 5)
    }


@dataclass
class Submitted:
    """In place of a Label Studio: a task for each drive, its objects submitted."""

    drives: dict[str, SyntheticDrive]
    before: Callable[[], None] = lambda: None

    def __enter__(self) -> Submitted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def project_of(self, project_id: int) -> Project:
        self.before()
        return Project(project_id, "drives", "")

    def annotated_tasks(self, project: Project) -> list[Task]:
        return [
            Task(number, build_task_data(TaskWindow(name, 0, 2), {"front": ["", ""]}, ["", ""]))
            for number, name in enumerate(self.drives, 1)
        ]

    def labelled_task(self, task: Task) -> LabelledTask:
        name = str(task.data["sequence"])
        drive = self.drives[name]
        regions = [region for masklet in drive.masklets for region in masklet_to_regions(masklet, TaskWindow(name, 0, 2), drive.clip, "v")]
        return LabelledTask(task, (Labels(10 + task.task_id, regions, "2026-01-01T10:00:00Z"),), (), ())

    def open_clip(self, address: str, project_id: int) -> Clip:
        assert project_id == PROJECT
        return self.drives[address].clip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_dir=tmp_path / "model", label_studio_url="http://127.0.0.1:1", label_studio_api_key="key")


@pytest.fixture
def store(settings: Settings) -> VersionStore:
    store = version_store_of(settings)
    assert store is not None
    return store


@pytest.fixture
def server(drives: dict[str, SyntheticDrive]) -> Submitted:
    return Submitted(drives)


def use(store: VersionStore, parameters: GeometricParameters) -> str:
    version = build_predictor(parameters=parameters).version
    name = store.add(About("geometric", version, "", BASE), lambda path: write_parameters(path, parameters)).name
    store.use(name)
    return version


def finding(parameters: GeometricParameters) -> Learner:
    """A way of learning that always ends with these."""

    def learn(lesson: Lesson) -> Path:
        assert len(lesson.training) == 2
        assert len(lesson.held_out) == 1
        lesson.say("learning", 1, 1)
        file = lesson.folder / "found.json"
        write_parameters(file, parameters)
        return file

    return learn


def worker_of(
    settings: Settings, server: Submitted, learn: Learner, stopped: threading.Event | None = None
) -> tuple[TrainingWorker, TrainingJobs]:
    jobs = TrainingJobs(settings.model_dir / "training" / "jobs.sqlite3") if settings.model_dir else None
    assert jobs is not None
    assert settings.model_dir is not None
    teaching = Teaching(settings, learn, settings.model_dir / "training")
    run = TrainingRun(teaching, lambda: cast(LabelStudioClient, server), server.open_clip)
    return TrainingWorker(jobs, run, stopped or threading.Event()), jobs


def ended(settings: Settings, server: Submitted, learn: Learner, request: TrainingRequest | None = None) -> tuple[str, str]:
    """The state of a job that was worked on, and what it says."""
    worker, jobs = worker_of(settings, server, learn)
    jobs.add(PROJECT, request or TrainingRequest())
    worker.work()
    job = jobs.jobs()[-1]
    return job.state, job.says


def test_a_better_version_answers_and_says_from_what_it_learnt(settings: Settings, server: Submitted, store: VersionStore) -> None:
    bad = use(store, BAD)
    _, jobs = worker_of(settings, server, finding(DEFAULT_PARAMETERS))
    jobs.note_change(PROJECT)
    good = GeometricParameters(gap_m=0.21)
    state, says = ended(settings, server, finding(good))
    assert state == "done", says
    version = build_predictor(parameters=good).version
    assert says.startswith(f"v2 ({version}) answers from now on: 0.")
    assert (predictor_of(settings).version, store.standing().history) == (version, (BASE, "v1"))
    about = store.get("v2").about
    assert about is not None
    assert about.old_score is not None
    assert about.new_score is not None
    assert about.old_score < about.new_score
    assert (about.model_version, about.parent, about.project_id) == (version, "v1", PROJECT)
    assert sorted({**about.training, **about.held_out}.items()) == [(1, 11), (2, 12), (3, 13)]
    assert len(about.held_out) == 1
    assert jobs.changes() == {}
    assert store.roll_back().current == "v1"
    assert predictor_of(settings).version == bad


def test_a_worse_version_is_refused_with_both_figures(settings: Settings, server: Submitted, store: VersionStore) -> None:
    state, says = ended(settings, server, finding(BAD))
    assert state == "refused"
    assert says.startswith("what was learnt is not better than geometric-")
    assert " before, " in says
    assert " after, on " in says
    assert (store.versions(), store.standing().current) == ([], BASE)


def test_the_same_again_is_not_better(settings: Settings, server: Submitted, store: VersionStore) -> None:
    assert ended(settings, server, finding(DEFAULT_PARAMETERS))[0] == "refused"
    assert store.versions() == []


def test_it_is_used_anyway_where_somebody_wants_that(settings: Settings, server: Submitted, store: VersionStore) -> None:
    state, says = ended(settings, server, finding(BAD), TrainingRequest(use_anyway=True))
    assert state == "done", says
    about = store.get("v1").about
    assert about is not None
    assert about.note == "used although it is not better"
    assert predictor_of(settings).version == build_predictor(parameters=BAD).version


def test_another_version_chosen_meanwhile_stays(settings: Settings, server: Submitted, store: VersionStore) -> None:
    use(store, BAD)

    def learn(lesson: Lesson) -> Path:
        store.use(BASE)
        return finding(GeometricParameters(gap_m=0.21))(lesson)

    state, says = ended(settings, server, learn)
    assert state == "refused"
    assert "another version was chosen meanwhile (sam4d checkpoint use v2)" in says
    assert store.standing().current == BASE


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_tasks(settings: Settings, server: Submitted, store: VersionStore, count: int) -> None:
    few = Submitted(dict(list(server.drives.items())[:count]))
    state, says = ended(settings, few, finding(DEFAULT_PARAMETERS))
    assert state == "refused"
    assert f"at least 2 submitted tasks with labelled objects, one to learn from and one to judge by, found {count}" in says


def full_disk(lesson: Lesson) -> Path:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_learning(settings: Settings, server: Submitted, store: VersionStore) -> None:
    before = use(store, BAD)
    state, says = ended(settings, server, full_disk)
    assert (state, says) == (
        "failed",
        "training in MODEL_DIR: expected room, and a folder that can be written, found No space left on device",
    )
    assert predictor_of(settings).version == before


def test_a_full_disk_when_the_version_is_kept(
    settings: Settings, server: Submitted, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = use(store, BAD)

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as short:
        short.setattr("backend.training_run.shutil.copyfile", no_room)
        state, says = ended(settings, server, finding(DEFAULT_PARAMETERS))
    assert state == "failed"
    assert "found No space left on device" in says
    assert (predictor_of(settings).version, [version.name for version in store.versions()]) == (before, ["v1"])
    # With room again the same goes on to its end.
    assert ended(settings, server, finding(DEFAULT_PARAMETERS))[0] == "done"


def test_a_gpu_that_is_missing(settings: Settings, server: Submitted, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    checkpoint = tmp_path / "weights.safetensors"
    checkpoint.touch()
    state, says = ended(replace(settings, engine="sam4d", checkpoint=checkpoint, device="cuda"), server, train_network)
    assert (state, says) == (
        "failed",
        "device: expected cpu, or cuda where there is a GPU that PyTorch can use, found cuda, and PyTorch sees no GPU",
    )


@pytest.fixture
def network_settings(settings: Settings, tmp_path: Path) -> Settings:
    """The smallest network, with weights that nobody trained."""
    checkpoint = tmp_path / "weights.safetensors"
    network = smallest_network()
    write_checkpoint(checkpoint, network.state_dict(), network.configuration)
    return replace(settings, engine="sam4d", checkpoint=checkpoint, device="cpu")


def test_the_network_is_trained_on_from_its_weights_stopped_and_gone_on_with(network_settings: Settings, server: Submitted) -> None:
    stopped = threading.Event()

    def stop_in_the_middle(lesson: Lesson) -> Path:
        def say(step: str, done: int, total: int) -> None:
            if "training" in step and done == 1:
                stopped.set()
            lesson.say(step, done, total)

        return train_network(replace(lesson, say=say))

    request = TrainingRequest("everything", steps=2, use_anyway=True)
    worker, jobs = worker_of(network_settings, server, stop_in_the_middle, stopped)
    jobs.add(PROJECT, request)
    worker.work()
    assert [job.state for job in jobs.jobs()] == ["waiting"]

    steps: list[int] = []
    worker, jobs = worker_of(network_settings, server, train_network)
    worker = replace(worker, progress=lambda step, done, total: steps.append(done) if "training" in step else None)
    worker.work()
    assert [job.state for job in jobs.jobs()] == ["done"], jobs.jobs()
    assert steps == [1, 2], "what was done is said, and not done again"
    store = version_store_of(network_settings)
    assert store is not None
    version = store.get("v1")
    assert version.about is not None
    predictor = predictor_of(network_settings)
    assert predictor.version == version.about.model_version != load_version(network_settings, BASE).version
    # The next training begins with what was learnt, of the same sizes.
    state, says = ended(network_settings, server, train_network, TrainingRequest("heads", steps=1))
    assert state == "refused", says
    assert "what was learnt is not better than sam4d-" in says
    assert predictor_of(network_settings).version == predictor.version


def test_a_network_without_weights(settings: Settings, server: Submitted) -> None:
    state, says = ended(replace(settings, engine="sam4d"), server, train_network)
    assert (state, "SAM4D_CHECKPOINT" in says) == ("failed", True)


def test_label_studio_is_away(settings: Settings, server: Submitted) -> None:
    def away() -> None:
        raise LabelStudioError("Label Studio", "an answer", "none")

    server.before = away
    assert ended(settings, server, full_disk) == ("failed", "Label Studio: expected an answer, found none")


def test_what_nobody_expected_is_one_line_and_the_next_job_has_its_turn(settings: Settings, server: Submitted) -> None:
    def learn(lesson: Lesson) -> Path:
        raise ZeroDivisionError("something inside")

    worker, jobs = worker_of(settings, server, learn)
    jobs.add(PROJECT, TrainingRequest())
    worker.work()
    assert [(job.state, job.says) for job in jobs.jobs()] == [("failed", "ZeroDivisionError, see the log")]
    assert not jobs.has_work()


def test_a_server_that_ends_goes_on_with_the_training_and_what_it_had(settings: Settings, server: Submitted, store: VersionStore) -> None:
    use(store, BAD)
    stopped = threading.Event()

    def half(lesson: Lesson) -> Path:
        (lesson.folder / "state").write_text("half of it")
        stopped.set()
        lesson.say("learning", 1, 2)
        raise AssertionError("it was not stopped")

    worker, jobs = worker_of(settings, server, half, stopped)
    jobs.add(PROJECT, TrainingRequest())
    worker.work()
    (job,) = jobs.jobs()
    assert (job.state, job.failures) == ("waiting", 0)

    def rest(lesson: Lesson) -> Path:
        assert (lesson.folder / "state").read_text() == "half of it"
        return finding(DEFAULT_PARAMETERS)(lesson)

    worker, jobs = worker_of(settings, server, rest)
    worker.work()
    assert [job.state for job in jobs.jobs()] == ["done"]


def test_another_request_begins_anew(settings: Settings, server: Submitted) -> None:
    def half(lesson: Lesson) -> Path:
        assert not (lesson.folder / "state").exists()
        (lesson.folder / "state").write_text("half of it")
        raise StoppedError

    worker, jobs = worker_of(settings, server, half)
    for steps in (5, 6):
        jobs.add(PROJECT, TrainingRequest(steps=steps))
        job = jobs.take()
        assert job is not None
        worker.work_on(job)
        jobs.stop(PROJECT)


def test_somebody_stops_it(settings: Settings, server: Submitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.training_worker.SAY_SECONDS", 0.0)

    def learn(lesson: Lesson) -> Path:
        jobs.stop(PROJECT)
        lesson.say("learning", 1, 2)
        raise AssertionError("it was not stopped")

    worker, jobs = worker_of(settings, server, learn)
    jobs.add(PROJECT, TrainingRequest())
    worker.work()
    (job,) = jobs.jobs()
    assert (job.state, job.says) == ("stopped", "somebody stopped it; the same training goes on where it was")


def test_a_job_that_ends_every_process_does_not_do_so_for_ever(settings: Settings, server: Submitted) -> None:
    worker, jobs = worker_of(settings, server, finding(DEFAULT_PARAMETERS))
    jobs.add(PROJECT, TrainingRequest())
    for _ in range(MOST_FAILURES):
        assert jobs.jobs()[0].state == "waiting"
        assert jobs.take() is not None
        worker.take_over()
    (job,) = jobs.jobs()
    assert job.state == "failed"
    assert "its process ended 3 times in the middle" in job.says


def test_it_says_what_is_missing(settings: Settings) -> None:
    with pytest.raises(InputError, match="found no MODEL_DIR"):
        training_run_of(replace(settings, model_dir=None))
    assert training_run_of(settings).teaching.learn is search_parameters


def test_a_version_is_loaded_by_name(settings: Settings, store: VersionStore) -> None:
    version = use(store, BAD)
    assert load_version(settings, "v1").version == version
    assert load_version(settings, BASE).version == build_predictor().version
    with pytest.raises(InputError, match="version v9"):
        load_version(settings, "v9")
    with pytest.raises(InputError, match="MODEL_DIR"):
        load_version(replace(settings, model_dir=None), "v1")
