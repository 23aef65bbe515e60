"""What the 3D view asks: `context.sam4d` of an interactive request, which Label Studio hands on as it is.

    {"action": "prompt", "object": "new" | 3 | null, "label": "Car", "frame": 0, "points": [{"position_m": [x, y, z], "positive": true}]}
    {"action": "box", "object": ..., "label": "Car", "frame": 0, "box_m": [xmin, ymin, xmax, ymax]}
    {"action": "box", "object": ..., "label": "Car", "frame": 0, "camera": "front", "box_px": [u0, v0, u1, v1]}    camera: its image tag
    {"action": "follow", "object": 3, "frame": 4, "direction": "forwards" | "backwards"}
    {"action": "cuboids", "object": "new" | 3, "label": "Car", "cuboids": [{"frame": 2, "cuboid": {...}}]}
    {"action": "fit", "object": 3, "frames": [2]}
    {"action": "read", "object": 3, "frame": 2, "rle": [...]}    rle: Label Studio's, of the mask seen from above as a person left it

Each may carry `"edits": [{"object": 3, "frame": 1, "cuboid": {"center_m", "size_lwh_m", "yaw_rad"}}]`, cuboids that a person moved and
that no draft may show yet; `"gone": [{"object": 4, "frames": [0, 1]}]`, what a person deleted likewise; `"labels": [{"object": 3, "label":
"Truck"}]`, labels that a person changed likewise; `"highest_object": 4`, the highest number that an object of the page has or had; and
`"seconds"`, how long the answer may take at the most. Frames count within the task;
metres, LiDAR frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from converters.finite_numbers import FINITE_NUMBER, is_finite_number
from converters.label_config import LabelConfig, camera_tags
from converters.region_meta import cuboid_from_json
from converters.user_prompt import UserPrompt
from sam4d.structures import LIDAR, BoxPrompt, Clip, Cuboid, InputError, PointPrompt, Prompt

KEY = "sam4d"
_DIRECTIONS = {"forwards": False, "backwards": True}


@dataclass(frozen=True)
class FollowRequest:
    """Carry an object on, `start_frame` first."""

    object_id: int
    start_frame: int
    reverse: bool


@dataclass(frozen=True)
class CuboidsRequest:
    """A person's cuboids of one object by frame; `object_id` None begins a new object."""

    object_id: int | None
    label: str
    cuboids: Mapping[int, Cuboid]


@dataclass(frozen=True)
class FitRequest:
    """Forget what a person set on these frames and fit the cuboids anew."""

    object_id: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class ReadRequest:
    """Say which points the object has where a person painted on its mask seen from above: drafts leave strokes out of it."""

    object_id: int
    frame_index: int
    rle: tuple[int, ...]


ViewerAction: TypeAlias = UserPrompt | FollowRequest | CuboidsRequest | FitRequest | ReadRequest


@dataclass(frozen=True)
class ViewerRequest:
    """One request. edits: {(object, frame): cuboid}. gone: {(object, frame)}. labels: {object: label}. highest_object_id: of all that the
    page shows or showed."""

    action: ViewerAction
    edits: Mapping[tuple[int, int], Cuboid]
    gone: frozenset[tuple[int, int]]
    seconds: float | None
    highest_object_id: int = 0
    labels: Mapping[int, str] = field(default_factory=dict)


def is_viewer_request(context: Mapping[str, object]) -> bool:
    return KEY in context


def parse_viewer_request(context: Mapping[str, object], config: LabelConfig, clip: Clip) -> ViewerRequest:
    """Read `context.sam4d`.

    Args:
        clip: the window's frames only.

    Raises:
        InputError: an action, object, frame, label or number that is none.
    """
    fields = context.get(KEY)
    if not isinstance(fields, Mapping):
        raise _wrong("", "an object", fields)
    seconds = fields.get("seconds")
    if seconds is not None:
        seconds = _number(seconds, "seconds")
        if seconds < 0:
            raise _wrong("seconds", "a number from 0 on", seconds)
    highest = fields.get("highest_object")
    return ViewerRequest(
        _action(fields, config, clip),
        _edits(fields.get("edits", ()), clip),
        _gone(fields.get("gone", ()), clip),
        seconds,
        0 if highest in (None, 0) else _object(highest, "highest_object"),
        _labels(fields.get("labels", ()), config),
    )


