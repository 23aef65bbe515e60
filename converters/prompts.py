"""What a user asked in Label Studio -> prompts for an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converters.brush_strokes import painted_mask
from converters.columns import lift_click, standing_under_mask
from converters.coordinates import Rectangle, percent_to_pixels
from converters.finite_numbers import FINITE_NUMBER, is_finite_number
from converters.label_config import BIRDS_EYE, CUBOID, LabelConfig, box_tag, brush_tag, camera_tags, click_tag
from converters.object_choice import choose_object
from converters.tasks import TaskWindow
from converters.user_prompt import PromptKind, UserPrompt
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import LIDAR, BoxPrompt, Clip, InputError, MaskPrompt, PointPrompt, Prompt

__all__ = ["PromptKind", "UserPrompt", "choose_object", "parse_context"]

_KINDS: dict[str, PromptKind] = {
    "keypointlabels": "point",
    "keypoint": "point",
    "rectanglelabels": "box",
    "rectangle": "box",
    "brushlabels": "mask",
    "brush": "mask",
}


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One entry of the context, checked: `where` names it in errors."""

    where: str
    kind: PromptKind
    label: str
    sensor: str
    frame_index: int
    positive: bool
    value: Mapping[str, object]
    size_px: tuple[int, int]


def parse_context(context: Mapping[str, object], config: LabelConfig, window: TaskWindow, clip: Clip) -> UserPrompt:
    """Label Studio's interactive `context` -> prompts. An `object_id` in the context, put there by a viewer, is honoured.

    Clicks on the bird's-eye view become points of the sweep, boxes there the bounds of the rectangle in metres, and brushes the standing
    points under them.

    Args:
        clip: the window's frames only (`clip.window(window.first_frame, window.frame_count)`): frame indices are item indices.

    Raises:
        InputError: nothing to do, prompts that do not belong together, an unknown tag, kind or frame, a camera without an image there, no
            label, coordinates outside the image or not finite, an empty brush, a negative box or brush.
    """
    results = context.get("result") if isinstance(context, Mapping) else None
    if not isinstance(results, Sequence) or isinstance(results, str) or not results:
        raise InputError("context, result", "a list of prompts, not empty", f"{type(results).__name__}" if results else "none")
    drawn = [_parse_drawn(result, number, config, window, clip) for number, result in enumerate(results)]
    newest = drawn[-1]
    for other in drawn:
        if (other.kind, other.sensor, other.label) != (newest.kind, newest.sensor, newest.label):
            expected = f"a {newest.kind} of {newest.label!r} on {newest.sensor}, as the newest"
            raise InputError(other.where, expected, f"a {other.kind} of {other.label!r} on {other.sensor}")

    prompts: list[Prompt] = []
    clicks_m: dict[int, Float64Array] = {}
    # Frames in the order of their newest prompt.
    for frame_index in dict.fromkeys(entry.frame_index for entry in reversed(drawn)):
        entries = [entry for entry in drawn if entry.frame_index == frame_index]
        if newest.kind == "point":
            prompt, clicked_m = _points(entries, window, clip)
            prompts.append(prompt)
            if clicked_m is not None:
                clicks_m[frame_index] = clicked_m
        elif newest.kind == "box":
            prompts.append(_box(entries[-1], window))
        else:
            prompts.append(_mask(entries, window, clip))
    return UserPrompt(
        label=newest.label,
        frame_index=newest.frame_index,
        sensor=newest.sensor,
        kind=newest.kind,
        positive=any(entry.positive for entry in drawn),
        prompts=tuple(reversed(prompts)),
        object_id=_named_object(context),
        clicks_m=clicks_m,
    )


def _parse_drawn(result: object, number: int, config: LabelConfig, window: TaskWindow, clip: Clip) -> _Drawn:
    if not isinstance(result, Mapping):
        raise InputError(f"prompt {number}", "an object", type(result).__name__)
    where = f"prompt {result.get('id', number)}"
    kind = _KINDS.get(str(result.get("type")))
    if kind is None:
        raise InputError(f"{where}, type", "a key point, rectangle or brush", repr(result.get("type"))[:60])
    image, tag = result.get("to_name"), result.get("from_name")
    camera_of = {name: camera for camera, name in camera_tags(clip.cameras).items()}
    if image not in config.images or (image != BIRDS_EYE and image not in camera_of):
        raise InputError(f"{where}, to_name", " or ".join([*camera_of, BIRDS_EYE]), repr(image)[:60])
    image = str(image)
    tags = [click_tag(image), box_tag(image), brush_tag(image), *([CUBOID] if image == BIRDS_EYE else [])]
    if tag not in tags:
        raise InputError(f"{where}, from_name", " or ".join(tags), repr(tag)[:60])
    index = result.get("item_index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(clip):
        raise InputError(f"{where}, item_index", f"a frame of the task, 0 to {len(clip) - 1}", repr(index)[:40])
    if image == BIRDS_EYE:
        sensor, size_px = LIDAR, (window.birds_eye.size_px, window.birds_eye.size_px)
    else:
        sensor = camera_of[image]
        size_px = (clip.cameras[sensor].width_px, clip.cameras[sensor].height_px)
        if sensor not in clip.frames[index].load_images:
            raise InputError(where, f"a frame with an image of {sensor}", f"frame {index}, which has none")
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise InputError(f"{where}, value", "an object", type(value).__name__)
    labels = value.get(str(result["type"]), value.get("labels"))
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str) or not labels[0]:
        raise InputError(where, "a label (pick one before the tool)", "none")
    positive = result.get("is_positive", True)
    if not isinstance(positive, bool):
        raise InputError(f"{where}, is_positive", "true or false", repr(positive)[:40])
    if not positive and kind != "point":
        raise InputError(where, f"a positive {kind} (negative prompts are clicks)", f"a negative {kind}")
    return _Drawn(where, kind, labels[0], sensor, index, positive, value, size_px)


