"""A task: a window of a sequence's frames with the addresses of its images.

Task data: one list of image addresses per camera (under the camera's tag name) and `bev`, one entry per frame; `sequence`, the address
of the sequence; `first_frame`, the window's first frame in it; `birds_eye`, how the bird's-eye images were rendered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast, get_args

from converters.finite_numbers import is_finite_number
from converters.label_config import BIRDS_EYE, camera_tags
from sam4d.geometry import Axis, BirdsEyeView
from sam4d.structures import InputError, Masklet

BIRDS_EYE_PIXELS = 8192
"""The largest side of a bird's-eye image: masks of it are made for every object and frame."""


@dataclass(frozen=True)
class TaskWindow:
    """The frames of a sequence that one task shows: `frame_count` from `first_frame` on. `item_index` 0 is `first_frame`."""

    sequence: str
    first_frame: int
    frame_count: int
    birds_eye: BirdsEyeView = field(default_factory=BirdsEyeView)


def frame_windows(frame_count: int, frames_per_task: int, overlap: int) -> list[tuple[int, int]]:
    """(first frame, number of frames) of every task: all frames, consecutive windows sharing `overlap`, none within another.

    Raises:
        InputError: no frame, a window of none, or an overlap that is negative or leaves no step forward.
    """
    if frame_count < 1:
        raise InputError("frames", "at least one", str(frame_count))
    if frames_per_task < 1:
        raise InputError("frames per task", "at least one", str(frames_per_task))
    if not 0 <= overlap < frames_per_task:
        raise InputError("overlap", f"0 to {frames_per_task - 1} (frames per task: {frames_per_task})", str(overlap))
    step = frames_per_task - overlap
    window_count = 1 + max(0, math.ceil((frame_count - frames_per_task) / step))
    return [(i * step, min(frames_per_task, frame_count - i * step)) for i in range(window_count)]


def within_window(masklet: Masklet, window: TaskWindow) -> Masklet:
    """A masklet of the whole sequence on a window's frames, which count from the window's first; its object id stays."""
    first, stop = window.first_frame, window.first_frame + window.frame_count
    shown = [index for index in masklet.masks if first <= index < stop]
    masks = {index - first: replace(masklet.masks[index], frame_index=index - first) for index in shown}
    cuboids = {index - first: cuboid for index, cuboid in masklet.cuboids.items() if first <= index < stop}
    return replace(masklet, masks=masks, cuboids=cuboids)


def build_task_data(window: TaskWindow, image_addresses: Mapping[str, Sequence[str]], bev_addresses: Sequence[str]) -> dict[str, object]:
    """Task data of a window. `image_addresses`: {camera name: one address per frame}, `bev_addresses` likewise.

    Raises:
        InputError: a list whose length is not the window's.
    """
    tags = camera_tags(image_addresses)
    lists = {tags[camera]: list(addresses) for camera, addresses in image_addresses.items()} | {BIRDS_EYE: list(bev_addresses)}
    for tag, addresses in lists.items():
        if len(addresses) != window.frame_count:
            raise InputError(f"images of {tag}", f"one address per frame ({window.frame_count})", f"{len(addresses)} addresses")
    view = window.birds_eye
    return {
        **lists,
        "sequence": window.sequence,
        "first_frame": window.first_frame,
        "birds_eye": {"range_m": view.range_m, "metres_per_pixel": view.metres_per_pixel, "forward": view.forward},
    }


def parse_task_data(data: object) -> TaskWindow:
    """Read a task's data back.

    Raises:
        InputError: a task of another project type, or a field that is not as `build_task_data` wrote it.
    """
    if not isinstance(data, Mapping):
        raise InputError("task data", "an object", type(data).__name__)
    missing = [key for key in (BIRDS_EYE, "sequence", "first_frame", "birds_eye") if key not in data]
    if missing:
        found = f"a task of another project type, without {', '.join(missing)} (it has {', '.join(map(str, data)) or 'nothing'})"
        raise InputError("task data", "a task that `sam4d import` made", found)
    sequence, first_frame, images = data["sequence"], data["first_frame"], data[BIRDS_EYE]
    if not isinstance(sequence, str) or not sequence:
        raise InputError("task data, sequence", "the address of a sequence", repr(sequence))
    if not isinstance(first_frame, int) or isinstance(first_frame, bool) or first_frame < 0:
        raise InputError("task data, first_frame", "a frame number from 0 on", repr(first_frame))
    if not isinstance(images, Sequence) or isinstance(images, str) or not images:
        raise InputError(f"task data, {BIRDS_EYE}", "a list of image addresses, one per frame", repr(images)[:80])
    return TaskWindow(sequence, first_frame, len(images), _parse_view(data["birds_eye"]))


def _parse_view(data: object) -> BirdsEyeView:
    if not isinstance(data, Mapping):
        raise InputError("task data, birds_eye", "an object", type(data).__name__)
    lengths = {}
    for key in ("range_m", "metres_per_pixel"):
        value = data.get(key)
        if not is_finite_number(value) or value <= 0:
            raise InputError(f"task data, birds_eye, {key}", "a length in metres above 0", repr(value))
        lengths[key] = float(value)
    if not 0.5 <= 2 * lengths["range_m"] / lengths["metres_per_pixel"] <= BIRDS_EYE_PIXELS:
        found = f"{lengths['range_m']:g} m each way at {lengths['metres_per_pixel']:g} m per pixel"
        raise InputError("task data, birds_eye", f"an image of 1 to {BIRDS_EYE_PIXELS} pixels a side", found)
    forward = data.get("forward")
    if forward not in get_args(Axis):
        raise InputError("task data, birds_eye, forward", " or ".join(get_args(Axis)), repr(forward))
    return BirdsEyeView(lengths["range_m"], lengths["metres_per_pixel"], cast(Axis, forward))
