"""Several processes of this machine that train one network together: PyTorch's DistributedDataParallel (arXiv 2006.15704)."""

from __future__ import annotations

import datetime
import os
import pickle
import queue
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn
from torch._C._distributed_c10d import FileStore
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes
from torch.nn.parallel import DistributedDataParallel

from sam4d.modeling.sam4d import Sam4D
from sam4d.structures import InputError
from sam4d.training.course import ClipCourse, prepared
from sam4d.training.failures import TrainingFailed
from sam4d.training.group import Lesson
from sam4d.training.plan import TrainingPlan
from sam4d.training.training_run import Progress, Trained, TrainingRun

LISTEN_S = 0.2
"""How long word from a process is waited for before it is looked at whether all are well."""

JUDGING_LIMIT = datetime.timedelta(hours=6)
"""The other processes wait so long while the first one judges held-out clips."""


class Processes:
    """Implements `group.Group` with PyTorch's process group."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self.device = device

    @classmethod
    def meet(cls, rank: int, size: int, kind: str, store: str) -> Processes:
        """Wait until all are there. What they say goes over loopback.

        Args:
            kind: "cuda", a GPU by its rank for each, or "cpu". store: a file, which is made.
        """
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
        for library in ("GLOO", "NCCL"):
            os.putenv(f"{library}_SOCKET_IFNAME", loopback)
        device = torch.device(kind, rank if kind == "cuda" else 0)
        if kind == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if kind == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, store=FileStore(store, size), rank=rank, world_size=size, timeout=JUDGING_LIMIT)
        return cls(rank, size, device)

    def together(self, module: nn.Module) -> Lesson:
        # Not every sample has an object that is corrected, or absent, so not every weight has a part in every loss.
        return DistributedDataParallel(module, find_unused_parameters=True)

    def apart(self, lesson: Lesson) -> AbstractContextManager[None]:
        assert isinstance(lesson, DistributedDataParallel)
        return lesson.no_sync()

    def mean(self, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total / self.size

    def any(self, flag: bool) -> bool:
        flags = torch.tensor([float(flag)], device=self.device)
        torch.distributed.all_reduce(flags)
        return bool(flags.item() > 0)

    def from_first(self, value: float) -> float:
        values = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(values, 0)
        return float(values.item())


def run_in_processes(
    count: int,
    device: torch.device,
    plan: TrainingPlan,
    network: Sam4D,
    course: ClipCourse,
    folder: Path,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Trained:
    """`TrainingRun.run` in so many processes, which talk over loopback only; CUDA means a GPU each.

    Raises what that raises, InputError where the clips cannot be handed to other processes, TrainingFailed where one of them was ended.
    """
    try:
        pickle.dumps(course)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError("clips of a training in several processes", "loaders that can be sent to other processes", str(error)) from None
    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory() as meeting_point:
        context = torch.multiprocessing.get_context("spawn")
        messages, stop = context.Queue(), context.Event()
        place = (count, device.type, threads, str(Path(meeting_point) / "store"), os.getpid())
        processes = start_processes(  # type: ignore[no-untyped-call]
            _take_part, (place, plan, network, course, folder, messages, stop), nprocs=count, join=False, start_method="spawn"
        )
        try:
            _listen(processes, messages, progress, lambda: stop.set() if stopped() else None)
        finally:
            for process in processes.processes:
                process.terminate()
                process.join()
    # The last state says how it ended: no step follows, or it was interrupted.
    alone = TrainingRun(plan, prepared(network, plan, torch.device("cpu")), course, folder)
    return alone.run(stopped=lambda: True)


def _listen(processes: Any, messages: Any, progress: Progress, pass_on: Callable[[], None]) -> None:
    """Until all processes have ended, and nothing is left to be heard: a reason comes before what it led to in other processes."""
    ended = False
    trouble: Exception | None = None
    while True:
        pass_on()
        try:
            kind, *content = messages.get(timeout=LISTEN_S)
        except queue.Empty:
            if trouble is not None:
                raise trouble from None
            if ended:
                return
            try:
                ended = processes.join(timeout=LISTEN_S)
            except ProcessExitedException as error:
                trouble = TrainingFailed(f"a process of the training was ended ({error}), as for too little memory; the last state stands")
            except ProcessRaisedException as error:
                trouble = error
            continue
        if kind == "input":
            raise InputError(*content)
        if kind == "failed":
            raise TrainingFailed(*content)
        progress(*content)


def _take_part(
    rank: int,
    place: tuple[int, str, int, str, int],
    plan: TrainingPlan,
    network: Sam4D,
    course: ClipCourse,
    folder: Path,
    messages: Any,
    stop: Any,
) -> None:
    count, kind, threads, store, parent = place

    def unless_alone(number: int, frame: FrameType | None) -> None:
        # Ctrl-C reaches all processes, and the parent passes it on in its own way; PyTorch sends the same where the parent is gone.
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGINT, unless_alone)
    torch.set_num_threads(threads)
    group = Processes.meet(rank, count, kind, store)

    def tell(*point: Any) -> None:
        if rank == 0:
            messages.put(("step", *point))

    try:
        TrainingRun(plan, prepared(network, plan, group.device), course, folder, group).run(tell, stop.is_set)
    except InputError as error:
        messages.put(("input", error.where, error.expected, error.found))
    except TrainingFailed as error:
        messages.put(("failed", str(error)))
    finally:
        torch.distributed.destroy_process_group()
