"""How far a cuboid is from another one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sam4d.structures import Cuboid


@dataclass(frozen=True)
class CuboidError:
    """birds_eye_iou of the footprints, iou of the volumes; distance of the centres; yaw modulo 180 degrees; difference of the heights."""

    birds_eye_iou: float
    iou: float
    center_m: float
    yaw_rad: float
    height_m: float

    @classmethod
    def between(cls, fitted: Cuboid, labelled: Cuboid) -> CuboidError:
        return cls(
            birds_eye_iou(fitted, labelled),
            volume_iou(fitted, labelled),
            float(np.linalg.norm(np.subtract(fitted.center_m, labelled.center_m))),
            yaw_difference(fitted.yaw_rad, labelled.yaw_rad),
            abs(fitted.size_lwh_m[2] - labelled.size_lwh_m[2]),
        )


def yaw_difference(a_rad: float, b_rad: float) -> float:
    """Of undirected headings, 0 to pi / 2."""
    return float(abs((a_rad - b_rad + np.pi / 2) % np.pi - np.pi / 2))


def birds_eye_iou(a: Cuboid, b: Cuboid) -> float:
    """Of the footprints."""
    common = _common_area_m2(a, b)
    return common / (_area_m2(a) + _area_m2(b) - common)


def volume_iou(a: Cuboid, b: Cuboid) -> float:
    """Of the volumes; both stand upright."""
    low = max(a.center_m[2] - a.size_lwh_m[2] / 2, b.center_m[2] - b.size_lwh_m[2] / 2)
    high = min(a.center_m[2] + a.size_lwh_m[2] / 2, b.center_m[2] + b.size_lwh_m[2] / 2)
    common = _common_area_m2(a, b) * max(high - low, 0.0)
    return common / (_area_m2(a) * a.size_lwh_m[2] + _area_m2(b) * b.size_lwh_m[2] - common)


def _area_m2(cuboid: Cuboid) -> float:
    return cuboid.size_lwh_m[0] * cuboid.size_lwh_m[1]


def _common_area_m2(a: Cuboid, b: Cuboid) -> float:
    # Around one of them, in single precision, which OpenCV computes in.
    around = np.array(a.center_m[:2])
    first, second = ((cuboid.corners_m()[:4, :2] - around).astype(np.float32) for cuboid in (a, b))
    return float(cv2.intersectConvexConvex(first, second)[0])
