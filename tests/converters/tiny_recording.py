"""A recording small enough to be written dozens of times in a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sam4d.geometry import SE3, Axis, BoolArray
from sam4d.structures import Camera, Clip, Cuboid, Frame, Masklet, ObjectMasks, Sweep, UInt8Array

FRAME_COUNT, POINT_COUNT = 3, 60
FRONT_POSE = SE3(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.array([0.2, 0.0, -0.3]))
"""A level camera that looks along the LiDAR's x axis."""


def tiny_camera(name: str, yaw_rad: float = 0.0) -> Camera:
    return Camera(name, 24, 16, 12.0, 12.5, 12.25, 8.0, SE3.from_yaw(yaw_rad, [0.0, 0.0, 0.0]) @ FRONT_POSE, (0.01, -0.02, 0.001, 0.0, 0.0))


def tiny_clip(*, cameras: bool = True, poses: bool = True, forward: Axis = "+x", name: str = "tiny", gaps: bool = True) -> Clip:
    """Three frames of 60 points ahead of the vehicle, two cameras; where there are gaps, `rear` has no image on frame 1."""
    rig = {"front": tiny_camera("front"), "rear": tiny_camera("rear", np.pi)} if cameras else {}
    frames = tuple(
        Frame(
            load_sweep=_sweep(index),
            load_images={camera: _image(index, camera) for camera in rig if not gaps or (camera, index) != ("rear", 1)},
            world_SE3_lidar=SE3.from_yaw(0.1 * index, [1000.0 + 2 * index, -50.0, 3.0]) if poses else None,
            timestamp_ns=1_700_000_000_000_000_000 + 100_000_000 * index if index != 2 else None,
        )
        for index in range(FRAME_COUNT)
    )
    return Clip(name, rig, frames, forward)


def _sweep(index: int) -> Callable[[], Sweep]:
    random = np.random.default_rng(index)
    points_m = random.normal([8.0, 0.0, 0.0], 1.0, (POINT_COUNT, 3)).astype(np.float32)
    intensity = random.uniform(0, 255, POINT_COUNT).astype(np.float32)
    return lambda: Sweep(points_m, intensity)


def _image(index: int, camera: str) -> Callable[[], UInt8Array]:
    pixels = np.random.default_rng([index, len(camera)]).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return lambda: pixels


def tiny_masks(object_id: int, frame_index: int, *, box: tuple[int, int, int, int] = (3, 4, 9, 12), score: float = 0.75) -> ObjectMasks:
    """An object as a rectangle [u0, v0, u1, v1) in `front`, nothing in `rear`, and the points whose row is 3 mod 5."""
    front: BoolArray = np.zeros((16, 24), dtype=np.bool_)
    front[box[1] : box[3], box[0] : box[2]] = True
    return ObjectMasks(
        object_id, frame_index, {"front": front, "rear": np.zeros((16, 24), dtype=np.bool_)}, np.arange(POINT_COUNT) % 5 == 3, score
    )


def tiny_masklets() -> tuple[Masklet, ...]:
    """A car with masks and cuboids, a person with one cuboid alone, a sign with masks alone."""
    car = Masklet(
        1,
        "Car",
        {0: tiny_masks(1, 0), 2: tiny_masks(1, 2, score=1 / 3)},
        {0: Cuboid((8.1, 0.123456789, -0.4), (4.2, 1.8, 1.5), 0.3), 2: Cuboid((7.0, 0.2, -0.4), (4.2, 1.8, 1.5), -3.1)},
    )
    person = Masklet(7, "Person on a bicycle", {}, {1: Cuboid((5.0, 2.0, -0.5), (0.6, 0.5, 1.75), 1.0)})
    sign = Masklet(12, "Straßenschild", {1: tiny_masks(12, 1, box=(0, 0, 24, 1), score=0.0)}, {})
    return car, person, sign


def assert_same_masks(found: ObjectMasks, expected: ObjectMasks) -> None:
    assert (found.object_id, found.frame_index, found.score) == (expected.object_id, expected.frame_index, expected.score)
    assert set(found.camera_masks) == set(expected.camera_masks)
    for camera, mask in expected.camera_masks.items():
        np.testing.assert_array_equal(found.camera_masks[camera], mask)
    np.testing.assert_array_equal(found.lidar_mask, expected.lidar_mask)


def assert_same_masklets(found: tuple[Masklet, ...], expected: tuple[Masklet, ...]) -> None:
    assert [(item.object_id, item.label) for item in found] == [(item.object_id, item.label) for item in expected]
    for one, other in zip(found, expected, strict=True):
        assert dict(one.cuboids) == dict(other.cuboids)
        assert list(one.masks) == list(other.masks)
        for frame_index, masks in other.masks.items():
            assert_same_masks(one.masks[frame_index], masks)
