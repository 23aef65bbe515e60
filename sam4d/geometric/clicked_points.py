"""Which point of the sweep a click means, in the sweep itself or in a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam4d.geometric.scene import FrameScene
from sam4d.geometry import Float64Array
from sam4d.structures import LIDAR, Camera, Clip, PointPrompt, Prompt

NEAR_CLICK_M = 0.7
"""A click that hits no object point takes the nearest one within this distance."""

EXACT_M = 0.05
EXACT_PX = 1.5
"""From the second click on, one this close to a point means that very point: what was called ground may well be of the object."""

NEAR_PIXEL_RAD = 0.012
"""A camera click looks for points within this angle: three or four beams of a 64-beam LiDAR."""


@dataclass(frozen=True)
class ClickedPoint:
    """Row of the sweep, and label: 1 positive, 0 negative."""

    row: int
    label: int


def clicked_points(scene: FrameScene, clip: Clip, prompts: Sequence[Prompt]) -> list[ClickedPoint]:
    """In the order of the clicks; those that hit nothing are left out."""
    found: list[ClickedPoint] = []
    for prompt in prompts:
        if not isinstance(prompt, PointPrompt):
            continue
        for coordinates, label in zip(np.asarray(prompt.coordinates), np.asarray(prompt.labels), strict=True):
            exact = bool(found)
            if prompt.sensor == LIDAR:
                row = _row_near(scene, coordinates, exact)
            else:
                row = _row_at_pixel(scene, clip.cameras[prompt.sensor], coordinates, exact)
            if row is not None:
                found.append(ClickedPoint(row, int(label)))
    return found


def _row_near(scene: FrameScene, point_m: Float64Array, exact: bool = False) -> int | None:
    """The object point nearest to a place in the sweep, else the ground point there, else None."""
    if not scene.valid.any():
        return None
    squared = ((scene.points_m - point_m.astype(np.float32)) ** 2).sum(axis=1)
    if exact:
        nearest = int(np.where(scene.valid, squared, np.inf).argmin())
        if squared[nearest] < EXACT_M**2:
            return nearest
    near_m = NEAR_CLICK_M + 0.01 * float(np.hypot(*point_m[:2]))
    for rows, limit_m in ((scene.is_object, near_m), (scene.is_ground, 1.0)):
        distance = np.where(rows, squared, np.inf)
        row = int(distance.argmin())
        if distance[row] <= limit_m**2:
            return row
    return None


def _row_at_pixel(scene: FrameScene, camera: Camera, pixel: Float64Array, exact: bool) -> int | None:
    """The point that a camera shows at a pixel: on the nearest surface there that surrounds it, else the nearest in the image."""
    view = scene.view(camera)
    offset = view.pixels - pixel.astype(np.float32)
    if exact and view.visible.any():
        distance = np.where(view.visible, np.abs(offset).max(axis=1), np.inf)
        nearest = int(distance.argmin())
        if distance[nearest] < EXACT_PX:
            return nearest
    for angle_rad in (NEAR_PIXEL_RAD, 2.5 * NEAR_PIXEL_RAD):
        near = np.flatnonzero(view.visible & (np.abs(offset) < angle_rad * camera.fx_px).all(axis=1))
        objects = near[scene.is_object[near]]
        if len(objects):
            break
    if not len(near):
        return None
    distance = np.hypot(offset[:, 0], offset[:, 1])
    on_ground = near[scene.is_ground[near]]
    if not len(objects):
        return _row_near(scene, scene.points_m[on_ground[distance[on_ground].argmin()]].astype(np.float64))
    nearest = int(objects[distance[objects].argmin()])
    if len(on_ground) and distance[on_ground].min() < 0.3 * distance[nearest] and distance[nearest] > 0.004 * camera.fx_px:
        return _row_near(scene, scene.points_m[on_ground[distance[on_ground].argmin()]].astype(np.float64))
    # Glass lets the beams through: a nearer surface that surrounds the pixel is what the camera shows there.
    depth_m = view.depth_m[objects]
    front = objects[depth_m < depth_m.min() * 1.05 + 0.5]
    if len(front) >= 3 and view.depth_m[nearest] > depth_m.min() * 1.05 + 0.5:
        hull = cv2.convexHull(offset[front].astype(np.float32))
        if cv2.pointPolygonTest(hull, (0.0, 0.0), False) >= 0:
            return int(front[distance[front].argmin()])
    return nearest
