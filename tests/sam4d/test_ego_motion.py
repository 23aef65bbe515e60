"""Poses from sweeps alone: a world that is known, a real recording, and what cannot be placed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence
from sam4d.ego_motion import estimate_poses
from sam4d.geometry import SE3
from sam4d.structures import Clip, Frame, InputError, Sweep

pytest.importorskip("kiss_icp", reason="kiss-icp is not installed")


def walk(frame_count: int = 5) -> Clip:
    """Scattered posts and walls, seen anew from poses that turn left; no pose is told."""
    random = np.random.default_rng(0)
    posts = np.repeat(random.uniform([-30, -30, 0], [40, 30, 0], (150, 3)), 40, axis=0) + random.uniform(
        [0, 0, 0], [0.2, 0.2, 3], (6000, 3)
    )
    wall = random.uniform([-30, 12, 0], [40, 12.1, 4], (6000, 3))
    world_m = np.concatenate([posts, wall])
    frames = []
    for index in range(frame_count):
        pose = truth(index)
        seen = world_m[random.random(len(world_m)) < 0.7]
        points_m = pose.inverse().apply(seen).astype(np.float32)
        points_m[::50] = np.nan
        frames.append(Frame(lambda points_m=points_m: Sweep(points_m), {}))  # type: ignore[misc]
    return Clip("walk", {}, tuple(frames))


def truth(index: int) -> SE3:
    return SE3.from_yaw(0.03 * index, [0.6 * index, 0.05 * index, 0.0])


def test_a_known_walk_is_found() -> None:
    done: list[tuple[int, int]] = []
    clip = estimate_poses(walk(), lambda *progress: done.append(progress))
    assert done == [(index + 1, 5) for index in range(5)]
    for index, frame in enumerate(clip.frames):
        assert frame.world_SE3_lidar is not None
        apart = frame.world_SE3_lidar.inverse() @ truth(index)
        assert np.linalg.norm(apart.translation_m) < 0.1
        assert np.degrees(np.arccos(np.clip((np.trace(apart.rotation) - 1) / 2, -1, 1))) < 0.5


def test_a_real_drive_is_placed_as_its_own_poses_say(shared_data: Path) -> None:
    clip = open_sequence(shared_data / "pandaset_001")
    unplaced = replace(clip, frames=tuple(replace(frame, world_SE3_lidar=None) for frame in clip.frames))
    found = estimate_poses(unplaced)
    for index in range(len(clip)):
        apart = found.lidar_SE3_lidar(0, index).inverse() @ clip.lidar_SE3_lidar(0, index)
        assert np.linalg.norm(apart.translation_m) < 0.05


def test_a_sweep_of_a_few_points_cannot_be_placed() -> None:
    frame = Frame(lambda: Sweep(np.ones((99, 3), dtype=np.float32)), {})
    with pytest.raises(InputError, match="sweep of frame 0: expected at least 100 finite points to place it by, found 99"):
        estimate_poses(Clip("few", {}, (frame,)))