def _points(entries: Sequence[_Drawn], window: TaskWindow, clip: Clip) -> tuple[PointPrompt, Float64Array | None]:
    """The clicks of one frame, and on the bird's-eye view where they were, (P, 2) in metres."""
    frame_index, sensor = entries[0].frame_index, entries[0].sensor
    labels = [int(entry.positive) for entry in entries]
    pixels = np.stack([_pixel(entry) for entry in entries])
    if sensor != LIDAR:
        return PointPrompt(0, frame_index, sensor, pixels, labels), None
    clicked_m = window.birds_eye.to_metres(pixels)
    points_m = clip.frames[frame_index].load_sweep().points_m
    lifted_m = np.stack([lift_click(points_m, xy_m, entry.positive) for xy_m, entry in zip(clicked_m, entries, strict=True)])
    return PointPrompt(0, frame_index, sensor, lifted_m, labels), clicked_m


def _pixel(entry: _Drawn) -> Float64Array:
    """A click's pixel (u, v), inside the image; one on the right or lower border counts to the last pixel."""
    x, y = (_finite(entry.value.get(key), f"{entry.where}, value.{key}") for key in ("x", "y"))
    if not (0 <= x <= 100 and 0 <= y <= 100):
        raise InputError(entry.where, "a click inside the image (0 to 100 percent)", f"x {x:g}, y {y:g}")
    pixel = percent_to_pixels((x, y), *entry.size_px)
    inside: Float64Array = np.minimum(pixel, np.nextafter(np.array(entry.size_px, dtype=np.float64), 0))
    return inside


def _box(entry: _Drawn, window: TaskWindow) -> BoxPrompt:
    """The bounds of the (turned) rectangle, cut to the image: pixels, or metres on the bird's-eye view."""
    keys = ("x", "y", "width", "height")
    x, y, width, height = (_finite(entry.value.get(key), f"{entry.where}, value.{key}") for key in keys)
    rotation = _finite(entry.value.get("rotation", 0), f"{entry.where}, value.rotation")
    corners = Rectangle(x, y, width, height, rotation).corners_px(*entry.size_px)
    low, high = np.clip(corners.min(axis=0), 0, entry.size_px), np.clip(corners.max(axis=0), 0, entry.size_px)
    if (high - low <= 0).any():
        raise InputError(entry.where, "a box inside the image", f"x {x:g}, y {y:g}, {width:g} x {height:g} percent")
    if entry.sensor == LIDAR:
        bounds_m = window.birds_eye.to_metres(np.stack([low, high]))
        low, high = bounds_m.min(axis=0), bounds_m.max(axis=0)
    return BoxPrompt(0, entry.frame_index, entry.sensor, np.concatenate([low, high]))


def _mask(entries: Sequence[_Drawn], window: TaskWindow, clip: Clip) -> MaskPrompt:
    """All strokes of one frame together: pixels, or the standing points under them on the bird's-eye view."""
    frame_index, sensor, (width_px, height_px) = entries[0].frame_index, entries[0].sensor, entries[0].size_px
    brush: BoolArray = np.zeros((height_px, width_px), dtype=np.bool_)
    for entry in entries:
        brush |= painted_mask(entry.value, height_px, width_px, entry.where)
    if not brush.any():
        raise InputError(entries[-1].where, "a brush stroke", "an empty one")
    if sensor != LIDAR:
        return MaskPrompt(0, frame_index, sensor, brush)
    points = standing_under_mask(clip.frames[frame_index].load_sweep().points_m, window.birds_eye, brush)
    if not points.any():
        raise InputError(entries[-1].where, "a brush stroke over points of the sweep", "none under it")
    return MaskPrompt(0, frame_index, sensor, points)


def _named_object(context: Mapping[str, object]) -> int | None:
    object_id = context.get("object_id")
    if object_id is not None and (not isinstance(object_id, int) or isinstance(object_id, bool) or object_id < 0):
        raise InputError("context, object_id", "a whole number from 0 on", repr(object_id)[:40])
    return object_id


def _finite(value: object, where: str) -> float:
    if not is_finite_number(value):
        raise InputError(where, FINITE_NUMBER, repr(value)[:40])
    return float(value)
