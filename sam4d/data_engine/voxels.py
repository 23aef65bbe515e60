"""Voxels as packed integers: sets of places that are compared, merged and looked up without a loop."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64Array: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]

BITS = 21
_OFFSET = 1 << (BITS - 1)
_MASK = (1 << BITS) - 1

NOWHERE = np.int64(-1)
"""The key of a point that is not finite or lies beyond what keys can say (157 km from the origin at 0.15 m)."""


def voxel_keys(points_m: NDArray[np.floating], voxel_m: float) -> Int64Array:
    """The voxel that each point (N, 3) lies in, int64 (N,); `NOWHERE` for one that is not finite or too far away."""
    with np.errstate(invalid="ignore"):
        cells = np.floor(np.asarray(points_m, dtype=np.float64) / voxel_m)
        inside = (np.abs(cells) < _OFFSET - 1).all(axis=1)
    x, y, z = (np.where(inside[:, None], cells, 0).astype(np.int64) + _OFFSET).T
    return np.where(inside, (x << 2 * BITS) | (y << BITS) | z, NOWHERE)


def voxel_cells(keys: Int64Array) -> Int64Array:
    """The lowest corner of each voxel divided by its side, int64 (K, 3)."""
    return np.stack([keys >> 2 * BITS, (keys >> BITS) & _MASK, keys & _MASK], axis=1) - _OFFSET


def voxel_centers(keys: Int64Array, voxel_m: float) -> Float32Array:
    """The middle of each voxel, float32 (K, 3), metres. Inverse of `voxel_keys`."""
    return ((voxel_cells(keys) + 0.5) * voxel_m).astype(np.float32)


def rows_of(keys: Int64Array, sorted_keys: Int64Array) -> Int64Array:
    """Where each key stands among sorted ones, int64 (N,); -1 where it does not."""
    if not len(sorted_keys):
        return np.full(len(keys), -1, dtype=np.int64)
    rows = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[rows] == keys, rows, -1)
