"""Rigid transforms, and boxes placed by them, out of files whose rotations were rounded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.sequences.json_field import LARGEST
from sam4d.geometry import SE3, Float64Array
from sam4d.structures import Cuboid, InputError

ROUNDED = 1e-2
"""A matrix farther from a rotation than this was not just rounded."""


def are_usual(values: Float64Array) -> bool:
    """Whether all numbers are finite and of a size that a recording may hold."""
    return bool((np.abs(values) <= LARGEST).all())


def rigid(matrix: object, where: str) -> SE3:
    """A 3 x 4 or 4 x 4 matrix as a rigid transform, its rotation the nearest one.

    Raises:
        InputError: another shape, numbers that are not finite, or no rotation.
    """
    try:
        values = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(where, "a 4 x 4 matrix of numbers", "something else") from None
    if values.shape not in ((3, 4), (4, 4)) or not are_usual(values):
        raise InputError(where, "a 4 x 4 matrix of finite numbers", f"shape {values.shape}")
    u, _, vt = np.linalg.svd(values[:3, :3])
    rotation = u @ vt
    error = float(np.abs(rotation - values[:3, :3]).max())
    if error > ROUNDED or np.linalg.det(rotation) < 0:
        raise InputError(where, "a rotation and a translation", f"a matrix {error:.3g} away from one")
    return SE3(rotation, values[:3, 3])


def mean_pose(poses: Sequence[SE3], where: str) -> SE3:
    """The middle of poses that hardly differ: mean place, nearest rotation to the mean of the rotations.

    Raises:
        InputError: poses so far apart that they have no middle.
    """
    return rigid(np.mean([pose.matrix for pose in poses], axis=0), where)


def pose_of(quaternion_wxyz: Sequence[float], translation_m: Sequence[float], where: str) -> SE3:
    """A rotation as a quaternion and a translation. Raises InputError where the quaternion is not of length 1."""
    if not are_usual(np.asarray(translation_m, dtype=np.float64)):
        raise InputError(where, "a translation of finite numbers", str(list(translation_m)))
    try:
        return SE3.from_quaternion(quaternion_wxyz, translation_m)
    except ValueError:
        raise InputError(
            where, "a rotation: a quaternion [w, x, y, z] of length 1", str([round(value, 4) for value in quaternion_wxyz])
        ) from None


def upright_cuboid(lidar_SE3_box: SE3, size_lwh_m: tuple[float, float, float]) -> Cuboid:
    """A box whose length lies along its x axis, at any tilt, as one that stands upright with the same heading."""
    x, y, z = lidar_SE3_box.translation_m.tolist()
    heading = lidar_SE3_box.rotation[:, 0]
    return Cuboid((x, y, z), size_lwh_m, float(np.arctan2(heading[1], heading[0])))
