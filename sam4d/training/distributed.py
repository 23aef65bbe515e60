"""Several processes of this machine that train one network together: PyTorch's DistributedDataParallel (arXiv 2006.15704)."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sam4d.structures import InputError
from sam4d.training.failures import TrainingFailed
from sam4d.training.group import Lesson
from sam4d.training.plan import TrainingPlan
from sam4d.training.training_run import Course, Progress, Trained, TrainingRun

LISTEN_S = 0.2
"""How long the first process's word is waited for before the others are looked at."""


class Processes:
    """Implements `group.Group` with PyTorch's process group, which must be there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

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
        flags = torch.tensor([float(flag)], device=self._device)
        torch.distributed.all_reduce(flags)
        return bool(flags.item() > 0)

    def from_first(self, value: float) -> float:
        values = torch.tensor([value], dtype=torch.float64, device=self._device)
        torch.distributed.broadcast(values, 0)
        return float(values.item())
