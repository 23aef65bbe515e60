"""How well an object's points and its camera masks say the same: a flag for what a person should look at first."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from sam4d.geometry import BoolArray
from sam4d.structures import Camera, CameraMasks, Float32Array, ObjectMasks

MARGIN_PX = 6
"""Calibration and time differences move points by a few pixels against the image."""

LEAST_POINTS = 5


def camera_lidar_agreement(masks: ObjectMasks, points_m: Float32Array, cameras: Mapping[str, Camera]) -> float | None:
    """The share of the object's points, seen in the cameras that have an image, that lie on its mask there or within `MARGIN_PX` of it.

    None where no camera has `LEAST_POINTS` of its points in view. A camera that has them in view and shows no mask counts as
    disagreeing: the object may be hidden from it, or missed.

    Args:
        points_m: the frame's sweep, float32 (N, 3).
    """
    inside = seen = 0
    own_m = points_m[masks.lidar_mask]
    for name in masks.camera_masks:
        pixels, _, visible = cameras[name].project(own_m)
        if int(visible.sum()) < LEAST_POINTS:
            continue
        columns, rows = pixels[visible].astype(np.int64).T
        seen += len(columns)
        inside += int(_near(masks.camera_masks, name, columns, rows).sum())
    return inside / seen if seen else None


def _near(
    camera_masks: Mapping[str, BoolArray],
    camera: str,
    columns: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> BoolArray:
    """Which pixels lie on the mask grown by the margin; only the part around the mask is looked at."""
    assert isinstance(camera_masks, CameraMasks)
    left, top, right, _ = box = camera_masks.box(camera)
    if right <= left:
        return np.zeros(len(columns), dtype=np.bool_)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1))
    padded = np.pad(camera_masks.inside(camera, box).astype(np.uint8), MARGIN_PX)
    grown = cv2.dilate(padded, kernel).astype(np.bool_)
    u, v = columns - left + MARGIN_PX, rows - top + MARGIN_PX
    within = (u >= 0) & (v >= 0) & (u < grown.shape[1]) & (v < grown.shape[0])
    return np.asarray(within & grown[np.clip(v, 0, grown.shape[0] - 1), np.clip(u, 0, grown.shape[1] - 1)])
