"""Proposals from two real Ray workers on this machine, of a Ray that is started for them and of one that runs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.cluster import LOCAL, NOT_STARTED, OBJECT_STORE_BYTES, TRIES, connect, connected_cluster
from backend.embedded import free_port, running_child
from backend.label_studio import Project, Task
from backend.media import MediaReader
from backend.preannotate import TaskProposal, propose_task
from backend.proposing import ProposedRegions, Proposer, WindowProposer
from backend.settings import Settings, prepare_ray
from converters.label_config import LabelConfig, build_label_config
from converters.tasks import TaskWindow, build_task_data
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError
from tests.backend.conftest import LABELS, SEQUENCE

pytestmark = [
    pytest.mark.slow,
    # Each worker loads everything anew, on a machine that others may share.
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("ray"),
    # Not imported here: it reads the environment when it is.
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray"),
]

MASKS_PER_TASK = 20
REPOSITORY = Path(__file__).parents[2]


def wait_for(condition: object) -> None:
    """Until `condition()` holds."""
    assert callable(condition)
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@dataclass
class NotedProposer:
    """Notes each task that it begins, with its process, in a folder, and waits while it is told to hold it there."""

    notes: Path
    proposer: Proposer

    @property
    def version(self) -> str:
        return self.proposer.version

    def propose(self, window: TaskWindow, drive: Clip, config: LabelConfig, most_masks: int) -> ProposedRegions:
        number = len(list(self.notes.glob(f"begun-{window.first_frame}-*")))
        (self.notes / f"begun-{window.first_frame}-{number}").write_text(str(os.getpid()))
        wait_for(lambda: not (self.notes / f"hold-{window.first_frame}").exists())
        if (self.notes / f"kill-{window.first_frame}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return self.proposer.propose(window, drive, config, most_masks)


def build_noted_proposer(settings: Settings) -> Proposer:
    assert settings.model_dir is not None
    return NotedProposer(settings.model_dir, WindowProposer(build_predictor()))


def build_nothing(settings: Settings) -> Proposer:
    raise InputError("this machine", "a checkpoint", "none")


def one_frame_tasks(drive: SyntheticDrive) -> list[Task]:
    """A task of each frame; its number is the frame's."""
    images = {camera: ["/image.png"] for camera in drive.clip.cameras}
    return [Task(frame, build_task_data(TaskWindow(SEQUENCE, frame, 1), images, ["/bev.png"])) for frame in range(len(drive.clip))]


def project_of(drive: SyntheticDrive) -> Project:
    return Project(7, "drives", build_label_config(drive.clip.cameras, LABELS))


