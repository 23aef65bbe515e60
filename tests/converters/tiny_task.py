"""A task small enough to reason about by hand: flat ground, one box-shaped car, two cameras, one of which has no image on frame 2."""

from __future__ import annotations

import numpy as np

from converters.tasks import TaskWindow
from sam4d.geometry import SE3, BirdsEyeView
from sam4d.structures import Camera, Clip, Cuboid, Frame, Masklet, ObjectMasks, Sweep, UInt8Array

FORWARD_CAMERA = SE3(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
CAR = Cuboid((10.0, 3.0, -0.9), (4.0, 2.0, 1.4), 0.3)
VIEW = BirdsEyeView(range_m=20.0, metres_per_pixel=0.2)
WINDOW = TaskWindow("drives/tiny", 0, 3, VIEW)


def tiny_clip() -> Clip:
    cameras = {name: Camera(name, 32, 20, 16.0, 16.0, 16.0, 10.0, FORWARD_CAMERA) for name in ("front", "rear left")}

    def image() -> UInt8Array:
        return np.zeros((20, 32, 3), dtype=np.uint8)

    def frame(cameras_with_image: tuple[str, ...]) -> Frame:
        return Frame(load_sweep=tiny_sweep, load_images=dict.fromkeys(cameras_with_image, image))

    both = ("front", "rear left")
    return Clip("tiny", cameras, (frame(both), frame(both), frame(("front",))))


def tiny_sweep() -> Sweep:
    """Ground at z = -1.7 every 0.5 m, the car's shell, and two rows without a return."""
    axis = np.arange(-24.75, 25, 0.5)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    ground = np.stack([x, y, np.full_like(x, -1.7)], axis=1)
    along, up = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.45, 0.45, 19), np.linspace(-0.45, 0.5, 8), indexing="ij"))
    sides = [np.stack([along, np.full_like(along, side), up], axis=1) for side in (-0.45, 0.45)]
    ends = [np.stack([np.full_like(along, end), along, up], axis=1) for end in (-0.45, 0.45)]
    car = CAR.lidar_SE3_cuboid.apply(np.concatenate([*sides, *ends]) * np.array(CAR.size_lwh_m))
    missing = np.full((2, 3), np.nan)
    return Sweep(np.concatenate([ground, missing, car]).astype(np.float32))


def car_points() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    points_m = tiny_sweep().points_m
    return np.asarray(CAR.contains(points_m, margin_m=0.01) & (points_m[:, 2] > -1.65))


def tiny_masklet(object_id: int = 3, label: str = "Car", *, cuboid: Cuboid | None = CAR) -> Masklet:
    """The car on all frames: seen by `front` always and by `rear left` on frame 0."""
    seen, unseen = np.zeros((20, 32), dtype=np.bool_), np.zeros((20, 32), dtype=np.bool_)
    seen[5:12, 8:20] = True
    masks = {
        0: ObjectMasks(object_id, 0, {"front": seen, "rear left": seen[::-1]}, car_points(), 0.9),
        1: ObjectMasks(object_id, 1, {"front": seen, "rear left": unseen}, car_points(), 0.8),
        2: ObjectMasks(object_id, 2, {"front": seen}, car_points(), 0.7),
    }
    return Masklet(object_id, label, masks, {} if cuboid is None else dict.fromkeys(masks, cuboid))
