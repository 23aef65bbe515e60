"""Rigid transforms out of files whose rotations were rounded."""

from __future__ import annotations

import numpy as np

from sam4d.geometry import SE3
from sam4d.structures import InputError

ROUNDED = 1e-2
"""A matrix farther from a rotation than this was not just rounded."""


def rigid(matrix: object, where: str) -> SE3:
    """A 3 x 4 or 4 x 4 matrix as a rigid transform, its rotation the nearest one.

    Raises:
        InputError: another shape, numbers that are not finite, or no rotation.
    """
    try:
        values = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(where, "a 4 x 4 matrix of numbers", "something else") from None
    if values.shape not in ((3, 4), (4, 4)) or not np.isfinite(values).all():
        raise InputError(where, "a 4 x 4 matrix of finite numbers", f"shape {values.shape}")
    u, _, vt = np.linalg.svd(values[:3, :3])
    rotation = u @ vt
    error = float(np.abs(rotation - values[:3, :3]).max())
    if error > ROUNDED or np.linalg.det(rotation) < 0:
        raise InputError(where, "a rotation and a translation", f"a matrix {error:.3g} away from one")
    return SE3(rotation, values[:3, 3])
