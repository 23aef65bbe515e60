"""How the vehicle moved between two frames that have no pose: their standing structure laid upon each other."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from sam4d.geometric.registration import align_surface
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import SE3, Float64Array

REACH_M = 60.0
VOXEL_M = 0.4
FASTEST_M = 4.0
"""Longer ways between two frames are not searched without a guess."""


def estimate_ego_motion(to_scene: FrameScene, from_scene: FrameScene, guess: SE3 | None = None) -> SE3:
    """to_SE3_from over the ground plane (x, y, yaw), by iterated closest points on what stands between knee and roof.

    Args:
        guess: the motion over an earlier step of the same length, if one is known.
    """
    target, source = _structure(to_scene), _structure(from_scene)
    if len(target) < 20 or len(source) < 20:
        return guess or SE3.identity()
    tree = cKDTree(target)
    best, best_share = SE3.identity(), -1.0
    for start in _starts(source, target, guess):
        motion, share = _refine(source, target, tree, start)
        if share > best_share:
            best, best_share = motion, share
    return best


def _structure(scene: FrameScene) -> Float64Array:
    """(K, 3) x, y, height: one point per voxel."""
    rows = np.flatnonzero(scene.is_object & (scene.height_m > 0.4) & (scene.height_m < 4.0))
    points = np.column_stack([scene.points_m[rows, :2], scene.height_m[rows]]).astype(np.float64)
    points = points[np.hypot(points[:, 0], points[:, 1]) < REACH_M]
    voxel = np.floor(points / VOXEL_M).astype(np.int64)
    _, first = np.unique(voxel, axis=0, return_index=True)
    return points[np.sort(first)]


def _starts(source: Float64Array, target: Float64Array, guess: SE3 | None) -> list[SE3]:
    if guess is not None:
        return [guess]
    sample = source[np.linspace(0, len(source) - 1, min(len(source), 400)).astype(np.int64)]
    found = align_surface(sample, np.ones(len(sample)), target, FASTEST_M**2 * np.eye(2), 0.4, 0.0)
    return [SE3.identity(), SE3.from_yaw(0.0, [found.shift_m[0], found.shift_m[1], 0.0])]


def _refine(source: Float64Array, target: Float64Array, tree: cKDTree, motion: SE3) -> tuple[SE3, float]:
    """Ever closer pairs; returns the motion and the share of the source with a point close by."""
    for reach_m in (2.0, 1.5, 1.0, 1.0, 0.7, 0.7, *(0.5,) * 6, *(0.3,) * 8):
        moved = motion.apply(source)
        distance, nearest = map(np.asarray, tree.query(moved, distance_upper_bound=reach_m))
        paired = np.isfinite(distance)
        if paired.sum() < 10:
            break
        weight = 1 / (1 + (distance[paired] / (0.3 * reach_m)) ** 2)
        weight = weight / weight.sum()
        a, b = moved[paired, :2], target[nearest[paired], :2]
        a_mean, b_mean = weight @ a, weight @ b
        a, b = a - a_mean, b - b_mean
        turn = float(np.arctan2(weight @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), weight @ (a * b).sum(axis=1)))
        step = SE3.from_yaw(turn, [0.0, 0.0, 0.0])
        offset = b_mean - step.apply(np.append(a_mean, 0.0))[:2]
        motion = SE3(step.rotation, np.append(offset, 0.0)) @ motion
    left, _ = tree.query(motion.apply(source), distance_upper_bound=0.4)
    return motion, float(np.isfinite(left).mean())
