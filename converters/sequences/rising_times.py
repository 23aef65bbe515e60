"""Frames follow each other in time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from sam4d.structures import Clip, InputError


def require_rising_times(clip: Clip, path: str | Path) -> None:
    """Frames without a time are passed over.

    Args:
        path: what an error calls the drive.

    Raises:
        InputError: naming the first two frames of which the second is not later: frames that were put in the wrong order or twice, or two
            recordings in one. Motion between them would be estimated backwards, or over no time at all.
    """
    stamped = [(index, frame.timestamp_ns) for index, frame in enumerate(clip.frames) if frame.timestamp_ns is not None]
    for (first, before_ns), (second, after_ns) in pairwise(stamped):
        if after_ns <= before_ns:
            raise InputError(f"{path}: frame {second}: timestamp_ns", f"a time after that of frame {first}, {before_ns}", str(after_ns))
