from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.agreement import MARGIN_PX, camera_lidar_agreement
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Camera, Float32Array, ObjectMasks

AHEAD = SE3(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
CAMERAS = {
    "front": Camera("front", 200, 100, 100.0, 100.0, 100.0, 50.0, AHEAD),
    "rear": Camera("rear", 200, 100, 100.0, 100.0, 100.0, 50.0, SE3.from_yaw(np.pi, [0, 0, 0]) @ AHEAD),
}


def wall() -> Float32Array:
    """A grid 10 m ahead, seen by `front` in columns 80 to 120 and rows 40 to 60."""
    y, z = np.meshgrid(np.linspace(-1.95, 1.95, 20), np.linspace(-0.95, 0.95, 10))
    return np.stack([np.full(y.size, 10.0), y.ravel(), z.ravel()], axis=1).astype(np.float32)


def masks(left: int, right: int, *, cameras: tuple[str, ...] = ("front", "rear"), points: int | None = None) -> ObjectMasks:
    """A mask in `front` from column `left` to `right`, none in `rear`."""
    shown: dict[str, BoolArray] = {name: np.zeros((100, 200), dtype=np.bool_) for name in cameras}
    if "front" in shown:
        shown["front"][38:62, left:right] = True
    lidar_mask: BoolArray = np.zeros(200, dtype=np.bool_)
    lidar_mask[:points] = True
    return ObjectMasks(1, 0, shown, lidar_mask, 1.0)


def test_points_on_the_mask_agree_and_a_shift_within_the_margin_does_no_harm() -> None:
    assert camera_lidar_agreement(masks(78, 122), wall(), CAMERAS) == 1.0
    assert camera_lidar_agreement(masks(78 + MARGIN_PX, 122), wall(), CAMERAS) == 1.0


def test_half_a_mask_is_half_an_agreement() -> None:
    assert camera_lidar_agreement(masks(100 + MARGIN_PX, 122), wall(), CAMERAS) == pytest.approx(0.5, abs=0.06)


def test_a_camera_that_has_them_in_view_and_shows_nothing_disagrees() -> None:
    assert camera_lidar_agreement(masks(0, 0), wall(), CAMERAS) == 0.0


def test_what_no_camera_can_say() -> None:
    assert camera_lidar_agreement(masks(78, 122, cameras=("rear",)), wall(), CAMERAS) is None
    assert camera_lidar_agreement(masks(78, 122, cameras=()), wall(), CAMERAS) is None
    assert camera_lidar_agreement(masks(78, 122, points=4), wall(), CAMERAS) is None
    behind = replace(masks(78, 122), lidar_mask=np.ones(200, dtype=np.bool_))
    assert camera_lidar_agreement(behind, wall() * np.float32(np.nan), CAMERAS) is None
