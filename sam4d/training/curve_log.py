"""The learning curve as files: a line of JSON per step, and where TensorBoard is installed (extra: training), its events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sam4d.training.failures import writing
from sam4d.training.learning_curve import CurvePoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LINES = "curve.jsonl"
EVENTS = "events.out.tfevents."
"""How names of TensorBoard's files begin."""


class CurveLog:
    """Writes both anew from the steps that are known, then goes on with them. A context manager.

    Raises TrainingFailed where they cannot be written.
    """

    def __init__(self, folder: Path, curve: Sequence[CurvePoint]) -> None:
        self._path = folder / LINES
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lines: IO[bytes] = self._path.open("wb")
            self._events = _events_in(folder)
        for point in curve:
            self.add(point)

    def add(self, point: CurvePoint) -> None:
        with writing(self._path):
            self._lines.write(json.dumps(point.as_fields()).encode() + b"\n")
            self._lines.flush()
            if self._events is not None:
                for name, value in point.scalars().items():
                    self._events.add_scalar(name, value, point.step)

    def close(self) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> CurveLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _events_in(folder: Path) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # TensorBoard would show the steps of all files of a folder.
    for earlier in folder.glob(f"{EVENTS}*"):
        earlier.unlink()
    return SummaryWriter(str(folder))
