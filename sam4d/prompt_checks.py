"""What a prompt must satisfy before any engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sam4d.structures import LIDAR, BoxPrompt, Camera, Clip, InputError, MaskPrompt, PointPrompt, Prompt


def check_prompts(prompt: Prompt | Sequence[Prompt], clip: Clip, point_count: Callable[[int], int]) -> tuple[Prompt, ...]:
    """Prompts that are given together, as an engine may rely on them; see `check_prompt`.

    Raises:
        InputError: no prompt, or prompts of several objects or frames; and what `check_prompt` refuses.
    """
    given = tuple(prompt) if isinstance(prompt, Sequence) else (prompt,)
    if not given:
        raise InputError("prompts", "at least one", "none")
    object_id, frame_index = given[0].object_id, given[0].frame_index
    for other in given[1:]:
        if (other.object_id, other.frame_index) != (object_id, frame_index):
            raise InputError(
                "prompts given together",
                f"one object on one frame (object {object_id}, frame {frame_index})",
                f"object {other.object_id}, frame {other.frame_index} as well",
            )
    return tuple(check_prompt(each, clip, point_count) for each in given)


def says_where(prompt: Prompt) -> bool:
    """Whether an object can begin with it: a box, a mask or a positive click, but not negative clicks alone."""
    return not isinstance(prompt, PointPrompt) or bool((np.asarray(prompt.labels) == 1).any())


def needs_a_beginning(object_id: int, frame_index: int) -> InputError:
    """What to raise where negative clicks are all that is known of an object."""
    where = f"prompt for object {object_id} on frame {frame_index}"
    return InputError(where, "a positive click, a box or a mask to begin an object with", "negative clicks only")


def no_such_object(object_id: int, known: Sequence[int]) -> InputError:
    """What to raise where an object is to be removed that a session does not have."""
    return InputError("remove_object", f"one of the session's objects ({', '.join(map(str, known)) or 'none'})", str(object_id))


def pass_frames(start: int, stop: int | None, frame_count: int, *, reverse: bool) -> range:
    """The frames of `Session.propagate`. Raises InputError: `start` outside the clip."""
    if not 0 <= start < frame_count:
        raise InputError("propagate: start", f"a frame within 0 to {frame_count - 1}", str(start))
    if reverse:
        return range(start, -1 if stop is None else max(stop, -1), -1)
    return range(start, frame_count if stop is None else min(stop, frame_count))


def check_prompt(prompt: Prompt, clip: Clip, point_count: Callable[[int], int]) -> Prompt:
    """The prompt as an engine may rely on it: a box in a camera is cut to the image, all else stays as it is.

    Args:
        point_count: rows of a frame's sweep, by frame index; asked only for LiDAR masks.

    Raises:
        InputError: an unknown sensor, a frame outside the clip, a camera without image on the frame, coordinates that are not
            finite or outside the image, wrong shapes, labels other than 0 and 1, a box without area.
    """
    where = f"prompt for object {prompt.object_id} on frame {prompt.frame_index}, sensor {prompt.sensor!r}"
    if not 0 <= prompt.frame_index < len(clip):
        raise InputError(where, f"a frame within 0 to {len(clip) - 1}", f"frame {prompt.frame_index}")
    camera = None if prompt.sensor == LIDAR else _camera(prompt, clip, where)
    match prompt:
        case PointPrompt():
            _check_points(prompt, camera, where)
            return prompt
        case BoxPrompt():
            return _checked_box(prompt, camera, where)
        case MaskPrompt():
            expected = (point_count(prompt.frame_index),) if camera is None else (camera.height_px, camera.width_px)
            if prompt.mask.shape != expected:
                raise InputError(where, f"a mask of shape {expected}", f"shape {prompt.mask.shape}")
            return prompt


def _camera(prompt: Prompt, clip: Clip, where: str) -> Camera:
    if prompt.sensor not in clip.cameras:
        raise InputError(where, "one of the sensors " + ", ".join([*clip.cameras, LIDAR]), repr(prompt.sensor))
    if prompt.sensor not in clip.frames[prompt.frame_index].load_images:
        present = ", ".join(clip.frames[prompt.frame_index].load_images) or "no camera"
        raise InputError(where, f"a sensor with data on this frame ({present}, {LIDAR})", "no image of this camera")
    return clip.cameras[prompt.sensor]


def _check_points(prompt: PointPrompt, camera: Camera | None, where: str) -> None:
    coordinates, labels = np.asarray(prompt.coordinates), np.asarray(prompt.labels)
    width = 3 if camera is None else 2
    if coordinates.ndim != 2 or coordinates.shape[1] != width or not len(coordinates):
        names = "(x, y, z)" if camera is None else "(u, v)"
        raise InputError(where, f"coordinates of shape (P, {width}), one {names} per click", f"shape {coordinates.shape}")
    if labels.shape != (len(coordinates),):
        raise InputError(where, f"labels of shape ({len(coordinates)},), one per click", f"shape {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(where, "labels 1 (positive) or 0 (negative)", str(labels[~np.isin(labels, (0, 1))][0]))
    if not np.isfinite(coordinates).all():
        raise InputError(where, "finite coordinates", str(coordinates[~np.isfinite(coordinates).all(axis=1)][0].tolist()))
    if camera is not None:
        size = (camera.width_px, camera.height_px)
        outside = ((coordinates < 0) | (coordinates >= size)).any(axis=1)
        if outside.any():
            raise InputError(where, f"pixels inside the image of {size[0]} x {size[1]}", str(coordinates[outside][0].tolist()))


def _checked_box(prompt: BoxPrompt, camera: Camera | None, where: str) -> BoxPrompt:
    box = np.asarray(prompt.box)
    if box.shape != (4,):
        raise InputError(where, "a box of 4 numbers", f"shape {box.shape}")
    if not np.isfinite(box).all():
        raise InputError(where, "a box of finite numbers", str(box.tolist()))
    if camera is not None:
        clipped = np.clip(box, 0, [camera.width_px, camera.height_px, camera.width_px, camera.height_px])
        if (clipped[:2] >= clipped[2:]).any():
            expected = f"a box with area inside the image of {camera.width_px} x {camera.height_px}, smaller corner first"
            raise InputError(where, expected, str(box.tolist()))
        return replace(prompt, box=clipped)
    if (box[:2] >= box[2:]).any():
        raise InputError(where, "a box with area, smaller corner first", str(box.tolist()))
    return prompt
