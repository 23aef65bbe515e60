"""What is part of a tree, a hedge or a house, by the scene that all sweeps together show: in one sweep alone a piece of it may look like an
object, since its neighbours are hidden or few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sam4d.data_engine.reconstruction import Reconstruction
from sam4d.data_engine.voxels import BITS, Int64Array, rows_of
from sam4d.geometry import Float64Array

TOUCH_M = 0.3


def held_shares(scene: Reconstruction, objects: Sequence[Int64Array]) -> Float64Array:
    """Of each object's standing voxels, those that touch something larger than the object, float64 (objects,), 0 to 1.

    Args:
        objects: their voxels, int64 (K,) each.

    What is touched are pieces of the standing scene that belong to no object and are not ground. An object that moves, or does for the
    greater part, touches nothing.
    """
    static = scene.part(0)
    places_m = scene.centers_m[static]
    free = ~scene.is_ground[static]
    for voxels in objects:
        free[voxels[voxels < static.stop]] = False
    unclaimed = np.flatnonzero(free)
    piece = _pieces(scene.keys[unclaimed])
    size = np.bincount(piece, minlength=1)[piece]
    shares = np.zeros(len(objects))
    for index, voxels in enumerate(objects):
        standing = voxels[voxels < static.stop]
        if 2 * len(standing) < len(voxels):
            continue
        own_m = places_m[standing[~scene.is_ground[standing]]]
        if not len(own_m):
            continue
        low, high = own_m.min(axis=0) - TOUCH_M, own_m.max(axis=0) + TOUCH_M
        larger_m = places_m[unclaimed[size > len(voxels)]]
        near_m = larger_m[((larger_m >= low) & (larger_m <= high)).all(axis=1)]
        if len(near_m):
            distance, _ = cKDTree(near_m).query(own_m, distance_upper_bound=TOUCH_M)
            shares[index] = np.isfinite(distance).mean()
    return shares


def _pieces(keys: Int64Array) -> Int64Array:
    """Which voxels, sorted keys (K,), hang together by faces, edges or corners: numbers from 0, int64 (K,)."""
    ones, others = [], []
    for x, y, z in product((-1, 0, 1), repeat=3):
        # The other half of the neighbours have the same pairs.
        if (x, y, z) > (0, 0, 0):
            beside = rows_of(keys + (x << 2 * BITS) + (y << BITS) + z, keys)
            ones.append(np.flatnonzero(beside >= 0))
            others.append(beside[ones[-1]])
    rows, columns = np.concatenate(ones), np.concatenate(others)
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(keys), len(keys)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
