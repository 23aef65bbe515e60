"""Whose object is a click, a box or a brush?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converters.user_prompt import UserPrompt
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import LIDAR, BoxPrompt, CameraMasks, Clip, Cuboid, InputError, Masklet, MaskPrompt, PointPrompt

_SAME_IOU = 0.5
_CUBOID_MARGIN_M = 0.1
_TALL_M = 100.0


def choose_object(user_prompt: UserPrompt, masklets: Sequence[Masklet], last_touched: int | None, clip: Clip) -> int:
    """An existing object's id, or a new one: the greatest of `masklets` and `last_touched` plus 1.

    - Named by the 3D view: that one, or a new one.
    - A positive click inside a mask or cuboid of the same label: that object. Positive elsewhere: a new one.
    - Only negative clicks: the object under the newest, whatever its label, else the one touched last.
    - A box or brush: a new one, unless it overlaps one of the same label by an IoU over 0.5.

    Where several objects are under a click, one whose mask it hits comes before one whose cuboid it hits, then the one touched last,
    then the smallest.

    Args:
        masklets: every object of the task.
        clip: the window's frames; the clicked sweep is read for clicks and boxes on the LiDAR.

    Raises:
        InputError: negative clicks while there is no object.
    """
    if user_prompt.object_id is not None:
        return user_prompt.object_id
    new_id = 1 + max([masklet.object_id for masklet in masklets] + [last_touched or 0])
    if user_prompt.new_object:
        return new_id
    same_label = [masklet for masklet in masklets if masklet.label == user_prompt.label]
    for prompt in reversed(user_prompt.prompts):
        chosen = None
        if isinstance(prompt, PointPrompt):
            candidates = same_label if user_prompt.positive else masklets
            clicked_m = user_prompt.clicks_m.get(prompt.frame_index)
            chosen = _under_clicks(prompt, clicked_m, 1 if user_prompt.positive else 0, candidates, last_touched, clip)
        elif isinstance(prompt, BoxPrompt):
            chosen = _most_alike([(masklet.object_id, _box_iou(prompt, masklet, clip)) for masklet in same_label])
        else:
            chosen = _most_alike([(masklet.object_id, _mask_iou(prompt, masklet)) for masklet in same_label])
        if chosen is not None:
            return chosen
    if user_prompt.positive:
        return new_id
    known = [masklet.object_id for masklet in masklets]
    if last_touched in known:
        return last_touched
    if len(known) == 1:
        return known[0]
    raise InputError("negative click", "an object under it, or one touched before", "none")


def _under_clicks(
    prompt: PointPrompt,
    clicked_m: Float64Array | None,
    wanted: int,
    masklets: Sequence[Masklet],
    last_touched: int | None,
    clip: Clip,
) -> int | None:
    """The object under the newest click with the wanted label (1 positive, 0 negative) that has one under it."""
    coordinates, labels = np.asarray(prompt.coordinates), np.asarray(prompt.labels)
    rows = _sweep_rows(coordinates, prompt.frame_index, clip) if prompt.sensor == LIDAR else None
    for click in reversed(np.flatnonzero(labels == wanted)):
        hits: list[tuple[bool, bool, float, int]] = []
        for masklet in masklets:
            masks, cuboid = masklet.masks.get(prompt.frame_index), masklet.cuboids.get(prompt.frame_index)
            if masks is None:
                continue
            if rows is None:
                mask = masks.camera_masks.get(prompt.sensor)
                column, row = coordinates[click].astype(np.int64)
                in_mask = mask is not None and bool(mask[row, column])
                in_cuboid = False
                size = float(mask.sum()) if mask is not None and in_mask else 0.0
            else:
                in_mask = bool(rows[click] >= 0 and masks.lidar_mask[rows[click]])
                xy_m = coordinates[click, :2] if clicked_m is None else clicked_m[click]
                in_cuboid = cuboid is not None and _over_footprint(cuboid, xy_m)
                size = cuboid.size_lwh_m[0] * cuboid.size_lwh_m[1] if cuboid is not None else float(masks.lidar_mask.sum())
            if in_mask or in_cuboid:
                hits.append((not in_mask, masklet.object_id != last_touched, size, masklet.object_id))
        if hits:
            return min(hits)[-1]
    return None


def _sweep_rows(coordinates_m: Float64Array, frame_index: int, clip: Clip) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Row of the sweep's point at each position, int64 (P,), -1 where there is none within 5 cm."""
    points_m = clip.frames[frame_index].load_sweep().points_m
    distance_m = np.stack([np.linalg.norm(points_m - position, axis=1) for position in coordinates_m])
    distance_m[~np.isfinite(distance_m)] = np.inf
    if not distance_m.shape[1]:
        return np.full(len(coordinates_m), -1, dtype=np.int64)
    nearest = distance_m.argmin(axis=1)
    return np.where(distance_m[np.arange(len(nearest)), nearest] < 0.05, nearest, -1)


def _over_footprint(cuboid: Cuboid, xy_m: Float64Array) -> bool:
    column = replace(cuboid, size_lwh_m=(*cuboid.size_lwh_m[:2], _TALL_M))
    point = np.array([[xy_m[0], xy_m[1], cuboid.center_m[2]]])
    return bool(column.contains(point, margin_m=_CUBOID_MARGIN_M)[0])


def _most_alike(overlaps: Sequence[tuple[int, float]]) -> int | None:
    """The id with the greatest IoU over 0.5."""
    object_id, iou = max(overlaps, key=lambda overlap: overlap[1], default=(0, 0.0))
    return object_id if iou > _SAME_IOU else None


def _box_iou(prompt: BoxPrompt, masklet: Masklet, clip: Clip) -> float:
    """IoU of the box with the bounds of the object's mask, or on the LiDAR with those of its cuboid, else of its points."""
    masks, cuboid = masklet.masks.get(prompt.frame_index), masklet.cuboids.get(prompt.frame_index)
    if masks is None:
        return 0.0
    if prompt.sensor == LIDAR:
        if cuboid is not None:
            xy_m = cuboid.corners_m()[:, :2]
        else:
            xy_m = clip.frames[prompt.frame_index].load_sweep().points_m[masks.lidar_mask, :2].astype(np.float64)
        if not len(xy_m):
            return 0.0
        other = np.concatenate([xy_m.min(axis=0), xy_m.max(axis=0)])
    else:
        if not isinstance(masks.camera_masks, CameraMasks) or prompt.sensor not in masks.camera_masks:
            return 0.0
        other = np.array(masks.camera_masks.box(prompt.sensor), dtype=np.float64)
    box = np.asarray(prompt.box, dtype=np.float64)
    shared = np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None))
    joined = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared
    return float(shared / joined) if joined > 0 else 0.0


def _mask_iou(prompt: MaskPrompt, masklet: Masklet) -> float:
    masks = masklet.masks.get(prompt.frame_index)
    if masks is None:
        return 0.0
    other: BoolArray | None = masks.lidar_mask if prompt.sensor == LIDAR else masks.camera_masks.get(prompt.sensor)
    if other is None:
        return 0.0
    joined = int((prompt.mask | other).sum())
    return int((prompt.mask & other).sum()) / joined if joined else 0.0
