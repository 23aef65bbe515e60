"""What stands on the ground ends in it: wheels, bumpers and feet lie as low as bumps of the road do, and only what is above them tells."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray

HIGHEST_FOOT_M = 1.2
BESIDE_M = 0.12
BESIDE_PER_METRE = 0.002


def with_low_parts(scene: FrameScene, mask: BoolArray) -> BoolArray:
    """A mask, bool (N,), with the points that count as ground although they lie under or close beside the object's own, not quite down."""
    rows = np.flatnonzero(mask & (scene.height_m < HIGHEST_FOOT_M))
    if not len(rows):
        return mask
    places = scene.points_m[rows, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    beside_m = BESIDE_M + BESIDE_PER_METRE * float(np.hypot(*places.mean(axis=0)))
    found = scene.rows_between(low - beside_m, high + beside_m)
    found = found[scene.is_ground[found] & (scene.height_m[found] > scene.parameters.least_foot_m)]
    if not len(found):
        return mask
    distance, _ = cKDTree(places).query(scene.points_m[found, :2], distance_upper_bound=beside_m)
    mask = mask.copy()
    mask[found[np.isfinite(distance)]] = True
    return mask
