"""A small street made of exact shapes, scanned without noise: what single-frame tests look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Camera, Clip, Frame, Sweep, UInt8Array

CAMERA_ROTATION = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Looks along +x: the camera's x is the LiDAR's -y, its y the LiDAR's -z."""


@dataclass(frozen=True)
class Box:
    """An upright box on the ground: centre (x, y), size (length, width, height), colour."""

    center_m: tuple[float, float]
    size_m: tuple[float, float, float]
    colour: tuple[int, int, int] = (200, 40, 40)


CAR = Box((12.0, 3.0), (4.4, 1.8, 1.5))
PERSON = Box((12.0, 1.55), (0.5, 0.5, 1.75), (40, 60, 200))
WALL = Box((25.0, 0.0), (0.4, 40.0, 6.0), (120, 110, 100))
FRONT = Camera("front", 640, 400, 500.0, 500.0, 320.0, 200.0, SE3(CAMERA_ROTATION, np.array([0.3, 0.0, 0.0])))
LIDAR_HEIGHT_M = 1.8


def scan(boxes: Mapping[str, Box], slope: float = 0.0) -> tuple[NDArray[np.float32], dict[str, BoolArray]]:
    """A 64-beam sweep over ground z = slope * x - 1.8 and boxes: points float32 (N, 3) and each box's own points, bool (N,)."""
    azimuth, elevation = np.meshgrid(np.radians(np.arange(-60, 60, 0.2)), np.radians(np.linspace(-24, 4, 64)))
    directions = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1)
    distance, owner = _cast(directions.reshape(-1, 3), np.zeros(3), boxes, slope)
    hit = distance < 80
    points = (directions.reshape(-1, 3)[hit] * distance[hit, None]).astype(np.float32)
    return points, {name: owner[hit] == k for k, name in enumerate(boxes)}


def render(boxes: Mapping[str, Box], camera: Camera = FRONT) -> tuple[UInt8Array, dict[str, BoolArray]]:
    """The camera's image, uint8 (H, W, 3), and each box's exact mask, bool (H, W)."""
    columns, rows = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    origin, directions = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
    distance, owner = _cast(directions, origin, boxes, 0.0)
    colours = np.array([box.colour for box in boxes.values()] + [(90, 90, 90), (180, 200, 230)], dtype=np.float64)
    index = np.where(owner >= 0, owner, np.where(np.isfinite(distance), len(boxes), len(boxes) + 1))
    texture = np.random.default_rng(0).normal(0, 4, (len(index), 1))
    image = np.clip(colours[index] + texture, 0, 255).astype(np.uint8).reshape(camera.height_px, camera.width_px, 3)
    return image, {name: (owner == k).reshape(camera.height_px, camera.width_px) for k, name in enumerate(boxes)}


def street_clip(boxes: Mapping[str, Box]) -> tuple[Clip, FrameScene, dict[str, BoolArray], dict[str, BoolArray]]:
    """A clip of one frame, the prepared frame, and the exact points and exact front camera masks of each box."""
    points, owned = scan(boxes)
    image, masks = render(boxes)
    clip = Clip("street", {"front": FRONT}, (Frame(lambda: Sweep(points), {"front": lambda: image}),))
    return clip, prepare_frame(clip, 0), owned, masks


def _cast(
    directions: NDArray[np.floating], origin: NDArray[np.floating], boxes: Mapping[str, Box], slope: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance along each ray, float64 (R,), infinite where nothing is hit, and the index of the box that is hit or -1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = directions[:, 2] - slope * directions[:, 0]
        distance = np.where(fall < -1e-9, (-LIDAR_HEIGHT_M - origin[2] + slope * origin[0]) / fall, np.inf)
        owner = np.full(len(directions), -1, dtype=np.int64)
        for k, box in enumerate(boxes.values()):
            x, y = box.center_m
            length, width, height = box.size_m
            base = slope * x - LIDAR_HEIGHT_M
            low = np.array([x - length / 2, y - width / 2, base])
            high = np.array([x + length / 2, y + width / 2, base + height])
            one, two = (low - origin) / directions, (high - origin) / directions
            enters, leaves = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
            nearer = (enters < leaves) & (enters > 0) & (enters < distance)
            distance[nearer], owner[nearer] = enters[nearer], k
    return distance, owner