def _action(fields: Mapping[str, object], config: LabelConfig, clip: Clip) -> ViewerAction:
    action = fields.get("action")
    if action in ("prompt", "box"):
        frame_index = _frame(fields.get("frame"), "frame", clip)
        prompt, positive = _points(fields, frame_index) if action == "prompt" else (_box(fields, frame_index, clip), True)
        chosen = fields.get("object")
        return UserPrompt(
            label=_label(fields.get("label"), config),
            frame_index=frame_index,
            sensor=prompt.sensor,
            kind="point" if action == "prompt" else "box",
            positive=positive,
            prompts=(prompt,),
            object_id=None if chosen in (None, "new") else _object(chosen, "object"),
            new_object=chosen == "new",
        )
    if action == "follow":
        direction = fields.get("direction")
        if not isinstance(direction, str) or direction not in _DIRECTIONS:
            raise _wrong("direction", " or ".join(_DIRECTIONS), direction)
        start_frame = _frame(fields.get("frame"), "frame", clip)
        return FollowRequest(_object(fields.get("object"), "object"), start_frame, _DIRECTIONS[direction])
    if action == "cuboids":
        chosen = fields.get("object")
        placed = [
            (_frame(entry.get("frame"), f"cuboids[{k}].frame", clip), _cuboid(entry.get("cuboid"), f"cuboids[{k}].cuboid"))
            for k, entry in enumerate(_objects(fields.get("cuboids"), "cuboids"))
        ]
        if not placed:
            raise _wrong("cuboids", "at least one", "none")
        object_id = None if chosen == "new" else _object(chosen, "object")
        return CuboidsRequest(object_id, _label(fields.get("label"), config), dict(placed))
    if action == "fit":
        return FitRequest(_object(fields.get("object"), "object"), _frames(fields.get("frames"), "frames", clip))
    if action == "read":
        rle = tuple(int(value) for value in _numbers_of_any_count(fields.get("rle"), "rle"))
        return ReadRequest(_object(fields.get("object"), "object"), _frame(fields.get("frame"), "frame", clip), rle)
    raise _wrong("action", "prompt, box, follow, cuboids, fit or read", action)


def _points(fields: Mapping[str, object], frame_index: int) -> tuple[Prompt, bool]:
    points = _objects(fields.get("points"), "points")
    if not points:
        raise _wrong("points", "at least one", "none")
    coordinates = [_numbers(point.get("position_m"), 3, "points, position_m") for point in points]
    labels = []
    for point in points:
        if not isinstance(point.get("positive"), bool):
            raise _wrong("points, positive", "true or false", point.get("positive"))
        labels.append(int(bool(point["positive"])))
    return PointPrompt(0, frame_index, LIDAR, coordinates, labels), any(labels)


def _box(fields: Mapping[str, object], frame_index: int, clip: Clip) -> Prompt:
    tag = fields.get("camera")
    if tag is None:
        return BoxPrompt(0, frame_index, LIDAR, _area(fields, "box_m", "[xmin, ymin, xmax, ymax]"))
    cameras = {camera_tag: name for name, camera_tag in camera_tags(clip.cameras).items() if name in clip.frames[frame_index].load_images}
    if not isinstance(tag, str) or tag not in cameras:
        raise _wrong("camera", f"one with an image on frame {frame_index}: {', '.join(cameras) or 'none'}", tag)
    return BoxPrompt(0, frame_index, cameras[tag], _area(fields, "box_px", "[u0, v0, u1, v1]"))


def _area(fields: Mapping[str, object], where: str, form: str) -> list[float]:
    left, top, right, bottom = _numbers(fields.get(where), 4, where)
    if left >= right or top >= bottom:
        raise _wrong(where, f"{form} with an area", fields.get(where))
    return [left, top, right, bottom]


def _edits(entries: object, clip: Clip) -> dict[tuple[int, int], Cuboid]:
    edits = {}
    for k, entry in enumerate(_objects(entries, "edits")):
        key = (_object(entry.get("object"), f"edits[{k}].object"), _frame(entry.get("frame"), f"edits[{k}].frame", clip))
        edits[key] = _cuboid(entry.get("cuboid"), f"edits[{k}].cuboid")
    return edits


def _gone(entries: object, clip: Clip) -> frozenset[tuple[int, int]]:
    return frozenset(
        (_object(entry.get("object"), f"gone[{k}].object"), frame)
        for k, entry in enumerate(_objects(entries, "gone"))
        for frame in _frames(entry.get("frames"), f"gone[{k}].frames", clip)
    )


def _labels(entries: object, config: LabelConfig) -> dict[int, str]:
    return {
        _object(entry.get("object"), f"labels[{k}].object"): _label(entry.get("label"), config, f"labels[{k}].label")
        for k, entry in enumerate(_objects(entries, "labels"))
    }


def _frames(value: object, where: str, clip: Clip) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise _wrong(where, "a list of frames, not empty", value)
    return tuple(_frame(frame, where, clip) for frame in value)


def _cuboid(value: object, where: str) -> Cuboid:
    cuboid = cuboid_from_json(value, f"context, {KEY}.{where}")
    if cuboid is None:
        raise _wrong(where, "a cuboid", None)
    return cuboid


def _label(value: object, config: LabelConfig, where: str = "label") -> str:
    if value not in config.labels:
        raise _wrong(where, " or ".join(config.labels), value)
    return str(value)


def _frame(value: object, where: str, clip: Clip) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(clip):
        raise _wrong(where, f"a frame of the task, 0 to {len(clip) - 1}", value)
    return value


def _object(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(where, "an object's number", value)
    return value


def _objects(value: object, where: str) -> list[Mapping[str, object]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(entry, Mapping) for entry in value):
        raise _wrong(where, "a list of objects", value)
    return list(value)


def _numbers(value: object, count: int, where: str) -> list[float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        raise _wrong(where, f"{count} numbers", value)
    return [_number(item, where) for item in value]


def _numbers_of_any_count(value: object, where: str) -> list[float]:
    return _numbers(value, len(value) if isinstance(value, Sequence) else 0, where)


def _number(value: object, where: str) -> float:
    if not is_finite_number(value):
        raise _wrong(where, FINITE_NUMBER, value)
    return float(value)


def _wrong(where: str, expected: str, found: object) -> InputError:
    return InputError(f"context, {KEY}{'.' if where else ''}{where}", expected, repr(found)[:80])
