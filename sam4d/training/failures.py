"""Why a training stops that nobody stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from sam4d.structures import InputError


class TrainingFailed(RuntimeError):  # noqa: N818 - says what happened, as a sentence does
    """The message is one line: what happened, and what is left. States and checkpoints written before it stand."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises TrainingFailed where the file cannot be written, as for lack of space."""
    try:
        yield
    except InputError as error:  # of `checkpoint.write_safetensors`
        raise TrainingFailed(f"{error}; what was written before it stands") from error
    except OSError as error:
        raise TrainingFailed(f"file {path} cannot be written: {error.strerror or error}; what was written before it stands") from error


@contextlib.contextmanager
def within_memory(device: torch.device) -> Iterator[None]:
    """Raises TrainingFailed where the device has too little memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        where = "of the GPU" if device.type == "cuda" else "on the CPU"
        raise TrainingFailed(
            f"too little memory {where}: fewer frames or objects in a window, activation checkpointing or bfloat16 need less"
        ) from None
