"""The objects of many tasks, found by many processes or machines at once, through Ray (extra: cluster).

Only the driver talks to Label Studio about predictions; workers open clips, find objects and hand back regions.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from backend.engine import predictor_of
from backend.errors import one_line
from backend.label_studio import Project, Task
from backend.limits import MEGABYTE
from backend.media import MediaReader
from backend.preannotate import TaskProposal, propose_task
from backend.proposing import Proposer, WindowProposer
from backend.settings import Settings, prepare_ray
from sam4d.structures import InputError

LOCAL = "local"
REMOTE = "ray://"
TRIES = 3
"""Of one task whose worker is lost each time; of a worker that is lost before it begins; and of a connection to a Ray that runs."""
OBJECT_STORE_BYTES = 256 * MEGABYTE
NOT_STARTED = "Initialization failure from server"
"""What Ray says where it is reached, and the process that it starts for a connection did not come up."""
PATIENCE_S = 600.0
"""Without any worker; a cluster may have to start machines first."""

BuildProposer: TypeAlias = Callable[[Settings], Proposer]


def build_window_proposer(settings: Settings) -> Proposer:
    return WindowProposer(predictor_of(settings))


@dataclass(frozen=True)
class Start:
    """What a worker says of itself: the version of its proposals, or why it can make none."""

    version: str = ""
    failure: str | None = None


class TaskWorker:
    """An engine in a process of its own, on one core or one GPU. It is made where it runs.

    Args:
        build: makes what finds the objects; called once.
    """

    def __init__(self, settings: Settings, project: Project, masks_per_task: int, build: BuildProposer) -> None:
        self._settings, self._project, self._masks_per_task, self._build = settings, project, masks_per_task, build
        self._proposer: Proposer | None = None
        self._open_clip = partial(MediaReader(settings).open_clip, project_id=project.project_id)

    def start(self) -> Start:
        """Ray gives a worker of one core one thread (OMP_NUM_THREADS)."""
        try:
            self._proposer = self._build(self._settings)
            return Start(self._proposer.version)
        except InputError as error:
            return Start(failure=str(error))

    def propose(self, task: Task) -> TaskProposal:
        assert self._proposer is not None
        return propose_task(task, self._proposer, self._open_clip, self._project.label_config, self._masks_per_task)


class Cluster:
    """Workers of one kind on a Ray that is connected. Make one with `connected_cluster`.

    Args:
        ray: the module.
        count: of workers.
        resources: of each, as Ray's actors take them.
    """

    def __init__(self, ray: Any, count: int, resources: dict[str, Any], make_worker: tuple[Any, ...]) -> None:
        self._ray = ray
        self.count = count
        # A lost worker is made anew here and not by Ray, so that what it worked on is counted.
        self._worker = ray.remote(TaskWorker).options(max_restarts=0, scheduling_strategy="SPREAD", **resources)
        self._make_worker = make_worker
        self._starting: dict[Any, Any] = {}
        self._idle: deque[Any] = deque()
        self._lost_at_start = 0
        for _ in range(count):
            self._start_worker()
        self.version = self._first_version()

    def propose_all(self, tasks: Sequence[Task]) -> Iterator[TaskProposal]:
        """What is found in each task, in the order in which it is found. A worker has one task at a time; what is lost with a worker is
        done once more.

        Raises:
            InputError: no worker is left, or one is not as the others.
        """
        todo, tries = deque(tasks), Counter[int]()
        running: dict[Any, tuple[Any, Task]] = {}
        while todo or running:
            while todo and self._idle:
                worker, task = self._idle.popleft(), todo.popleft()
                tries[task.task_id] += 1
                running[worker.propose.remote(task)] = worker, task
            for answer in self._answers([*running, *self._starting], bool(running)):
                if answer in self._starting:
                    self._welcome(answer)
                    continue
                worker, task = running.pop(answer)
                lost: str | None = None
                try:
                    proposal: TaskProposal = self._ray.get(answer)
                    # Another call's answer would make one task come twice and another never.
                    if proposal.task.task_id != task.task_id:
                        lost = f"it answered for task {proposal.task.task_id}"
                except self._ray.exceptions.RayTaskError as error:
                    # No lost worker: the same would happen again.
                    proposal = TaskProposal(task, failure=f"failed on a worker: {_cause(error)}")
                except self._ray.exceptions.RayError as error:
                    lost = _cause(error)
                if lost is None:
                    self._idle.append(worker)
                    yield proposal
                    continue
                self._replace(worker)
                if tries[task.task_id] < TRIES:
                    todo.appendleft(task)
                else:
                    yield TaskProposal(task, failure=f"its worker was lost {TRIES} times: {lost}")

    def _start_worker(self) -> None:
        worker = self._worker.remote(*self._make_worker)
        self._starting[worker.start.remote()] = worker

    def _replace(self, worker: Any) -> None:
        self._ray.kill(worker)
        self._start_worker()

    def _first_version(self) -> str:
        self.version = ""
        while not self._idle:
            for answer in self._answers(list(self._starting), False):
                self._welcome(answer)
        return self.version

    def _welcome(self, answer: Any) -> None:
        """A worker that has started, or has not."""
        worker = self._starting.pop(answer)
        try:
            start: Start = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._lost_at_start += 1
            if self._lost_at_start >= TRIES * self.count:
                raise InputError("cluster", "workers that start", _cause(error)) from None
            self._replace(worker)
            return
        if start.failure is not None:
            raise InputError("cluster", "workers with this engine", start.failure)
        self.version = self.version or start.version
        if start.version != self.version:
            raise InputError("cluster", f"workers of one version, {self.version} as the first", start.version)
        self._lost_at_start = 0
        self._idle.append(worker)

    def _answers(self, waited_for: list[Any], working: bool) -> list[Any]:
        ready, _ = self._ray.wait(waited_for, timeout=None if working else PATIENCE_S)
        if not ready:
            raise InputError("cluster", f"a worker within {PATIENCE_S:.0f} s", "none")
        return list(ready)


@contextlib.contextmanager
def connected_cluster(
    address: str,
    workers: int | None,
    settings: Settings,
    project: Project,
    *,
    masks_per_task: int,
    build: BuildProposer = build_window_proposer,
) -> Iterator[Cluster]:
    """Workers for a project's tasks.

    Args:
        address: "local" starts a Ray here, which nobody else can reach and which ends with the block; ray://HOST:PORT is one that runs.
        workers: how many; None takes one for each GPU where the engine is the network and there are any, else one for each core.

    Raises:
        InputError: no Ray, no such address, too few cores or GPUs, workers that cannot make the engine. Within the block, too, where
            the connection is lost.
    """
    if address != LOCAL and not address.startswith(REMOTE):
        raise InputError("--cluster", f"{LOCAL} or {REMOTE}HOST:PORT", repr(address))
    prepare_ray(alone=address == LOCAL)
    try:
        import ray
    except ImportError:
        raise InputError("--cluster", 'Ray (pip install "sam4d-label-studio[cluster]")', "none installed") from None
    with contextlib.ExitStack() as stack:
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            if address == LOCAL:
                folder = tempfile.mkdtemp(prefix="sam4d-ray-")
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                stack.callback(ray.shutdown)
                _start_ray(ray, folder, workers)
            else:
                stack.callback(ray.shutdown)
                connect(ray, address)
            # Ray would end the process at SIGTERM without a word.
            signal.signal(signal.SIGTERM, terminated)
            there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            raise InputError(f"cluster {address}", "a Ray of this version that can be reached", one_line(str(error), 300)) from None
        kind, resources = ("GPU", {"num_cpus": 1, "num_gpus": 1}) if _on_gpus(settings, there) else ("CPU", {"num_cpus": 1})
        most = int(there.get(kind, 0))
        count = workers or most
        if not 1 <= count <= most:
            raise InputError(f"cluster {address}", f"a {kind} for each of {max(count, 1)} workers", f"{most}")
        try:
            yield Cluster(ray, count, resources, (settings, project, masks_per_task, build))
        except ConnectionError as error:
            raise InputError(f"cluster {address}", "to stay connected", one_line(str(error), 300)) from None


def connect(ray: Any, address: str) -> None:
    """To a Ray that runs, again where its process for this connection broke off while it started.

    Ray forks that process while threads of its own are within gRPC, which now and then costs the child its life.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            return
        except ConnectionError as error:
            if not tries_left or NOT_STARTED not in str(error):
                raise
            ray.shutdown()


def _start_ray(ray: Any, folder: str, workers: int | None) -> None:
    ray.init(
        "local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )


def _on_gpus(settings: Settings, there: dict[str, float]) -> bool:
    """Whether the engine is the network and there is something for it."""
    network = settings.engine == "sam4d" or (settings.engine == "auto" and settings.checkpoint is not None)
    return network and settings.device != "cpu" and there.get("GPU", 0) >= 1


def _cause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {one_line(str(cause), 300)}"
