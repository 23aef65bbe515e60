"""Ego poses from the sweeps alone, where a recording has none: KISS-ICP (arXiv 2209.15397, package kiss-icp, extra `poses`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sam4d.geometry import SE3
from sam4d.structures import Clip, InputError

RANGE_M = 100.0
"""Points farther away are left out."""

VOXEL_SIZE_M = 0.5
"""Of KISS-ICP's map."""

LEAST_POINTS = 100
"""A sweep of fewer finite points cannot be placed."""


def estimate_poses(clip: Clip, on_frame: Callable[[int, int], None] | None = None) -> Clip:
    """The clip with `world_SE3_lidar` of every frame, as the sweeps fit onto one another; the world is the first frame's LiDAR frame.

    Sweeps are taken as they are, as if all points were measured at one moment. Poses that the clip has already are replaced.

    Args:
        on_frame: called after each frame with the number placed and the number in all.

    Raises:
        InputError: kiss-icp is not installed; a sweep with too few finite points.
    """
    if importlib.util.find_spec("kiss_icp") is None:
        raise InputError("ego poses", "kiss-icp, which estimates them (pip install '.[poses]')", "none installed")
    from kiss_icp.config import KISSConfig
    from kiss_icp.kiss_icp import KissICP

    config = KISSConfig()
    config.data.max_range, config.data.deskew = RANGE_M, False
    config.mapping.voxel_size = VOXEL_SIZE_M
    odometry = KissICP(config)
    frames = []
    for index, frame in enumerate(clip.frames):
        points_m = frame.load_sweep().points_m
        points_m = points_m[np.isfinite(points_m).all(axis=1)]
        if len(points_m) < LEAST_POINTS:
            raise InputError(f"sweep of frame {index}", f"at least {LEAST_POINTS} finite points to place it by", str(len(points_m)))
        odometry.register_frame(points_m.astype(np.float64), np.zeros(0))
        # Products of many rotations drift off being one.
        u, _, vt = np.linalg.svd(odometry.last_pose[:3, :3])
        frames.append(replace(frame, world_SE3_lidar=SE3(u @ vt, odometry.last_pose[:3, 3])))
        if on_frame is not None:
            on_frame(index + 1, len(clip))
    return replace(clip, frames=tuple(frames))
