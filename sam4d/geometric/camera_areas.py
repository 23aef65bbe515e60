"""Which points a box or mask in a camera speaks for, and how well others fill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.growing import IndexArray, groups_at_gap, middle_of, usual_gaps
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import BoxPrompt, Camera, MaskPrompt


@dataclass(frozen=True, eq=False)
class CameraArea:
    """What a box or mask in a camera says: rows it allows, bool (N,); pixels (N, 2) and inside (N,) of the view; its bounds (4,)."""

    allowed: BoolArray
    pixels: NDArray[np.float32]
    inside: BoolArray
    bounds_px: Float64Array


def camera_area(scene: FrameScene, camera: Camera, prompt: BoxPrompt | MaskPrompt) -> CameraArea:
    view = scene.view(camera)
    allowed = np.zeros(len(scene), dtype=np.bool_)
    rows = np.flatnonzero(view.inside)
    pixels = view.pixels[rows]
    slack_px = max(2.0, 0.002 * camera.fx_px)
    border_px = 3.0
    if isinstance(prompt, BoxPrompt):
        # Nobody draws a box to the very last pixel.
        border_px = max(border_px, 0.015 * camera.width_px)
        bounds = np.asarray(prompt.box, dtype=np.float64)
        allowed[rows] = (pixels >= bounds[:2] - slack_px).all(axis=1) & (pixels <= bounds[2:] + slack_px).all(axis=1)
    else:
        ys, xs = np.flatnonzero(prompt.mask.any(axis=1)), np.flatnonzero(prompt.mask.any(axis=0))
        if not len(ys):
            return CameraArea(allowed, view.pixels, view.inside, np.zeros(4))
        bounds = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], dtype=np.float64)
        size = 2 * int(slack_px) + 1
        grown = cv2.dilate(prompt.mask.astype(np.uint8), np.ones((size, size), dtype=np.uint8))
        allowed[rows] = grown[pixels[:, 1].astype(np.int64), pixels[:, 0].astype(np.int64)] > 0
    # What the camera does not see, outside its image, may belong to the object as well.
    size_px = np.array([camera.width_px, camera.height_px])
    if (bounds[:2] < border_px).any() or (bounds[2:] > size_px - border_px).any():
        allowed |= ~view.inside & scene.valid
    return CameraArea(allowed, view.pixels, view.inside, bounds)


def _box_overlap(a: Float64Array, b: Float64Array) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(max(sides[0], 0) * max(sides[1], 0))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0


def _projected_overlap(mask_rows: IndexArray, area: CameraArea) -> float:
    """IoU of the area's bounds with those of the rows' pixels; 0 where none falls into the image."""
    rows = mask_rows[area.inside[mask_rows]]
    if not len(rows):
        return 0.0
    pixels = area.pixels[rows].astype(np.float64)
    return _box_overlap(np.concatenate([pixels.min(axis=0), pixels.max(axis=0) + 1]), area.bounds_px)


def agreement(areas: Sequence[CameraArea]) -> Callable[[IndexArray], float]:
    return lambda rows: float(np.mean([_projected_overlap(rows, area) for area in areas]))


def seed_in(scene: FrameScene, allowed: BoolArray, areas: Sequence[CameraArea]) -> int | None:
    """The middle of the group of points that fills the camera boxes or masks best; nearer ones first where several do."""
    rows = np.flatnonzero(allowed & np.logical_or.reduce([area.inside for area in areas]))
    if not len(rows):
        return None
    points = scene.upright_m(rows)
    reach_m = np.hypot(points[:, 0], points[:, 1])
    # One gap for near and far alike: shrunk by range, a far gap is as wide as a near one.
    group = groups_at_gap(points / usual_gaps(reach_m, scene.growth)[:, None], 1.0, scene.growth)
    best, best_rows = -1.0, rows[:0]
    for k in np.argsort(-np.bincount(group), kind="stable")[:8]:
        members = rows[group == k]
        overlap = float(np.mean([_projected_overlap(members, area) for area in areas]))
        value = (overlap + 0.05) * min(1.0, len(members) / 5) / (1 + float(np.median(reach_m[group == k])) / 100)
        if value > best:
            best, best_rows = value, members
    return int(best_rows[middle_of(scene.points_m[best_rows])])