@contextlib.contextmanager
def running_head() -> Iterator[str]:
    """The address of a Ray of two cores that others have started, as far as this process is concerned."""
    # Its settings and token stand in the environment, where the connection looks for them as well.
    prepare_ray(alone=True)
    port, clients_port = free_port(0, "Ray"), free_port(0, "Ray's clients")
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        f"--ray-client-server-port={clients_port}",
    ]
    command += ["--node-ip-address=127.0.0.1", "--num-cpus=2", "--include-dashboard=false", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    # A socket's path may have about 100 letters: too few for pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="sam4d-ray-") as folder:
        # What it starts for a client loads Ray anew, on a machine that others may share.
        variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120"}
        with running_child("Ray", [*command, f"--temp-dir={folder}"], Path(folder) / "log", variables, REPOSITORY, stop_seconds=3) as child:

            def is_ready() -> bool:
                child.check()
                return is_listening(clients_port)

            wait_for(is_ready)
            yield f"ray://127.0.0.1:{clients_port}"


def is_listening(port: int) -> bool:
    with contextlib.closing(socket.socket()) as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["started here", "running"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "started here":
        yield LOCAL
        return
    with running_head() as running:
        yield running


def test_a_killed_worker_costs_its_task_once_more_and_nothing_else(
    address: str, small_drive: SyntheticDrive, data_root: Path, tmp_path: Path
) -> None:
    """Task 0's worker is killed from outside, task 3 ends every worker that takes it."""
    settings = Settings(data_root=data_root, model_dir=tmp_path)
    project, tasks = project_of(small_drive), one_frame_tasks(small_drive)
    open_clip = MediaReader(settings).open_clip
    alone = [propose_task(task, WindowProposer(build_predictor()), open_clip, project.label_config, MASKS_PER_TASK) for task in tasks]
    stranger = Task(9, {"image": "a"})
    (tmp_path / "hold-0").touch()
    (tmp_path / "kill-3").touch()
    found: dict[int, TaskProposal] = {}
    with connected_cluster(address, 2, settings, project, masks_per_task=MASKS_PER_TASK, build=build_noted_proposer) as cluster:
        assert (cluster.count, cluster.version) == (2, build_predictor().version)
        proposals = cluster.propose_all([*tasks, stranger])
        # The other worker goes on.
        first = next(proposals)
        found[first.task.task_id] = first
        begun = tmp_path / "begun-0-0"
        wait_for(lambda: begun.exists() and begun.read_text())
        os.kill(int(begun.read_text()), signal.SIGKILL)
        (tmp_path / "hold-0").unlink()
        for proposal in proposals:
            assert proposal.task.task_id not in found
            found[proposal.task.task_id] = proposal
    assert [found[number] for number in range(3)] == alone[:3]
    assert all(proposal.objects for proposal in alone[:3])
    assert str(found[3].failure).startswith("its worker was lost 3 times: ")
    assert "\n" not in str(found[3].failure)
    assert "a task of another project type" in str(found[9].failure)
    assert len(found) == 5
    assert [len(list(tmp_path.glob(f"begun-{number}-*"))) for number in range(4)] == [2, 1, 1, 3]
    # Ray would put its own in its place.
    assert print.__module__ == "builtins"


def test_workers_that_have_no_engine(small_drive: SyntheticDrive, data_root: Path) -> None:
    with (
        pytest.raises(InputError, match="workers with this engine, found this machine: expected a checkpoint"),
        connected_cluster("local", 1, Settings(data_root=data_root), project_of(small_drive), masks_per_task=1, build=build_nothing),
    ):
        pass
    import ray

    assert not ray.is_initialized()


@dataclass
class FailingRay:
    """Refuses so many connections with a message; only then, and once it was shut down, it can be reached."""

    failures: int
    message: str
    is_open: bool = False
    asked: int = 0

    def init(self, address: str, **options: object) -> None:
        assert not self.is_open, "Ray refuses to be initialised twice"
        self.is_open, self.asked = True, self.asked + 1
        if self.asked <= self.failures:
            raise ConnectionAbortedError(self.message)

    def shutdown(self) -> None:
        self.is_open = False


def test_a_process_for_the_connection_that_broke_off_is_asked_for_again() -> None:
    ray = FailingRay(TRIES - 1, f"{NOT_STARTED}: Starting Ray client server failed.")
    connect(ray, "ray://127.0.0.1:10001")
    assert (ray.is_open, ray.asked) == (True, TRIES)


@pytest.mark.parametrize(("message", "asked"), [(f"{NOT_STARTED}: Starting Ray client server failed.", TRIES), ("no such host", 1)])
def test_what_stays_away_is_not_asked_for_ever(message: str, asked: int) -> None:
    ray = FailingRay(100, message)
    with pytest.raises(ConnectionAbortedError, match=message):
        connect(ray, "ray://127.0.0.1:10001")
    assert ray.asked == asked


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:10001", "auto", ""])
def test_an_address_that_is_none(small_drive: SyntheticDrive, wrong: str) -> None:
    with (
        pytest.raises(InputError, match="--cluster: expected local or ray://HOST:PORT"),
        connected_cluster(wrong, None, Settings(), project_of(small_drive), masks_per_task=1),
    ):
        pass
